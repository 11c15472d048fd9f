"""The parts of the benchmark of a GPU, walked on the CPU: what they say of it means nothing."""

import json
from pathlib import Path

import pytest
from benchmarks.gpu import CROP, Device, cameras, measure, written

from platoon.engine.cost import Cost
from platoon.media.input import Input
from platoon.media.torch_pixels import TorchPixels
from platoon.metrics import PixelMeter
from platoon.settings import PlateSettings
from tests.clips import write_clip


def test_every_figure_is_measured_and_kept_under_the_name_of_the_device(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", width=640, height=360, frames=12)
    device = Device("Some CPU (R) 3", "onnxruntime", TorchPixels(PixelMeter(), "cpu"), Input)
    plates = PlateSettings(input_width=160, input_height=96)
    results = measure(device, clip, streams=(1, 2), seconds=0.2, max_batch=2, plates=plates)
    assert results["decoded_frames_per_s"].keys() == {"1", "2"}
    assert min(results["decoded_frames_per_s"].values()) > 0
    assert results["models"].keys() == {"plate-detection", "plate-reading"}
    assert all(cost["tau0_ms"] + cost["alpha_ms"] > 0 for cost in results["models"].values())
    crops, frames = results["to_host"]["crops"], results["to_host"]["whole_frames"]
    assert (crops["bytes"] % (CROP[0] * CROP[1] * 3), frames["bytes"]) == (0, 640 * 360 * 1.5)
    assert min(crops["ms"], frames["ms"]) > 0
    path = written(results, tmp_path / "results")
    assert path.name == "gpu-some-cpu-r-3.json"
    assert json.loads(path.read_text())["cameras"].keys() == {"by_decoding", "by_models", "carried"}


def test_cameras_are_bound_by_whichever_is_scarcer() -> None:
    costs = {"plate-detection": Cost(0.016, 0.0005), "plate-reading": Cost(0.008, 0.00075)}
    described = cameras(1000.0, costs, batch=16)  # an analysed frame: 1.5 and 1.25 ms, five times a second
    assert described["by_decoding"] == 40.0
    assert described["by_models"] == pytest.approx(1 / (5 * 0.00275))
    assert described["carried"] == 40.0
    assert cameras(1e6, costs, batch=16)["carried"] == 72.0
