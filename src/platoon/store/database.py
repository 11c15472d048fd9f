"""A SQLite file of ours: opened durably, made where there is none, refused where it is somebody else's.

One that SQLite calls damaged is left where it lies for somebody to look after; or, where nobody is at hand and what
comes next matters more than what was kept, it is set aside (`damage`) and a new one begun.

Every write is synced (`synchronous=FULL`) and goes to a write-ahead log, so that several threads and processes may
write at once and readers never wait for writers. What stands in the tables is left to whoever asks for them.
"""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platoon.errors import StoreError, StoreUnusable
from platoon.private import make_file, make_folder
from platoon.store import damage, space

_log = logging.getLogger(__name__)

_BUSY_TIMEOUT_S: Final = 30.0
_LOG_BYTES: Final = 16_000_000
"""A write-ahead log that was larger is cut to this once all of it is in the file."""
_LOG_PAGES: Final = 100
"""In the log when they are put into the file: little, as on a small disk the log takes the room of what it logs."""
_GIVEN_BACK_AT_ONCE: Final = 4096
"""Pages; writers wait meanwhile."""
_ELSEWHERE: Final = "choose another folder with PLATOON_STORE__PATH"


@dataclass(frozen=True, slots=True)
class Database:
    """The file at `path`, whose tables are `schema`.

    Raises:
        StoreError: from every method, and within `explained`, when the file cannot be written or read; says what to do.
    """

    path: Path
    what: str
    """What it holds, in the plural, for messages."""
    schema: str
    version: int
    application_id: int
    """Keeps us from writing into a stranger's database."""
    keep_less: str
    """Which settings let less be kept, for messages of a full disk."""
    upgrades: Mapping[int, str] = field(default_factory=dict)
    """What makes a file of this version one of the next."""
    sets_aside: bool = False
    """Whether a damaged file is set aside, and a new one begun."""

    def file(self) -> tuple[int, int, bool] | None:
        """Number of its disk, its own number there, whether anything is in it; None where there is no file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size > 0

    def open(self) -> sqlite3.Connection:
        """A connection, the first of which makes folder and tables where there are none."""
        try:
            make_folder(self.path.parent)
        except OSError as error:
            full, kind = ("disk is full: ", StoreError) if error.errno in space.FULL else ("", StoreUnusable)
            raise kind(
                f"{full}cannot make the folder of {self.what} {self.path.parent}: {error.strerror}; {_ELSEWHERE}"
            ) from error
        with self.explained("opened"):
            with suppress(OSError):  # SQLite finds the same and says it; -wal and -shm get the modes of this file
                make_file(self.path)
            db = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
        return db

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn what SQLite says into what the operator can do; `what` was tried: opened, read, written."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            name = "SQLITE_CORRUPT" if damage.found_by(error) else getattr(error, "sqlite_errorname", "") or ""
            if self._is_full(name):
                raise StoreError(
                    f"{self.what} in {self.path} cannot be {what}: disk is full; free space on its disk, or keep less "
                    f"({self.keep_less})"
                ) from error
            kind = StoreUnusable if _is_unusable(error) else StoreError
            raise kind(f"{self.what} in {self.path} cannot be {what}: {error}; {self._way_out(name)}") from error

    def replace(self, damaged: tuple[int, int, bool] | None, error: BaseException) -> bool:
        """Set the file aside that SQLite found to be damaged, unless somebody has; whether a new one can be begun.

        Args:
            damaged: which it is, as `file` gave it.
            error: what SQLite said.
        """
        if not self.sets_aside or not damage.found_by(error) or damaged is None:
            return False
        return damage.set_aside(self.path, self.what, damaged[:2], error)

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make the tables where there are none, or bring them up to date; refuse what was not made by us, or by a later
        version.
        """
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts for a new file, and for the next VACUUM of an old one
        _use_write_ahead_log(db)
        with transaction(db):
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (owner,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and owner != self.application_id:
                raise StoreUnusable(f"{self.path} is a database of another program; {_ELSEWHERE}")
            if version > self.version:
                raise StoreUnusable(
                    f"{self.path} was written by a newer Platoon (schema {version}, this one knows "
                    f"{self.version}); update, or {_ELSEWHERE}"
                )
            if not tables:
                for statement in _statements(self.schema):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {self.application_id}")
            for older in range(version, self.version) if tables else ():
                for statement in _statements(self.upgrades[older]):
                    db.execute(statement)
            if version != self.version:
                db.execute(f"PRAGMA user_version = {self.version}")

    def _is_full(self, name: str) -> bool:
        """Whether the SQLite error of this name comes from a full disk, which SQLite says in several ways."""
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):  # of quotas, of the -shm file, of what has no inode
            return space.is_full(self.path.parent)
        return name.startswith("SQLITE_FULL")

    def _way_out(self, name: str) -> str:
        """What to do about the SQLite error of this name."""
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            return f"let this user write the file and its folder, or {_ELSEWHERE}"
        if name == "SQLITE_CORRUPT":
            return (
                "it is damaged or no database: move it away together with its -wal and -shm files "
                "(then a new one is made; `sqlite3 FILE .recover` may save what it holds)"
            )
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return f"another program has held it for {_BUSY_TIMEOUT_S:.0f} s: end that program, or try again"
        return "check its disk"


