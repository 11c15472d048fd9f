"""Writes a trained reader as an ONNX file: `python -m training.reader.export OUT FILE`.

Weights are kept in half precision and widened when the file is loaded. Logits are divided by the temperature (Guo et
al., ICML 2017) at which the probability of a whole text is as often right as it says, on the plates held out of the
training. The file says by what it was trained.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from training.reader import ALPHABET, HEIGHT, POSITIONS, WIDTH
from training.reader.model import CLASSES, PlateNet, Reader
from training.reader.train import logits_of

VERSION = "1"
SMALL = 64
"""Tensors with fewer values stay as they are."""


def export(folder: Path, file: Path) -> None:
    """Write the moving average of the weights of the training in `folder` to `file`."""
    state = torch.load(folder / "checkpoint.pt", weights_only=False, map_location="cpu")
    net = PlateNet().eval()
    net.load_state_dict(state["average"])
    held_out = np.load(folder / "held-out.npz")
    degree = temperature(logits_of(net, held_out["cuts"]), torch.from_numpy(held_out["labels"]))
    part = file.with_suffix(".part")
    example = torch.zeros((2, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    torch.onnx.export(
        Reader(net, degree).eval(),
        (example,),
        str(part),
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamic_axes={"pixels": {0: "N"}, "probabilities": {0: "N"}},
        opset_version=17,
        dynamo=False,
    )
    proto = onnx.load(part)
    part.unlink()
    _name_shapes(proto.graph)
    _halve(proto.graph)
    described = {
        "version": VERSION,
        "licence": "Apache-2.0",
        "origin": "trained by Platoon from the features of PP-OCRv6 small (PaddlePaddle, Apache-2.0)",
        "alphabet": ALPHABET,
        "data": "drawn by training.draw, no photographs",
        "seed": str(state.get("seed", 1)),
        "steps": str(state["step"]),
        "temperature": f"{degree:.3f}",
        "commit": _commit(),
    }
    helper.set_model_props(proto, described)
    onnx.checker.check_model(proto)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(proto.SerializeToString())


def temperature(logits: Tensor, labels: Tensor) -> float:
    """By which logits (N, 10, 37) have to be divided for the probability of a text to be how often it is right."""
    right = (logits.argmax(-1) == labels).all(1).float()

    def loss(degree: float) -> float:
        sure = (logits / degree).log_softmax(-1).amax(-1).sum(1).exp()
        return float(functional.binary_cross_entropy(sure.clamp(0, 1), right))

    return float(min(np.geomspace(0.25, 4, 200), key=loss))


def _name_shapes(graph: onnx.GraphProto) -> None:
    for value, shape in ((graph.input[0], (HEIGHT, WIDTH, 3)), (graph.output[0], (POSITIONS, CLASSES))):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param = "N"
        for dim, size in zip(dims[1:], shape, strict=True):
            dim.dim_value = size


def _halve(graph: onnx.GraphProto) -> None:
    """Large float32 weights as float16 with a cast behind each, which runtimes fold."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the plate reader as an ONNX file.")
    parser.add_argument("out", type=Path, help="folder of the training")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    export(given.out, given.file)


if __name__ == "__main__":
    main()
