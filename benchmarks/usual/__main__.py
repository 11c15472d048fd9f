"""Starts the OCR server, then a process for each camera, and ends them all when told to (SIGTERM).

python -m benchmarks.usual CAMERAS RESULTS_FOLDER
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

OCR_START_S = 120.0


def main() -> None:
    """Run until told to end, or until one of the processes has."""
    cameras, results = Path(sys.argv[1]), Path(sys.argv[2])
    results.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    server = f"http://127.0.0.1:{port}"
    processes = [_start("benchmarks.usual.ocr_server", port)]
    try:
        _wait_for(f"{server}/health")
        for line in cameras.read_text(encoding="utf-8").splitlines():
            camera, _, url, _ = line.split("|")
            processes.append(_start("benchmarks.usual.camera", url, server, str(results / f"{camera}.jsonl")))
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        sys.exit("a process ended; see above")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *arguments])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + OCR_START_S
    while True:
        try:
            urllib.request.urlopen(url).close()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    main()
