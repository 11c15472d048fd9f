"""Writes a trained reader as an ONNX file: `python -m training.reader.export OUT FILE`.

Weights are kept in half precision and widened when the file is loaded. The file says by what it was trained.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from training.reader import ALPHABET, HEIGHT, POSITIONS, WIDTH
from training.reader.model import CLASSES, PlateNet, Reader

VERSION = "1"
SMALL = 64
"""Tensors with fewer values stay as they are."""


def export(checkpoint: Path, file: Path) -> None:
    """Write the moving average of the weights in `checkpoint` to `file`."""
    state = torch.load(checkpoint, weights_only=False, map_location="cpu")
    net = PlateNet()
    net.load_state_dict(state["average"])
    part = file.with_suffix(".part")
    example = torch.zeros((2, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    torch.onnx.export(
        Reader(net).eval(),
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
    told = {
        "version": VERSION,
        "licence": "Apache-2.0",
        "origin": "trained by Platoon",
        "alphabet": ALPHABET,
        "data": "drawn by training.draw, no photographs",
        "seed": str(state.get("seed", 1)),
        "steps": str(state["step"]),
        "commit": _commit(),
    }
    helper.set_model_props(proto, told)
    onnx.checker.check_model(proto)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(proto.SerializeToString())


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
    export(given.out / "checkpoint.pt", given.file)


if __name__ == "__main__":
    main()
