"""As far as a machine without a GPU goes: which decoder is taken, and what is said where NVDEC cannot be had."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from av.codec.hwaccel import HWAccel

from platoon.errors import InvalidSettings
from platoon.media import decoder as decoders
from platoon.media.decoder import Decoder, missing_for_nvdec, open_decoder
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import PixelMeter
from platoon.settings import EngineSettings, Settings, SourceSettings, StoreSettings
from platoon.streams.isolated import IsolatedSite
from platoon.streams.pipeline import SharedSite
from tests.clips import write_clip

METER = PixelMeter()
CPU = OpenCvPixels(METER)
without_gpu = pytest.mark.skipif(missing_for_nvdec(0) is None, reason="this machine has a GPU")


def asked(decoder: Any, **engine: Any) -> Settings:
    return Settings(source=SourceSettings(decoder=decoder), engine=EngineSettings(**engine))


def opened(settings: Settings) -> Decoder:
    return open_decoder(settings, METER, cameras=lambda: 1)


@pytest.fixture
def looked_for_anew(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What is missing is found out with each call."""
    monkeypatch.setattr(decoders, "missing_for_nvdec", missing_for_nvdec.__wrapped__)
    return monkeypatch


@pytest.mark.parametrize("wanted", ["cpu", pytest.param("auto", marks=without_gpu)])
def test_the_cpu_decodes_where_it_is_asked_for_or_there_is_no_gpu(wanted: str) -> None:
    assert opened(asked(wanted)).pixels == CPU


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime", "triton"])
def test_auto_leaves_the_gpu_alone_where_models_do_not_run_on_it(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "missing_for_nvdec", lambda _device: None)
    assert opened(asked("auto", runtime=runtime)).pixels == CPU


@without_gpu
def test_nvdec_without_a_gpu_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(InvalidSettings, match=r"source\.decoder = 'nvdec'.*GPU 0.*driver.*nvidia-smi.*'auto'"):
        opened(asked("nvdec"))


def test_an_ffmpeg_without_cuda_is_named(looked_for_anew: pytest.MonkeyPatch) -> None:
    looked_for_anew.setattr(decoders, "hwdevices_available", lambda: ["vaapi"])
    with pytest.raises(InvalidSettings, match="built without CUDA"):
        opened(asked("nvdec"))


@pytest.mark.parametrize(
    ("gpus", "installed", "named"),
    [(1, None, r"PyTorch.*pip install 'platoon\[gpu\]'"), (0, "somewhere", r"2\.13\.0\+cpu.*build with CUDA")],
)
def test_a_gpu_without_a_pytorch_for_it_is_named(
    gpus: int, installed: str | None, named: str, looked_for_anew: pytest.MonkeyPatch
) -> None:
    class Accelerates:
        def create(self, _codec: object) -> None: ...

    class Torch:
        __version__ = "2.13.0+cpu"

        class cuda:  # noqa: N801  as PyTorch names it
            @staticmethod
            def device_count() -> int:
                return gpus

    looked_for_anew.setattr(decoders, "nvdec", lambda *_, **__: Accelerates())
    looked_for_anew.setattr(decoders, "find_spec", lambda _name: installed)
    looked_for_anew.setitem(sys.modules, "torch", Torch)
    with pytest.raises(InvalidSettings, match=named):
        opened(asked("nvdec"))


@without_gpu
@pytest.mark.parametrize("site", [SharedSite, IsolatedSite])
def test_a_site_that_cannot_decode_as_asked_does_not_start(site: Any, tmp_path: Path) -> None:
    settings = asked("nvdec").model_copy(update={"store": StoreSettings(path=tmp_path)})
    with pytest.raises(InvalidSettings, match="nvdec"):
        site(settings)


def test_a_codec_that_nvdec_does_not_know_is_decoded_on_the_cpu_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = write_clip(tmp_path / "clip.avi", codec="huffyuv", pixel_format="yuv422p", frames=4)
    source = Input(str(clip), SourceSettings(), acceleration=HWAccel("cuda", is_hw_owned=True))
    with caplog.at_level(logging.WARNING):
        assert len(list(source.pictures())) == 4
    source.close()
    assert caplog.messages == [f"{clip}: NVDEC cannot decode its huffyuv; the CPU does"]
