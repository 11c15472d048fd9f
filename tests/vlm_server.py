"""A real OpenAI-compatible server on loopback: `transformers serve`, in the environment that `scripts/vlm-env` makes,
with the model of `tests.tiny_vlm`.
"""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from tests.absent import absent
from tests.running import PATIENCE_S, free_ports, wait_until

MODEL: Final = "platoon/tiny"
_MAKER = Path(__file__).with_name("tiny_vlm.py")


def home() -> Path:
    """Where `scripts/vlm-env` put it; the test is skipped where it did not, unless everything has to be there."""
    folder = Path(os.environ.get("PLATOON_VLM_ENV", Path(__file__).parents[1] / ".venv-vlm"))
    if not (folder / "ready").exists():
        absent(f"no server of vision-language models in {folder}; make vlm installs one for tests")
    return folder


class VlmServer:
    """Serves the one model and no other between `__enter__` and `__exit__`, on `url`."""

    def __init__(self, folder: Path) -> None:
        self._bin, self._folder = home() / "bin", folder
        (self._port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = folder / "log.txt"
        self._environment = os.environ | {
            "HF_HUB_CACHE": str(folder / "cache"),
            "HF_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def __enter__(self) -> Self:
        made = subprocess.run(
            [self._bin / "python", _MAKER, self._folder / "cache", MODEL],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Begin to answer."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._bin / "transformers", "serve", MODEL, "--device", "cpu", "--port", str(self._port)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._answers, "the server of vision-language models answers")
        except BaseException as error:
            self.kill()
            error.add_note(f"--- its log\n{self.log}")
            raise

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()
        self._process.wait(PATIENCE_S)

    @property
    def log(self) -> str:
        """What it said since it was started last."""
        return self._log.read_text(errors="replace")

    def under_way(self) -> list[int]:
        """How many questions it had at a time, after each one that came and each that was answered."""
        numbers = [0]
        for line in self.log.splitlines():
            if "[Request received]" in line:
                numbers.append(numbers[-1] + 1)
            elif '"POST /v1/chat/completions HTTP/1.1" 200' in line:
                numbers.append(numbers[-1] - 1)
        return numbers

    def _answers(self) -> bool:
        assert self._process.poll() is None, "it ended at once"
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
