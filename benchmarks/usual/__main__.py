"""Starts a process for each camera and prints what each did, a JSON object a line.

python -m benchmarks.usual CAMERAS --server http://127.0.0.1:9000 (--duration SECONDS | --once)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("cameras", type=Path, help="lines of id|name|url|port")
parser.add_argument("--server", required=True, help="address of benchmarks.usual.ocr_server")
length = parser.add_mutually_exclusive_group(required=True)
length.add_argument("--duration", type=float, help="seconds; files start again at their end")
length.add_argument("--once", action="store_true", help="files to their end")
parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir(), "platoon-usual"))
chosen = parser.parse_args()

chosen.results.mkdir(parents=True, exist_ok=True)
lines = [line.strip() for line in chosen.cameras.read_text(encoding="utf-8").splitlines()]
seconds = [] if chosen.once else [str(chosen.duration)]
processes = []
for camera, _, url, *_ in (line.split("|") for line in lines if line and not line.startswith("#")):
    results = str(chosen.results / f"{camera}.jsonl")
    command = [sys.executable, "-m", "benchmarks.usual.camera", camera, url, chosen.server, results, *seconds]
    processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
for process in processes:
    print(process.communicate()[0], end="", flush=True)
if any(process.returncode for process in processes):
    sys.exit("a camera failed; see above")
