"""The tensors that a graph takes and gives, in the words of the inference protocol v2 (KServe, Triton)."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from platoon.engine.surgery import Graph
from platoon.errors import ModelError

_DATATYPES = {
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
    """The protocol's name of its type: UINT8, INT32, FP32, ..."""
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
        ModelError: it is not executed as a whole, has more than one input, or a tensor of a type that is not known
            here.
    """
    if graph.on_host:
        raise ModelError(
            f"model {graph.model.name} is not adapted as an ONNX graph, so no other program can execute it"
        )
    proto = onnx.load_model_from_string(graph.proto).graph
    constants = {tensor.name for tensor in proto.initializer}
    inputs = [value for value in proto.input if value.name not in constants]
    if len(inputs) != 1:
        raise ModelError(f"model {graph.model.name} has {len(inputs)} inputs; only graphs with one can be served")
    return Signature(_spec(inputs[0], graph), tuple(_spec(value, graph) for value in proto.output))


def _spec(value: onnx.ValueInfoProto, graph: Graph) -> TensorSpec:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _DATATYPES:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise ModelError(f"tensor {value.name} of model {graph.model.name} is {kind}, which cannot be served")
    sizes = (dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, _DATATYPES[tensor.elem_type], tuple(sizes))
