"""The gRPC messages of the protocol, made when first asked for.

They are described here rather than generated: code from protoc fits some versions of protobuf and warns about others.
They live in a pool of their own, as `tritonclient` registers messages of the same names in the common one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import FileDescriptorProto  # type: ignore[import-untyped]
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]
from numpy.typing import NDArray

SERVICE = "inference.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelInfer")
"""Each takes its name + `Request` and gives its name + `Response`."""

_PACKAGE = "inference"
_MODEL = {"name": "1 string", "version": "2 string"}
_PARAMETERS = "map InferParameter"
_MESSAGES: Mapping[str, Mapping[str, str]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "1 bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "1 bool"},
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": {"ready": "1 bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": "1 string", "version": "2 string", "extensions": "3 repeated string"},
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse": {
        "name": "1 string",
        "versions": "2 repeated string",
        "platform": "3 string",
        "inputs": "4 repeated ModelMetadataResponse.TensorMetadata",
        "outputs": "5 repeated ModelMetadataResponse.TensorMetadata",
    },
    "ModelMetadataResponse.TensorMetadata": {"name": "1 string", "datatype": "2 string", "shape": "3 repeated int64"},
    "InferParameter": {
        "bool_param": "1 parameter_choice/ bool",
        "int64_param": "2 parameter_choice/ int64",
        "string_param": "3 parameter_choice/ string",
        "double_param": "4 parameter_choice/ double",
        "uint64_param": "5 parameter_choice/ uint64",
    },
    "InferTensorContents": {
        "bool_contents": "1 repeated bool",
        "int_contents": "2 repeated int32",
        "int64_contents": "3 repeated int64",
        "uint_contents": "4 repeated uint32",
        "uint64_contents": "5 repeated uint64",
        "fp32_contents": "6 repeated float",
        "fp64_contents": "7 repeated double",
        "bytes_contents": "8 repeated bytes",
    },
    "ModelInferRequest": {
        "model_name": "1 string",
        "model_version": "2 string",
        "id": "3 string",
        "parameters": f"4 {_PARAMETERS}",
        "inputs": "5 repeated ModelInferRequest.InferInputTensor",
        "outputs": "6 repeated ModelInferRequest.InferRequestedOutputTensor",
        "raw_input_contents": "7 repeated bytes",
    },
    "ModelInferRequest.InferInputTensor": {
        "name": "1 string",
        "datatype": "2 string",
        "shape": "3 repeated int64",
        "parameters": f"4 {_PARAMETERS}",
        "contents": "5 InferTensorContents",
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": "1 string", "parameters": f"2 {_PARAMETERS}"},
    "ModelInferResponse": {
        "model_name": "1 string",
        "model_version": "2 string",
        "id": "3 string",
        "parameters": f"4 {_PARAMETERS}",
        "outputs": "5 repeated ModelInferResponse.InferOutputTensor",
        "raw_output_contents": "6 repeated bytes",
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": "1 string",
        "datatype": "2 string",
        "shape": "3 repeated int64",
        "parameters": f"4 {_PARAMETERS}",
        "contents": "5 InferTensorContents",
    },
    # Triton's own; of a model's configuration only what is said here.
    "ModelConfigRequest": _MODEL,
    "ModelConfigResponse": {"config": "1 ModelConfig"},
    "ModelConfig": {
        "name": "1 string",
        "platform": "2 string",
        "max_batch_size": "4 int32",
        "input": "5 repeated ModelInput",
        "output": "6 repeated ModelOutput",
        "dynamic_batching": "11 scheduling_choice/ ModelDynamicBatching",
        "parameters": "14 map ModelParameter",
        "backend": "17 string",
    },
    "ModelInput": {"name": "1 string", "data_type": "2 int32", "dims": "4 repeated int64"},
    "ModelOutput": {"name": "1 string", "data_type": "2 int32", "dims": "3 repeated int64"},
    "ModelDynamicBatching": {},
    "ModelParameter": {"string_value": "1 string"},
}
"""Message -> field -> its number; `repeated`, `map`, or `NAME/` of the `oneof` it belongs to; its type."""

DATA_TYPES: Mapping[str, int] = {"BOOL": 1, "UINT8": 2, "INT32": 8, "INT64": 9, "FP16": 10, "FP32": 11, "FP64": 12}
"""Numbers of the enumeration `DataType` in a model's configuration."""


