"""A real S3-speaking server on loopback: SeaweedFS, in the environment that `scripts/s3-env` makes."""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.absent import absent
from tests.running import PATIENCE_S, free_ports, wait_until

BUCKET: Final = "crops"
SECRET: Final = "the-secret-of-the-test"
_OFF: Final = ("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false")
"""What has fixed ports otherwise, and is not needed."""


def home() -> Path:
    """Where `scripts/s3-env` put it; the test is skipped where it did not, unless everything has to be there."""
    folder = Path(os.environ.get("PLATOON_S3_ENV", Path(__file__).parents[1] / ".venv-s3"))
    if not (folder / "ready").exists():
        absent(f"no S3 server in {folder}; make s3 installs one for tests")
    return folder


class S3Server:
    """Serves one empty bucket between `__enter__` and `__exit__`; `stop` and `start` in between."""

    def __init__(self, folder: Path) -> None:
        self._weed, self._folder = home() / "bin" / "weed", folder
        self._ports = free_ports(8)
        self.address = f"http://127.0.0.1:{self._ports[0]}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "platoon",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
        """What whoever stores there needs."""
        self.url = f"s3://{BUCKET}/site"

    def __enter__(self) -> Self:
        who = {
            "name": "platoon",
            "credentials": [{"accessKey": "platoon", "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        self._config = self._folder / "s3.json"
        self._config.write_text(json.dumps({"identities": [who]}))
        (self._folder / "data").mkdir()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serve, with what was stored before."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports
        command = [
            *(str(self._weed), "server", f"-dir={self._folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.volumeSizeLimitMB=64"),
            *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=20"),
            *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
            *("-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={self._config}", *_OFF),
        ]
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        wait_until(self._answers, "the S3 server stores something", patience_s=PATIENCE_S)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "weed.log").read_text()[-2000:]
        names = {name.lower(): value for name, value in self.environment.items() if name != "AWS_ALLOW_HTTP"}
        options, retries = {"allow_http": True}, {"max_retries": 0}
        try:
            store = S3Store(BUCKET, config=names, client_options=options, retry_config=retries)  # type: ignore[arg-type]
            store.put("probe", b"x")
            store.delete("probe")
        except BaseError:
            return False
        return True
