"""The files that DeepStream's elements read at their start, for batches of as many frames as a site has cameras.

Of the muxer (`nvstreammux`) all is ours. Of the detector (`nvinfer`) an operator brings a file that works for one
stream, as every model's author publishes one; of it everything is kept but what a batch of cameras wants otherwise: the
size of the batch, the name of the engine that is built for that size, and paths, which are relative to the file.
"""

from __future__ import annotations

import configparser
import io
from pathlib import Path
from typing import Final, NamedTuple

from platoon.errors import InvalidSettings
from platoon.private import make_folder

_PATHS: Final = (
    "onnx-file", "model-file", "proto-file", "tlt-encoded-model", "uff-file", "labelfile-path", "int8-calib-file",
    "mean-file", "custom-lib-path", "custom-network-config",
)  # fmt: skip
_MODELS: Final = ("onnx-file", "tlt-encoded-model", "uff-file", "model-file", "custom-network-config")
"""After the first that is given `nvinfer` names the engine that it builds."""
_PRECISIONS: Final = {"0": "fp32", "1": "int8", "2": "fp16"}
"""By `network-mode`."""
_GPU: Final = 0
LABELS: Final = "labels.txt"
MUXER: Final = """\
[property]
algorithm-type=1
batch-size={batch}
adaptive-batching=0
max-same-source-frames=1
overall-max-fps-n=240
overall-max-fps-d=1
overall-min-fps-n=30
overall-min-fps-d=1
"""
"""One frame of a camera in a batch, and a batch that waits for a slow camera for a thirtieth of a second at most."""


class Configurations(NamedTuple):
    """Paths of what was written."""

    muxer: Path
    detector: Path | None = None


def write(detector: Path | None, folder: Path, *, batch: int) -> Configurations:
    """Write what batches of this size want into `folder`: for the muxer, and for the detector whose file this is, with
    labels if it names none.

    Raises:
        InvalidSettings: the file of the detector cannot be read, or is not for whole frames.
    """
    text = "" if detector is None else read(detector)
    make_folder(folder)
    muxer = folder / f"muxer_b{batch}.txt"
    muxer.write_text(MUXER.format(batch=batch), encoding="utf-8")
    if detector is None:
        return Configurations(muxer)
    labels = folder / LABELS
    labels.write_text("plate\n", encoding="utf-8")
    written = folder / f"{detector.stem}_b{batch}.txt"
    written.write_text(rewritten(text, detector.absolute(), batch=batch, labels=labels.absolute()), encoding="utf-8")
    return Configurations(muxer, written)


def read(detector: Path) -> str:
    """The text of the file at this path. Raises InvalidSettings where it is none that can be rewritten."""
    try:
        text = detector.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"source.nvinfer: {detector} cannot be read: {error}") from None
    rewritten(text, detector.absolute(), batch=1, labels=Path(LABELS))
    return text


def rewritten(text: str, path: Path, *, batch: int, labels: Path) -> str:
    """`text`, which lies at the absolute `path`, for batches of this size. Raises InvalidSettings."""
    config = configparser.ConfigParser(
        delimiters=("=",), comment_prefixes=("#",), interpolation=None, strict=False, default_section="\0"
    )
    config.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        config.read_string(text)
        properties = config["property"]
    except (configparser.Error, KeyError):
        raise InvalidSettings(
            f"source.nvinfer: {path} is no configuration of nvinfer: it has no [property] section of key=value lines"
        ) from None
    if properties.get("process-mode", "1") != "1":
        raise InvalidSettings(
            f"source.nvinfer: {path} is for parts of frames (process-mode); plates are found in whole"
        )
    for key in _PATHS:
        if key in properties:
            properties[key] = str(path.parent / properties[key])
    model = next((properties[key] for key in _MODELS if key in properties), None)
    if model is None:
        raise InvalidSettings(f"source.nvinfer: {path} names no model, as in onnx-file=plates.onnx")
    precision = _PRECISIONS.get(properties.get("network-mode", "0"), "fp32")
    properties["model-engine-file"] = f"{model}_b{batch}_gpu{_GPU}_{precision}.engine"
    properties.setdefault("labelfile-path", str(labels))
    properties.update({
        "batch-size": str(batch), "gpu-id": str(_GPU), "gie-unique-id": "1", "process-mode": "1", "interval": "0",
    })  # fmt: skip
    out = io.StringIO()
    config.write(out, space_around_delimiters=False)
    return out.getvalue()
