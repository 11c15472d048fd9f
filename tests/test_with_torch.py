"""Runs what needs PyTorch in the environment that `scripts/torch-env` makes."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.absent import absent

ROOT = Path(__file__).parents[1]


def python() -> Path:
    """The interpreter there; the test is skipped where there is none, unless everything has to be there."""
    folder = Path(os.environ.get("PLATOON_TORCH_ENV", ROOT / ".venv-torch"))
    if not (folder / "ready").exists():
        absent(f"no PyTorch in {folder}; make torch installs it for tests")
    return folder / "bin" / "python"


@pytest.mark.parametrize("module", ["way", "pixels", "benchmark"])
def test_what_works_on_tensors_does_so_on_the_cpu(module: str) -> None:
    command = [str(python()), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/with_torch/{module}.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
