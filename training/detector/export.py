"""Write the trained plate detector as ONNX: `python -m training.detector.export FOLDER/checkpoint.pt plate-
detector.onnx`.

Batch normalisation becomes part of the convolutions. What it was trained with goes into the file's metadata.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.detector.candidates import PlateGraph
from training.detector.model import PlateNet


def export(checkpoint: Path, path: Path, notes: dict[str, str]) -> None:
    """Write the averaged weights of a checkpoint to `path`.

    The graph takes `pixels`, uint8 (N, H, W, 3) RGB, H and W multiples of 32, and gives `plates`, float32 (N, 50,
    13), see `candidates`.
    """
    net = PlateNet()
    net.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    net.eval()
    _fuse(net)
    torch.onnx.export(
        PlateGraph(net).eval(),
        (torch.zeros((2, 384, 640, 3), dtype=torch.uint8),),
        str(path),
        input_names=["pixels"],
        output_names=["plates"],
        dynamic_axes={"pixels": {0: "batch", 1: "height", 2: "width"}, "plates": {0: "batch"}},
        dynamo=False,
        opset_version=17,
    )
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, notes)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _fuse(module: nn.Module) -> None:
    for child in module.children():
        if isinstance(child, nn.Sequential) and len(child) >= 2 and isinstance(child[1], nn.BatchNorm2d):
            child[0] = fuse_conv_bn_eval(child[0], child[1])
            child[1] = nn.Identity()
        else:
            _fuse(child)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument(
        "--note", action="append", default=[], metavar="KEY=VALUE", help="metadata, such as commit=... and version=1"
    )
    given = parser.parse_args()
    notes = {"licence": "Apache-2.0", "origin": "trained for Platoon from nothing, see training/README.md"}
    step = torch.load(given.checkpoint, weights_only=True)["step"]
    notes |= {"steps": str(step)} | dict(note.split("=", 1) for note in given.note)
    export(given.checkpoint, given.path, notes)


if __name__ == "__main__":
    main()
