"""Nothing that runs models tells its makers: no look-up, no connection, nothing left in the home folder."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import cv2
import pytest

from tests.drawn import page

WATCH = """
import os, sys
def watch(event, arguments):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            print(event, arguments[1:] if event == "socket.connect" else arguments, file=file)
sys.addaudithook(watch)
"""
LIBRARY = """
import multiprocessing, sys
from platoon import Reader

def read():
    with Reader() as reader:
        reader.read([sys.argv[1]], mode="plate")

if __name__ == "__main__":
    read()
    child = multiprocessing.get_context("spawn").Process(target=read)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


class Outside:
    """A machine like a user's, as far as a process can tell: no CI, an empty home folder, and a way out, which is ours.

    Both runtimes leave an identifier in the home folder before they send anything, whichever way they send it. Where
    strace is installed, system calls are watched too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.home = folder, folder / "home"
        self.home.mkdir()
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(WATCH)
        self._proxy = socket.create_server(("127.0.0.1", 0))
        self._reached = 0
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._proxy.close()

    def run(self, *command: str, runtime: str = "auto") -> None:
        """Run `python COMMAND` there, to its end, which must be good."""
        proxy = f"http://127.0.0.1:{self._proxy.getsockname()[1]}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join([str(self._folder / "hook"), *(path for path in sys.path if path)]),
            "NETWORK_LOG": str(self._folder / "python.log"),
            "PLATOON_CACHE": str(self._folder / "cache"),
            "PLATOON_ENGINE__RUNTIME": runtime,
            "PLATOON_ENGINE__MAX_BATCH": "1",
            **{f"{scheme}_proxy": proxy for scheme in ("http", "https", "all")},
        }
        watched = [sys.executable, *command]
        if (strace := shutil.which("strace")) and subprocess.run([strace, "true"], capture_output=True).returncode == 0:
            watched = [strace, "-f", "-qq", "-e", "trace=connect", "-o", str(self._folder / "calls.log"), *watched]
        done = subprocess.run(watched, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def seen(self) -> list[str]:
        """Look-ups and connections, and files in the home folder."""
        logs = [self._folder / name for name in ("python.log", "calls.log")]
        lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
        network = [line for line in lines if re.search(r"AF_INET|socket\.", line)]
        return network + ["proxy reached"] * self._reached + [str(path) for path in self.home.rglob("*")]

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._proxy.accept()
            except OSError:
                return
            self._reached += 1
            connection.close()


@pytest.fixture
def plate(tmp_path: Path) -> str:
    file = tmp_path / "plate.png"
    cv2.imwrite(str(file), page(("B AB 123", 20, 50), size=(200, 64)))
    return str(file)


def test_the_watch_sees_a_runtime_that_reports_home(tmp_path: Path) -> None:
    with Outside(tmp_path) as outside:
        outside.run("-c", "import openvino")
        seen = "\n".join(outside.seen())
    assert "proxy reached" in seen and "socket.connect" in seen and str(outside.home / "intel") in seen


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_program_that_reads_and_its_child_reach_nobody(runtime: str, tmp_path: Path, plate: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(LIBRARY)
    with Outside(tmp_path) as outside:
        outside.run(str(program), plate, runtime=runtime)
        assert outside.seen() == []


def test_a_command_that_measures_both_runtimes_reaches_nobody(tmp_path: Path, plate: str) -> None:
    with Outside(tmp_path) as outside:
        outside.run("-m", "platoon", "read", plate, "--plates")
        assert outside.seen() == []


@pytest.mark.parametrize(
    "module", ["platoon.cli", "platoon.scale.celery_jobs", "platoon.ocr.pdf_process", "benchmarks.rapid"]
)
def test_runtimes_stay_silent_whatever_is_imported_first(module: str, tmp_path: Path) -> None:
    with Outside(tmp_path) as outside:
        outside.run("-c", f"import {module}, openvino, onnxruntime; onnxruntime.SessionOptions()")
        assert outside.seen() == []
