"""Adapting a graph when it is loaded: pixels in, answers out, and nothing large in between.

Each adaptation changes the graph (`graft`) and can do the same work in numpy (`prepare`, `finish`). `adapt`
grafts them all or, where the graph is not what one of them expects, leaves the graph as it is and does the
work in numpy, which is slower but gives the same: callers see one face, `Graph`. So it does with models of Paddle's
own format. Nothing here runs a graph.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from platoon.engine.model import Model
from platoon.errors import ModelError

logger = logging.getLogger(__name__)

Array = NDArray[Any]


class UnexpectedGraph(Exception):
    """The graph does not have the shape that an adaptation can change."""


class Adaptation(Protocol):
    """One change of a graph's face."""

    def graft(self, graph: onnx.GraphProto) -> None:
        """Change `graph` in place; raises UnexpectedGraph where it cannot."""

    def prepare(self, batch: Array) -> Array:
        """In numpy, what the graft does before the original graph."""

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """In numpy, what the graft does after it."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that a runtime can execute, and what is left to do around it."""

    model: Model
    name: str
    """What it is for: its name in metrics and where it is served."""
    proto: bytes
    """The ONNX graph; empty where the model is none but Paddle's."""
    digest: str
    """Tells apart models and their adaptations."""
    on_host: tuple[Adaptation, ...] = ()
    """Adaptations that are not grafted: they are for ONNX graphs only, and not for all of these."""

    def prepare(self, batch: Array) -> Array:
        """The input of the bare graph for `batch`."""
        for adaptation in self.on_host:
            batch = adaptation.prepare(batch)
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The adapted outputs for those of the bare graph."""
        for adaptation in self.on_host:
            outputs = adaptation.finish(outputs)
        return outputs


def adapt(model: Model, *adaptations: Adaptation, name: str | None = None) -> Graph:
    """The graph of `model` with `adaptations`, in their order.

    Args:
        name: what the graph is for; none: the model's own name.

    Raises:
        ModelError: the file cannot be loaded.
    """
    key = hashlib.sha256(f"{model.digest} {adaptations}".encode()).hexdigest()
    if model.parameters is not None:
        return Graph(model, name or model.name, b"", digest=key, on_host=adaptations)
    proto = model.load()
    try:
        for adaptation in adaptations:
            adaptation.graft(proto.graph)
    except UnexpectedGraph as reason:
        logger.warning("model %s runs unadapted, the rest in numpy: %s", model.name, reason)
        return Graph(model, name or model.name, model.load().SerializeToString(), digest=key, on_host=adaptations)
    return Graph(model, name or model.name, proto.SerializeToString(), digest=key)


@dataclass(frozen=True, slots=True)
class PixelInput:
    """RGB pixels, (N, H, W, 3) uint8, in place of normalised (N, 3, H, W) float32.

    The reversal of channels costs nothing: the first convolution's weights are turned round instead.
    """

    mean: tuple[float, float, float]
    """Subtracted from values of 0-1, in the order of the model's own channels."""
    std: tuple[float, float, float]
    """Divided by, after that."""
    bgr: bool
    """Whether the model's own channels are blue, green, red."""

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`."""
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise UnexpectedGraph(f"it has {len(inputs)} inputs, not one")
        tensor = inputs[0].type.tensor_type
        sizes = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        if tensor.elem_type != TensorProto.FLOAT or len(sizes) != 4 or sizes[1] != 3:
            raise UnexpectedGraph(f"its input is {sizes}, not float32 (N, 3, H, W)")
        if self.bgr:
            self._turn_round(graph, inputs[0].name)
        scale, shift = self._affine()
        mean_std = (scale[::-1], shift[::-1]) if self.bgr else (scale, shift)
        for name, value in zip(("pixels.scale", "pixels.shift"), mean_std, strict=True):
            graph.initializer.append(numpy_helper.from_array(value.reshape(1, 3, 1, 1), name))
        steps = [
            helper.make_node("Cast", ["pixels"], ["pixels.float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["pixels.float"], ["pixels.planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Mul", ["pixels.planes", "pixels.scale"], ["pixels.scaled"]),
            helper.make_node("Add", ["pixels.scaled", "pixels.shift"], [inputs[0].name]),
        ]
        for position, node in enumerate(steps):
            graph.node.insert(position, node)
        shape = [sizes[0], sizes[2], sizes[3], 3]
        graph.input.remove(inputs[0])
        graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape))

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        scale, shift = self._affine()
        model_order = batch[..., ::-1] if self.bgr else batch
        normalised = model_order.astype(np.float32) * scale + shift
        return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`."""
        return outputs

    def _affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean, std = np.array(self.mean), np.array(self.std)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    @staticmethod
    def _turn_round(graph: onnx.GraphProto, name: str) -> None:
        weights = {tensor.name: tensor for tensor in graph.initializer}
        readers = [node for node in graph.node if name in node.input]
        for node in readers:
            weight = weights.get(node.input[1]) if node.op_type == "Conv" else None
            if weight is None or _uses(graph, weight.name) != 1 or weight.dims[1] != 3:
                raise UnexpectedGraph(f"its input goes to {node.op_type} {node.name}, not to a plain convolution")
        for node in readers:
            weight = weights[node.input[1]]
            reversed_channels = np.ascontiguousarray(numpy_helper.to_array(weight)[:, ::-1])
            weight.CopyFrom(numpy_helper.from_array(reversed_channels, weight.name))


@dataclass(frozen=True, slots=True)
class KeepClasses:
    """Only some classes of a classifier that ends in a linear layer and a softmax over the last axis.

    The other columns of the layer are never computed, and the softmax is over what is kept.
    """

    classes: tuple[int, ...]
    """Indices into the original classes; class `classes[i]` becomes class `i`."""

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`."""
        made_by = {output: node for node in graph.node for output in node.output}
        weights = {tensor.name: tensor for tensor in graph.initializer}
        if len(graph.output) != 1:
            raise UnexpectedGraph(f"it has {len(graph.output)} outputs, not one")

        def source(name: str, kind: str) -> onnx.NodeProto:
            node = made_by.get(name)
            while node is not None and node.op_type == "Identity":
                node = made_by.get(node.input[0])
            if node is None or node.op_type != kind:
                raise UnexpectedGraph(f"its end is {node.op_type if node else name}, where {kind} was expected")
            return node

        softmax = source(graph.output[0].name, "Softmax")
        add = source(softmax.input[0], "Add")
        product = source(add.input[0], "MatMul")
        bias, weight = weights.get(add.input[1]), weights.get(product.input[1])
        dims = graph.output[0].type.tensor_type.shape.dim
        axis = next((attribute.i for attribute in softmax.attribute if attribute.name == "axis"), -1)
        if bias is None or weight is None or len(bias.dims) != 1 or len(weight.dims) != 2:
            raise UnexpectedGraph("its last layer's weights are not constants")
        if axis not in (-1, len(dims) - 1):
            raise UnexpectedGraph(f"its softmax is over axis {axis}, not over the classes")
        if bias.dims[0] <= max(self.classes) or _uses(graph, bias.name) != 1 or _uses(graph, weight.name) != 1:
            raise UnexpectedGraph(f"its last layer has {bias.dims[0]} classes, or shares its weights")
        kept = np.array(self.classes)
        for tensor in (bias, weight):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[..., kept], tensor.name))
        dims[-1].dim_value = len(kept)
        del graph.value_info[:]

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`."""
        kept = outputs[0][..., list(self.classes)]
        total = np.maximum(kept.sum(axis=-1, keepdims=True), np.finfo(np.float32).tiny)
        return (kept / total,)


@dataclass(frozen=True, slots=True)
class TopClasses:
    """The best `count` classes and their scores, int32 and float32 (N, T, count), best first."""

    count: int

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`."""
        if len(graph.output) != 1:
            raise UnexpectedGraph(f"it has {len(graph.output)} outputs, not one")
        sizes = [dim.dim_param or dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim]
        if len(sizes) != 3:
            raise UnexpectedGraph(f"its output is {sizes}, not (N, T, classes)")
        scores = graph.output.pop().name
        graph.initializer.append(numpy_helper.from_array(np.array([self.count], np.int64), "top.count"))
        graph.node.append(
            helper.make_node("TopK", [scores, "top.count"], ["top.scores", "top.long"], axis=-1, largest=1, sorted=1)
        )
        graph.node.append(helper.make_node("Cast", ["top.long"], ["top.classes"], to=TensorProto.INT32))
        shape = [*sizes[:2], self.count]
        graph.output.append(helper.make_tensor_value_info("top.classes", TensorProto.INT32, shape))
        graph.output.append(helper.make_tensor_value_info("top.scores", TensorProto.FLOAT, shape))

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`."""
        scores = outputs[0]
        top = np.argpartition(-scores, self.count - 1, axis=-1)[..., : self.count]
        order = np.argsort(-np.take_along_axis(scores, top, axis=-1), axis=-1, kind="stable")
        classes = np.take_along_axis(top, order, axis=-1)
        return classes.astype(np.int32), np.take_along_axis(scores, classes, axis=-1)


