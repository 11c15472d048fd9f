"""The tensors that a graph takes and gives, in the words of the inference protocol v2 (KServe, Triton)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx
from onnx import TensorProto

from platoon.engine.surgery import Graph
from platoon.errors import ModelError

DATATYPES: Mapping[str, np.dtype] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "FP16": np.dtype(np.float16),
        "FP32": np.dtype(np.float32),
        "FP64": np.dtype(np.float64),
    }
)
"""The protocol's names of what the models here take and give; on the wire all are little-endian."""

_ONNX_TYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What one tensor is."""

    name: str
    datatype: str
    """A key of `DATATYPES`."""
    shape: tuple[int, ...]
    """The first axis is the items; -1 where any size fits."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into a graph and what comes out."""

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


def signature(graph: Graph) -> Signature:
    """The tensors of `graph` as it is executed.

    Raises:
        ModelError: it has more than one input, or a tensor of a type that `DATATYPES` lacks.
    """
    proto = onnx.load_model_from_string(graph.proto).graph
    constants = {tensor.name for tensor in proto.initializer}
    inputs = [value for value in proto.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"model {graph.model.name} has {len(inputs)} inputs; only graphs with one can be served")
    return Signature(_spec(inputs[0], graph), tuple(_spec(value, graph) for value in proto.output))


def _spec(value: onnx.ValueInfoProto, graph: Graph) -> TensorSpec:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _ONNX_TYPES:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise ModelError(f"tensor {value.name} of model {graph.model.name} is {kind}, which cannot be served")
    sizes = (dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, _ONNX_TYPES[tensor.elem_type], tuple(sizes))
