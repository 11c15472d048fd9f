"""Of which elements a pipeline is made: what one camera brings, and what all cameras share behind that.

A table says both in GStreamer's own words, as `gst-launch-1.0` takes them. No address is part of them: each is set on
the element named `source` of its camera's branch, so that neither a quote in it nor a password does harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platoon.media.gstreamer.configurations import Configurations


@dataclass(frozen=True, slots=True)
class Elements:
    """A table of elements."""

    branch: str
    """One camera; `{number}` stands for its number. It ends in an appsink `frames`, or in a `queue` that leads into the
    shared part."""
    shared: str = ""
    """From the muxer `mux` on, where there is one; `{batch}` stands for the size of its batches, `{muxer}` for its
    file, `{detector}` for the element that finds plates, with the link behind it, or for nothing."""
    detector: str = ""
    """That element; `{file}` stands for its file."""
    factories: Sequence[str] = ()
    """The elements that it cannot do without."""
    packages: str = ""
    """What brings them, for people."""
    gpu: int | None = None
    """Number of the GPU in whose memory pictures lie; none: of the host's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that must be set before the elements are loaded."""

    def described(self, cameras: int, files: Configurations) -> str:
        """The whole pipeline of so many cameras, a line each for the shared part and every camera.

        Args:
            cameras: numbered from 0.
            files: that the shared part reads; without one of the detector frames go on as they are.
        """
        branches = [self.described_branch(number) for number in range(cameras)]
        if not self.shared:
            return "\n".join(branches)
        into_mux = [f"{branch} ! mux.sink_{number}" for number, branch in enumerate(branches)]
        return "\n".join([self.described_shared(cameras, files), *into_mux])

    def described_branch(self, number: int) -> str:
        """What camera `number` brings, up to the muxer or its own appsink."""
        return self.branch.format(number=number)

    def described_shared(self, batch: int, files: Configurations) -> str:
        """What all cameras share."""
        detector = "" if files.detector is None else self.detector.format(file=_quoted(files.detector)) + " ! "
        return self.shared.format(batch=batch, muxer=_quoted(files.muxer), detector=detector)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_FRAMES: Final = "appsink name=frames emit-signals=true sync=false async=false max-buffers=1"

GSTREAMER: Final = Elements(
    branch=(
        'uridecodebin name=source caps="video/x-raw(ANY)" expose-all-streams=false ! videoflip video-direction=auto '
        "! videoconvert ! video/x-raw,format=(string){{I420,NV12}} ! " + _FRAMES
    ),
    factories=("uridecodebin", "rtspsrc", "h264parse", "avdec_h264", "videoflip", "videoconvert", "appsink"),
    packages="Debian's gstreamer1.0-plugins-base, -good, -bad and gstreamer1.0-libav",
)
"""GStreamer's own: an appsink for each camera, and plates found by Platoon's runtime."""

DEEPSTREAM: Final = Elements(
    branch=(
        "nvurisrcbin name=source source-id={number} gpu-id=0 cudadec-memtype=0 disable-audio=true "
        "rtsp-reconnect-interval=0 select-rtp-protocol=4 latency=0 "
        "! queue name=queue max-size-buffers=4 max-size-bytes=0 max-size-time=0"
    ),
    shared=(
        "nvstreammux name=mux batch-size={batch} config-file-path={muxer} "
        "! {detector}video/x-raw(memory:NVMM),format=(string)NV12 ! " + _FRAMES
    ),
    detector="nvinfer name=detector config-file-path={file}",
    factories=("nvurisrcbin", "nvstreammux", "nvinfer", "appsink"),
    packages="NVIDIA DeepStream 7 and its Python bindings, pyds",
    gpu=0,
    environment={"USE_NEW_NVSTREAMMUX": "yes"},
)
"""NVIDIA's: decoded and batched in the memory of the GPU. The newer muxer leaves every camera its size. No tracker:
plates are followed by Platoon's own."""
