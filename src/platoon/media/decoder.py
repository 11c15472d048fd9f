"""Who decodes the cameras of a site, and what works on their pictures where they lie then.

Whether NVDEC can be had is tried before anything is opened: FFmpeg would fail on every camera for itself. It has not
run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec

from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

from platoon.errors import InvalidSettings
from platoon.media.frame import PixelWork
from platoon.media.http_pictures import open_stream
from platoon.media.input import Opener
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.openers import PIPELINES, opener
from platoon.metrics import PixelMeter
from platoon.settings import Settings

_ON_GPU = ("auto", "cuda", "tensorrt")
"""Settings of `engine.runtime` by which models run on a GPU where there is one."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """How the cameras of a site are decoded."""

    pixels: PixelWork
    """Takes the pictures where they were decoded."""
    open_input: Opener = open_stream
    close: Callable[[], None] = lambda: None


def open_decoder(settings: Settings, meter: PixelMeter, *, cameras: Callable[[], int]) -> Decoder:
    """The decoder that `settings.source` names.

    Args:
        cameras: how many there are; asked when the first connects.

    Raises:
        InvalidSettings: NVDEC is asked for and cannot be had; the message says what is missing.
        MissingExtra: what another decoder needs is not installed.
    """
    if settings.source.decoder in PIPELINES:
        opened = opener(settings.source, settings.cache, cameras=cameras)
        gpu = PIPELINES[settings.source.decoder].gpu
        return Decoder(OpenCvPixels(meter) if gpu is None else on_gpu(meter, gpu), *opened)
    if not takes_nvdec(settings):
        return Decoder(OpenCvPixels(meter))
    device = settings.engine.device
    return Decoder(on_gpu(meter, device), partial(open_stream, acceleration=nvdec(device, or_else_the_cpu=True)))


def on_gpu(meter: PixelMeter, number: int) -> PixelWork:
    """What works on pictures in the memory of GPU `number`."""
    from platoon.media.torch_pixels import TorchPixels

    return TorchPixels(meter, f"cuda:{number}")


def takes_nvdec(settings: Settings) -> bool:
    """Whether cameras are decoded by NVDEC: where it is asked for, or, by `auto`, where it can be had and models may
    run on the GPU too; otherwise every batch would come back.

    Raises:
        InvalidSettings: it is asked for and cannot be had; the message says what is missing.
    """
    wanted = settings.source.decoder
    if wanted != "nvdec" and not (wanted == "auto" and settings.engine.runtime in _ON_GPU):
        return False
    missing = missing_for_nvdec(settings.engine.device)
    if missing is not None and wanted == "nvdec":
        raise InvalidSettings(f"source.decoder = 'nvdec': {missing}; 'auto' takes the CPU where NVDEC is missing")
    return missing is None


@cache
def missing_for_nvdec(device: int) -> str | None:
    """What this machine lacks to decode on GPU number `device`, for people; none: nothing."""
    if "cuda" not in hwdevices_available():
        return "the FFmpeg in the package av was built without CUDA; its wheels for Linux and Windows have it"
    try:
        nvdec(device, or_else_the_cpu=False).create(Codec("h264", "r"))
    except Exception as error:  # of FFmpeg, or that the codec has no such decoder
        return f"FFmpeg finds no GPU {device} ({error}): it needs an NVIDIA driver, and nvidia-smi shows the GPUs"
    if find_spec("torch") is None:
        return "PyTorch, which works on the decoded pictures, is not installed: pip install 'platoon[gpu]'"
    import torch

    if torch.cuda.device_count() <= device:
        return f"PyTorch {torch.__version__} sees no GPU {device}: it needs a build with CUDA, not one for CPUs"
    return None


def nvdec(device: int, *, or_else_the_cpu: bool) -> HWAccel:
    """Decoding on GPU number `device`."""
    # Pictures stay in the memory of the GPU, in the context that PyTorch uses too.
    return HWAccel("cuda", str(device), allow_software_fallback=or_else_the_cpu, is_hw_owned=True)
