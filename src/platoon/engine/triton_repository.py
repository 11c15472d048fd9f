"""A model repository as NVIDIA Triton reads it: adapted graphs, each with its configuration.

    DIR/text-detection/config.pbtxt
    DIR/text-detection/1/model.onnx

Triton batches what clients send, waiting for nobody, and only requests of equal shape: the rule of our own batcher.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from platoon.engine.signature import TensorSpec, signature
from platoon.engine.surgery import Graph
from platoon.errors import InvalidSettings, ModelError

VERSION = 1


def export(graphs: Iterable[tuple[Graph, Mapping[str, str]]], folder: Path, *, max_batch: int) -> list[Path]:
    """Write `graphs`, each with parameters for its clients, below `folder`; returns their folders.

    What is there under the same names is replaced, each file in one step; the rest stays.

    Raises:
        ModelError: a graph cannot be served. InvalidSettings: `folder` cannot be written.
    """
    written = []
    for graph, parameters in graphs:
        if graph.on_host:
            raise ModelError(f"model {graph.model.name} could not be adapted, so a server cannot execute it alone")
        config = configuration(graph, parameters, max_batch=max_batch)
        home = folder / graph.name
        try:
            (home / str(VERSION)).mkdir(parents=True, exist_ok=True)
            _write(home / str(VERSION) / "model.onnx", graph.proto)
            _write(home / "config.pbtxt", config.encode())
        except OSError as error:
            raise InvalidSettings(f"cannot write the model repository {folder}: {error.strerror}") from error
        written.append(home)
    return written


def configuration(graph: Graph, parameters: Mapping[str, str], *, max_batch: int) -> str:
    """The text of `config.pbtxt`.

    Beside `parameters` it carries the graph's `digest`, by which a `TritonRuntime` knows its model, and the
    weights' `licence` and `origin`.
    """
    tensors = signature(graph)
    notes = {"digest": graph.digest, "licence": graph.model.licence, "origin": graph.model.origin, **parameters}
    lines = [
        f"name: {_quoted(graph.name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch}",
        f"input [ {_tensor(tensors.input)} ]",
        f"output [ {', '.join(map(_tensor, tensors.outputs))} ]",
        "dynamic_batching { max_queue_delay_microseconds: 0 }",
        *(
            f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"
            for key, value in notes.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _tensor(tensor: TensorSpec) -> str:
    dims = ", ".join(map(str, tensor.shape[1:]))  # the items' axis is said by max_batch_size
    return f"{{ name: {_quoted(tensor.name)} data_type: TYPE_{tensor.datatype} dims: [ {dims} ] }}"


def _quoted(text: str) -> str:
    """A string literal of protobuf's text format: JSON's, for text without control characters but line ends."""
    return json.dumps(text, ensure_ascii=False)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
