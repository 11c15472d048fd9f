"""Write a trained plate detector as ONNX: `python -m training.detector.export FOLDER/checkpoint.pt FILE`.

Batch normalisation becomes part of the convolutions. What it was trained with goes into the file's metadata.
"""

from __future__ import annotations

import argparse
import math
import subprocess
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.detector.candidates import PlateGraph
from training.detector.model import PlateNet

VERSION = "2"
_DATA = "the split `train` of plates-train (RobertLucian/license-plate-dataset, MIT), and what training.draw draws"


def export(checkpoint: Path, path: Path, *, halfway: float = 0.5) -> None:
    """Write the averaged weights of a checkpoint to `path`.

    The graph takes `pixels`, uint8 (N, H, W, 3) RGB, H and W multiples of 32, and gives `plates`, float32 (N, 50, 13),
    see `candidates`.

    Args:
        halfway: the network's score that becomes 0.5, the threshold that users start from.
    """
    kept = torch.load(checkpoint, weights_only=True)
    net = PlateNet()
    net.load_state_dict(kept["average"])
    net.eval()
    with torch.no_grad():
        net.out.bias[0] -= math.log(halfway / (1 - halfway))
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
    revision = subprocess.run(("git", "rev-parse", "HEAD"), capture_output=True, text=True, check=True)
    notes = {
        "version": VERSION,
        "licence": "Apache-2.0",
        "origin": "trained by Platoon",
        "data": _DATA,
        "seed": str(kept["seed"]),
        "steps": str(kept["step"]),
        "commit": revision.stdout.strip(),
    }
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
    parser.add_argument("--halfway", type=float, default=0.5, help="the network's score that becomes 0.5")
    given = parser.parse_args()
    export(given.checkpoint, given.path, halfway=given.halfway)


if __name__ == "__main__":
    main()
