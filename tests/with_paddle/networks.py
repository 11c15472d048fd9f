"""Small networks in the shape of PP-OCR's, with weights that the tests set: as Paddle exports them, and as ONNX graphs
made of the same weights.

The detector works at a quarter of the size, with a branch to a 32nd and back, as PP-OCR's have; the recogniser takes
the colour of columns eight pixels wide for a class, of the seven characters in `COLOURS` or of none.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from paddle import nn

from platoon.ocr import detection

Weights = Mapping[str, NDArray[np.float32]]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "y": (0, 0, 0),  # what YAML could take for something else
    "1": (255, 0, 0),
    "~": (0, 255, 0),
    "é": (0, 0, 255),
    "A": (255, 255, 0),
    "字": (0, 255, 255),
    "Z": (255, 0, 255),
}
"""RGB; the paper is white, what stands between characters is grey, and neither is one."""
DICTIONARY = tuple(COLOURS)


class DetectionNet(nn.Layer):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 1, 2, stride=2)
        self.down = nn.LayerList([nn.Conv2D(1, 1, 2, stride=2) for _ in range(4)])
        self.fuse = nn.Conv2D(2, 1, 1)
        self.up = nn.LayerList([nn.Conv2DTranspose(1, 1, 2, stride=2) for _ in range(2)])
        _set(self, weights)

    def forward(self, x: Any) -> Any:
        x = quarter = self.down[0](self.stem(x))
        for layer in list(self.down)[1:]:
            x = layer(x)
        x = self.fuse(paddle.concat([quarter, nn.functional.interpolate(x, scale_factor=8, mode="nearest")], axis=1))
        for layer in self.up:
            x = layer(x)
        return nn.functional.sigmoid(x)


class RecognitionNet(nn.Layer):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.columns = nn.Conv2D(3, 3, (48, 8), stride=(48, 8))
        self.classes = nn.Linear(3, weights["classes.bias"].size)
        _set(self, weights)

    def forward(self, x: Any) -> Any:
        x = paddle.transpose(paddle.squeeze(self.columns(x), axis=2), [0, 2, 1])
        return nn.functional.softmax(self.classes(x), axis=2)


def _set(net: Any, weights: Weights) -> None:
    net.set_state_dict({name: paddle.to_tensor(value) for name, value in weights.items()})
    net.eval()


def detection_weights() -> Weights:
    """A pixel is text if the mean of its channels is under 210."""
    mean, std = np.array(detection.INPUT.mean, np.float32), np.array(detection.INPUT.std, np.float32)
    halve = {"weight": np.full((1, 1, 2, 2), 0.25, np.float32), "bias": np.zeros(1, np.float32)}
    double = {"weight": np.ones((1, 1, 2, 2), np.float32), "bias": np.zeros(1, np.float32)}
    steep = np.float32(40)
    return {
        "stem.weight": np.broadcast_to(std.reshape(1, 3, 1, 1) / 12, (1, 3, 2, 2)).copy(),
        "stem.bias": mean.mean(keepdims=True),
        **{f"down.{number}.{name}": value for number in range(4) for name, value in halve.items()},
        "fuse.weight": np.array([-steep, 0], np.float32).reshape(1, 2, 1, 1),
        "fuse.bias": np.array([steep * 210 / 255], np.float32),
        **{f"up.{number}.{name}": value for number in range(2) for name, value in double.items()},
    }


def recognition_weights(colours: Iterable[tuple[int, int, int]] = tuple(COLOURS.values())) -> Weights:
    """A column is the character whose colour is nearest to the mean of its middle rows.

    Class 0 is what lies around nought, or is white; the last is a space, which nothing is.
    """
    sums = np.zeros((3, 3, 48, 8), np.float32)
    for channel in range(3):
        sums[channel, channel, 20:28] = 1 / 64
    points = np.array([colour[::-1] for colour in colours], np.float32) / 127.5 - 1
    steep = np.float32(6)
    none, space = np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32)
    return {
        "columns.weight": sums,
        "columns.bias": np.zeros(3, np.float32),
        "classes.weight": np.concatenate((none, 2 * steep * points, space)).T.copy(),
        "classes.bias": np.concatenate(([0], -steep * (points**2).sum(1), [-99])).astype(np.float32),
    }


def at_random(weights: Weights, seed: int = 5) -> Weights:
    """Others of the same shapes, which make outputs that differ everywhere."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.5, value.shape).astype(np.float32) for name, value in weights.items()}


