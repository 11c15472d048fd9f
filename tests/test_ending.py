import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PATIENCE_S = 60
PROGRAM = """
import sys, threading
from platoon.ending import Ending
ending = Ending(float(sys.argv[1]))
ending.listen()
print("listening", flush=True)
ending.wait()
print("asked", flush=True)
if sys.argv[2] == "hang":
    threading.Event().wait()
"""


@contextmanager
def program(within_s: float, then: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, str(within_s), then]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_asked_once_a_process_ends_by_itself(name: signal.Signals) -> None:
    with program(PATIENCE_S, "end") as process:
        process.send_signal(name)
        assert process.wait(PATIENCE_S) == 0


def test_asked_twice_it_ends_at_once() -> None:
    with program(PATIENCE_S * 10, "hang") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_whatever_hangs_it_has_ended_by_the_deadline_and_says_what_hung() -> None:
    with program(0.2, "hang") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr is not None
        output = process.stderr.read()
    assert "did not end within 0.2 s" in output
    assert "Thread" in output
