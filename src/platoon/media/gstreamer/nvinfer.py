"""The configuration of DeepStream's detector (`nvinfer`), rewritten for the batches of a site.

An operator brings a file that works for one stream, as every model's author publishes one. Of it everything is kept but
what a batch of cameras wants otherwise: the size of the batch, the name of the engine that was built for that size, and
paths, which are relative to the file.
"""

from __future__ import annotations

import configparser
import io
from pathlib import Path
from typing import Final

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


def configure(path: Path, folder: Path, *, batch: int) -> Path:
    """Write the configuration at `path` for batches of this size into `folder`, with labels if it names none.

    Returns:
        The file written.

    Raises:
        InvalidSettings: it cannot be read, or is not that of a detector of whole frames.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"source.nvinfer: {path} cannot be read: {error}") from None
    make_folder(folder)
    labels = folder / LABELS
    labels.write_text("plate\n", encoding="utf-8")
    written = folder / f"{path.stem}_b{batch}.txt"
    written.write_text(rewritten(text, path.absolute(), batch=batch, labels=labels.absolute()), encoding="utf-8")
    return written


def rewritten(text: str, path: Path, *, batch: int, labels: Path) -> str:
    """`text`, which lies at the absolute `path`, for batches of this size. Raises as `configure`."""
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