def paddle_model(net: Any, folder: Path, *, old: bool = False) -> Path:
    """Export it as `inference.json`, or in the form before Paddle 3, with its weights; returns `folder`."""
    shape = [None, 3, 48, None] if isinstance(net, RecognitionNet) else [None, 3, None, None]
    with paddle.pir_utils.OldIrGuard() if old else nullcontext():
        paddle.jit.save(net, str(folder / "inference"), input_spec=[paddle.static.InputSpec(shape, "float32", "x")])
    return folder


def onnx_model(weights: Weights, file: Path) -> Path:
    """The same network as an ONNX graph."""
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [name or f"t{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    def layer(kind: str, x: str, name: str, strides: Sequence[int]) -> str:
        return add(kind, x, f"{name}.weight", f"{name}.bias", strides=strides)

    constants = dict(weights)
    if "stem.weight" in weights:
        sizes: list[Any] = [1, "H", "W"]
        in_sizes: list[Any] = ["H", "W"]
        x = quarter = layer("Conv", layer("Conv", "x", "stem", [2, 2]), "down.0", [2, 2])
        for number in range(1, 4):
            x = layer("Conv", x, f"down.{number}", [2, 2])
        constants["scales"] = np.array([1, 1, 8, 8], np.float32)
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        x = layer("Conv", add("Concat", quarter, add("Resize", x, "", "scales", **how), axis=1), "fuse", [1, 1])
        for number in range(2):
            x = layer("ConvTranspose", x, f"up.{number}", [2, 2])
        add("Sigmoid", x, name="out")
    else:
        sizes, in_sizes = ["T", weights["classes.bias"].size], [48, "W"]
        x = layer("Conv", "x", "columns", [48, 8])
        x = add("Transpose", add("Squeeze", x, "axes"), perm=[0, 2, 1])
        constants["axes"] = np.array([2], np.int64)
        x = add("Add", add("MatMul", x, "classes.weight"), "classes.bias")
        add("Softmax", x, name="out", axis=2)
    graph = helper.make_graph(
        nodes,
        "twin",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, *in_sizes])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", *sizes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def describe_detection(folder: Path) -> None:
    """Write the `inference.yml` of a detector, as PaddleOCR does."""
    (folder / "inference.yml").write_text(
        "Global:\n  model_name: PP-OCRv5_mobile_det\nPreProcess:\n  transform_ops:\n"
        "  - DecodeImage:\n      channel_first: false\n      img_mode: BGR\n  - DetLabelEncode: null\n"
        "  - DetResizeForTest:\n      resize_long: 960\n  - NormalizeImage:\n"
        "      mean: [0.485, 0.456, 0.406]\n      order: hwc\n      scale: 1./255.\n      std: [0.229, 0.224, 0.225]\n"
        "  - ToCHWImage: null\n  - KeepKeys:\n      keep_keys: [image, shape]\n"
        "PostProcess:\n  name: DBPostProcess\n  thresh: 0.3\n  box_thresh: 0.6\n  unclip_ratio: 1.5\n"
    )


def describe_recognition(folder: Path, characters: Sequence[str] = DICTIONARY) -> None:
    """Write the `inference.yml` of a recogniser, with nothing in quotes."""
    (folder / "inference.yml").write_text(
        "Global:\n  model_name: PP-OCRv5_mobile_rec\nPreProcess:\n  transform_ops:\n"
        "  - DecodeImage:\n      channel_first: false\n      img_mode: BGR\n  - MultiLabelEncode:\n"
        "      gtc_encode: NRTRLabelEncode\n  - RecResizeImg:\n      image_shape: [3, 48, 320]\n"
        "PostProcess:\n  name: CTCLabelDecode\n  character_dict:\n" + "".join(f"  - {each}\n" for each in characters),
        encoding="utf-8",
    )


def page(*lines: str) -> NDArray[np.uint8]:
    """White paper with these lines of coloured fields on grey, RGB."""
    paper = np.full((320, 960, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        top = 60 + 120 * number
        paper[top : top + 30, 40 : 40 + 48 + 96 * len(line)] = 127
        for place, character in enumerate(line):
            left = 40 + 48 + 96 * place
            paper[top : top + 30, left : left + 48] = COLOURS[character]
    return paper