class Connection:
    """A connection to `database` that one thread uses at a time, in a `with`; opened when it is first needed, and anew
    when it is stale, or when its file is not at its path any more: nobody would find what is written there.

    Raises:
        StoreUnusable: on entering, when the file was emptied; from within, when it was set aside as damaged: nothing of
            what was under way is kept, and the next use finds a new file.

    Args:
        make: opens it; `database.open`, and what has to be done then.
    """

    def __init__(self, database: Database, make: Callable[[], sqlite3.Connection] | None = None) -> None:
        self._database, self._make = database, make or database.open
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int, bool] | None = None
        """That it is, or was, open to."""
        self.stale = False
        """Whether it is to be opened anew, after an error that a file in its place may mend."""

    @contextmanager
    def __call__(self) -> Iterator[sqlite3.Connection]:
        """The connection, while nobody else has it."""
        with self._lock:
            if self._is_elsewhere() or self.stale:
                self._close()
            if self._db is None:
                self._db = self._open()
                self._file, self.stale = self._database.file(), False
            try:
                yield self._db
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self.stale = _is_unusable(error)
                if not self._database.replace(self._file, error):
                    raise
                self._close()
                raise StoreUnusable(
                    f"{self._database.what} in {self._database.path} were damaged, and are set aside: try again"
                ) from error

    def close(self, timeout_s: float = -1) -> None:
        """Let it go, if it is not in use any more within that time (by default: wait for it)."""
        if self._lock.acquire(timeout=timeout_s):
            self._close()
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        found = self._database.file()
        try:
            return self._make()
        except StoreUnusable as error:
            if error.__cause__ is None or not self._database.replace(found, error.__cause__):
                raise
        return self._make()

    def _is_elsewhere(self) -> bool:
        """Whether its file is not at its path any more."""
        found = self._database.file()
        if self._file is None or found == self._file:
            return False
        path, what = self._database.path, self._database.what
        if found == (*self._file[:2], False):  # others may have it open, and believe in what it held
            raise StoreUnusable(
                f"{what} in {path} cannot be used: somebody has emptied the file; move it away together with its -wal "
                "and -shm files (then a new one is made)"
            )
        _log.warning("%s was moved away or deleted; %s go on in a new one", path, what)
        self._file = None  # said once, also where none can be made
        return True

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def give_back(db: sqlite3.Connection) -> None:
    """Shrink the file by what was deleted from it, some pages at a time.

    A file that was made without that is written anew, once, as soon as its disk has room for it twice.
    """
    (kind,), (_, _, name) = db.execute("PRAGMA auto_vacuum").fetchone(), db.execute("PRAGMA database_list").fetchone()
    if kind == 0:
        if 2 * Path(name).stat().st_size > space.free(Path(name)):
            return
        db.execute("VACUUM")
    left = math.inf
    while 0 < (free := db.execute("PRAGMA freelist_count").fetchone()[0]) < left:
        db.execute(f"PRAGMA incremental_vacuum({_GIVEN_BACK_AT_ONCE})").fetchall()
        left = free
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # until then, all this stands in the log


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it is written, durably, or nothing; nobody else writes meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException as error:
        with suppress(sqlite3.Error):  # what went wrong before is what has to be reported
            if db.in_transaction:  # SQLite ends by itself what found no room or an unreadable disk
                db.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the log's room is there for the next try
        raise


def _statements(script: str) -> Iterator[str]:
    """Split an SQL script, triggers kept whole (`executescript` would end the transaction)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    """Switch the journal; SQLite does not wait for other processes that switch it at this moment: we do."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if (
                error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > deadline
            ):
                raise
            time.sleep(0.02)


def _is_unusable(error: Exception) -> bool:
    """Whether the file cannot be used at all, and another in its place, or another right to it, may mend that."""
    return damage.found_by(error) or (getattr(error, "sqlite_errorname", "") or "").startswith(_UNUSABLE)


_UNUSABLE: Final = (
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_PERM",
    "SQLITE_AUTH",
)
