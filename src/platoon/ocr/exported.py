"""What PaddleOCR writes beside a model that it exports: `inference.yml`, with what its pixels and classes mean.

It is read as nothing but text, lists and maps: a dictionary may hold `null`, `y` and `1`, which are characters here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import yaml

from platoon.engine.model import Model
from platoon.engine.surgery import PixelInput
from platoon.errors import ModelError

NAME = "inference.yml"

Task = Literal["DBPostProcess", "CTCLabelDecode"]
"""What is made of a model's output: boxes of a map of text, or a text of classes step by step."""

_SETTINGS: Mapping[str, str] = {
    "DBPostProcess": "it finds text: name it in engine.text_detection",
    "CTCLabelDecode": "it reads lines: name it in engine.text_recognition",
}
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class Export:
    """What is said of a model; none of what it does not say."""

    pixels: PixelInput | None = None
    """How its input is normalised."""
    height: int | None = None
    """Of lines that it reads, in pixels."""
    characters: tuple[str, ...] | None = None
    """Those of its classes from 1 on; a space may follow."""


def exported(model: Model, task: Task, usual: PixelInput) -> Export:
    """What `inference.yml` beside the files of `model` says; nothing is known without one.

    Args:
        task: what the model is wanted for.
        usual: how pixels are normalised where it only says the order of the channels, or nothing.

    Raises:
        ModelError: it cannot be read, or describes a model for something else.
    """
    file = model.path.with_name(NAME)
    try:
        tree = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        return Export()
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    try:
        after = _map(_map(tree).get("PostProcess"))
        steps = {name: _map(step) for each in _map(tree["PreProcess"])["transform_ops"] for name, step in each.items()}
        made_by = after.get("name", task)
        if made_by != task:
            instead = _SETTINGS.get(made_by, "Platoon has no use for it")
            raise ModelError(f"model {model.path} is of another kind, {made_by} by its {NAME}: {instead}")
        shape = steps.get("RecResizeImg", {}).get("image_shape")
        characters = after.get("character_dict")
        return Export(
            _pixels(steps, usual),
            None if shape is None else int(shape[1]),
            None if characters is None else tuple(map(_text, characters)),
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{file} is not as PaddleOCR 3 writes it ({type(error).__name__}: {error}): export the model again"
        ) from error


def _pixels(steps: Mapping[str, Mapping[str, Any]], usual: PixelInput) -> PixelInput:
    order = steps.get("DecodeImage", {}).get("img_mode", "BGR")
    if order not in ("BGR", "RGB"):
        raise ValueError(f"DecodeImage.img_mode is {order}")
    normalised = steps.get("NormalizeImage")
    if normalised is None:
        return PixelInput(usual.mean, usual.std, bgr=order == "BGR")
    # (value * scale - mean) / std of values of 0-255, in the words of `PixelInput`, which divides by 255 first.
    scale = float(Fraction(1, 255) if "scale" not in normalised else _fraction(normalised["scale"])) * 255
    mean = tuple(float(value) / scale for value in normalised["mean"])
    std = tuple(float(value) / scale for value in normalised["std"])
    (first, second, third), (over, under, last) = mean, std
    return PixelInput((first, second, third), (over, under, last), bgr=order == "BGR")


def _fraction(text: str) -> float:
    """Of `1./255.`, as it is written there, or of a figure."""
    over, _, under = text.partition("/")
    return float(over) / float(under or 1)


def _map(value: Any) -> Mapping[str, Any]:
    """A map; nothing (`null`) is an empty one."""
    if value in ("", "null", "~", None):
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no map")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no character")
    return value