_RAW_CONTENTS = 7
"""The field of `ModelInferRequest` with tensors as they are."""
_RAW_OUTPUTS = 6
"""Likewise of `ModelInferResponse`."""
_MAX_FIELDS = 1_000
_MAX_STRUCTURE_BYTES = 4_000_000
_OBJECT_BYTES = 64
"""What a byte of a message becomes at most, where it is not a tensor as it is: measured, with empty messages in it."""


def split(raw: bytes) -> tuple[list[memoryview], bytes]:
    """The raw tensors of a serialised `ModelInferRequest`, where they lie in it, and the message without them.

    So no tensor is copied, and what is left to be parsed is small.

    Raises:
        ValueError: it is none that could be parsed, or more than an inference needs.
    """
    tensors: list[memoryview] = []
    rest: list[memoryview] = []
    view = memoryview(raw)
    at = fields = structure = 0
    while at < len(raw):
        begin = at
        tag, at = _varint(raw, at)
        fields += 1
        length = {0: 0, 1: 8, 5: 4}.get(tag & 7)
        if length is None and tag & 7 == 2:
            length, at = _varint(raw, at)
        elif length == 0:
            _, at = _varint(raw, at)
        if length is None or length > len(raw) - at:
            raise ValueError("it is cut short, or of no known form")
        if tag == _RAW_CONTENTS << 3 | 2:
            tensors.append(view[at : at + length])
        else:
            rest.append(view[begin : at + length])
            structure += at + length - begin
        at += length
        if fields > _MAX_FIELDS:
            raise ValueError(f"it has more than {_MAX_FIELDS} fields")
        if structure > _MAX_STRUCTURE_BYTES:
            raise ValueError(f"it has more than {_MAX_STRUCTURE_BYTES} bytes that are no raw tensors")
    return tensors, b"".join(rest)


def joined(response: Any, tensors: Iterable[NDArray[Any]]) -> bytes:
    """A `ModelInferResponse`, serialised, with these as its raw tensors, which are copied once and not thrice."""
    parts: list[Any] = [response.SerializeToString()]
    for tensor in tensors:
        parts += (bytes([_RAW_OUTPUTS << 3 | 2]), _as_varint(tensor.nbytes), np.ascontiguousarray(tensor).data)
    return b"".join(parts)


def size_in_memory(structure: bytes) -> int:
    """How many bytes a serialised message without raw tensors may take once it is parsed."""
    return len(structure) * _OBJECT_BYTES


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is cut short, or of no known form")


def _as_varint(value: int) -> bytes:
    """A number as `_varint` reads it."""
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


@cache
def message(name: str) -> Any:
    """The class of the message called `name`."""
    return GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    file = FileDescriptorProto(name="platoon/inference.proto", package=_PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for path, fields in _MESSAGES.items():
        outer, _, name = path.rpartition(".")
        made[path] = (made[outer].nested_type if outer else file.message_type).add(name=name)
        for field, description in fields.items():
            _describe(made[path], path, field, description)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _describe(message: Any, path: str, name: str, description: str) -> None:
    """Add one field to the descriptor of a message."""
    number, *labels, kind = description.split()
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if labels in (["repeated"], ["map"]) else field.LABEL_OPTIONAL
    if labels and labels[0].endswith("/"):
        # No message here has more than one.
        field.oneof_index = 0
        if not message.oneof_decl:
            message.oneof_decl.add(name=labels[0].removesuffix("/"))
    if labels == ["map"]:
        # On the wire a map is a list of such entries.
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _describe(entry, f"{path}.{entry.name}", "key", "1 string")
        _describe(entry, f"{path}.{entry.name}", "value", f"2 {kind}")
        kind = f"{path}.{entry.name}"
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
