import subprocess
import sys

import pytest
from benchmarks.gpu import NO_GPU

from platoon.media.decoder import missing_for_nvdec


@pytest.mark.skipif(missing_for_nvdec(0) is None, reason="this machine has a GPU")
def test_without_a_gpu_its_benchmark_says_so_and_exits_with_3() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stdout) == (NO_GPU, "") == (3, "")
    assert "no GPU to measure" in ran.stderr
    assert "driver" in ran.stderr