@dataclass(frozen=True, slots=True)
class ExpectOutput:
    """Nothing changes, but a model whose output is another than expected is refused."""

    model: str
    """Whose output it is, for the error."""
    what: str
    """What it was taken for."""
    sizes: tuple[tuple[int, ...], ...]
    """For each axis the sizes it may have; empty: any."""

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`. Raises ModelError where the graph says that its output is another."""
        if len(graph.output) == 1 and not graph.output[0].type.tensor_type.HasField("shape"):
            return
        self._check([[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.output])

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`. Raises ModelError where they are others."""
        self._check([output.shape for output in outputs])
        return outputs

    def _check(self, shapes: Sequence[Sequence[int]]) -> None:
        """Compare them; 0 is a size that is not known yet."""
        if [len(shape) for shape in shapes] == [len(self.sizes)] and all(
            not size or not may or size in may for size, may in zip(shapes[0], self.sizes, strict=True)
        ):
            return
        wanted = ", ".join(" or ".join(map(str, may)) or "any" for may in self.sizes)
        got = " and ".join(f"({', '.join(str(size or 'any') for size in shape)})" for shape in shapes) or "none"
        raise ModelError(
            f"model {self.model} is none that {self.what}: its outputs are {got}, where one of ({wanted}) was expected"
        )


@dataclass(frozen=True, slots=True)
class NameOutputs:
    """Names for the outputs, in their order, that say what they are."""

    names: tuple[str, ...]

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`."""
        if len(graph.output) != len(self.names):
            raise UnexpectedGraph(f"it has {len(graph.output)} outputs, not {len(self.names)}")
        taken = {name for node in graph.node for name in node.output} & set(self.names)
        if taken:
            raise UnexpectedGraph(f"it has other tensors named {', '.join(sorted(taken))}")
        for value, name in zip(graph.output, self.names, strict=True):
            graph.node.append(helper.make_node("Identity", [value.name], [name]))
            value.name = name

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`."""
        return outputs


@dataclass(frozen=True, slots=True)
class AnyBatch:
    """Batches of any size through a graph that was exported for one item, where only its shapes say so."""

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`."""
        constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = node.attribute[0].t
        targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
        if not targets <= set(constants):
            raise UnexpectedGraph("it computes the shapes of its tensors")
        for name in targets:
            shape = numpy_helper.to_array(constants[name]).copy()
            if not shape.size or shape[0] != 1:
                raise UnexpectedGraph(f"it makes tensors of the shape {shape.tolist()}, not of one item")
            shape[0] = 0  # ONNX's sign for as many as come in
            constants[name].CopyFrom(numpy_helper.from_array(shape, constants[name].name))
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        del graph.value_info[:]

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`."""
        return outputs


@dataclass(frozen=True, slots=True)
class FixInputs:
    """Inputs that are the same for every item become part of the graph."""

    values: tuple[tuple[str, tuple[float, ...]], ...]
    """Names and what they are, float32 (1, length)."""

    def graft(self, graph: onnx.GraphProto) -> None:
        """See `Adaptation.graft`."""
        inputs = {value.name: value for value in graph.input}
        for name, value in self.values:
            if name not in inputs or inputs[name].type.tensor_type.elem_type != TensorProto.FLOAT:
                raise UnexpectedGraph(f"it has no input {name} of float32")
            graph.input.remove(inputs[name])
            graph.initializer.append(numpy_helper.from_array(np.array([value], np.float32), name))

    def prepare(self, batch: Array) -> Array:
        """See `Adaptation.prepare`."""
        return batch

    def finish(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See `Adaptation.finish`."""
        return outputs


def _uses(graph: onnx.GraphProto, name: str) -> int:
    return sum(list(node.input).count(name) for node in graph.node)
