"""`/v2/...`: the protocol over HTTP, tensors as JSON or as bytes behind it.

Bodies may be compressed (gzip, deflate); what they unpack to is bounded as they are. Errors are `{"error": "..."}`.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import zlib
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from math import prod
from typing import Any, Final, TypeVar

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from platoon.api.intake import Incoming, Intake, Work, body_of
from platoon.api.json_body import check_json, most_values
from platoon.api.kserve.models import EXTENSIONS, MAX_ITEMS, PLATFORM, VERSION, Inference, ServedModel, ServedModels
from platoon.api.problems import described, headers_for, message_of
from platoon.engine.signature import TensorSpec
from platoon.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    PlatoonError,
    TooLarge,
    Unauthorised,
    Unavailable,
    Unsupported,
)
from platoon.media.frame import Pixels
from platoon.settings import ServiceSettings

_HEADER: Final = "Inference-Header-Content-Length"
_MAX_JSON_BYTES: Final = 8_000_000
"""Of numbers written out, which take many times their size while they are parsed."""
_VALUE_BYTES: Final = 80
"""What a value of JSON takes at most while it is parsed: an empty list does, a small number 22."""
_PACKED_BYTES: Final = 65_536
_UNPACKED_BYTES: Final = 4_194_304
"""At a time."""
_WBITS: Final = {"gzip": 31, "deflate": 15}

Kind = TypeVar("Kind")


def routes(models: ServedModels, intake: Intake, settings: ServiceSettings) -> APIRouter:
    """The protocol over HTTP, but for its health; inference is taken in by `intake`."""
    router = APIRouter(prefix="/v2", tags=["inference protocol v2"], route_class=_Route)

    @router.get("")
    def get_server() -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return {"name": "platoon", "version": version("platoon"), "extensions": EXTENSIONS}

    async def infer(request: Request, model: str, version: str = "") -> Response:
        """Run a model on tensors: JSON, or JSON with bytes behind it as `Inference-Header-Content-Length` says."""
        return await intake.serve(request, _Infer(models, model, version, settings))

    def get_model(model: str, version: str = "") -> dict[str, Any]:
        """The tensors of a model."""
        tensors = models.find(model, version).signature
        return {
            "name": model,
            "versions": [VERSION],
            "platform": PLATFORM,
            "inputs": [_metadata(tensors.input)],
            "outputs": [_metadata(spec) for spec in tensors.outputs],
        }

    def get_config(model: str, version: str = "") -> dict[str, Any]:
        """A model's configuration as Triton words it; its `parameters` hold the digest and the alphabet."""
        return _configuration(models.find(model, version))

    def get_model_ready(model: str, version: str = "") -> Response:
        """200 once the model answers, 503 naming what is missing."""
        models.find(model, version)
        return _readiness(models)

    for prefix in ("/models/{model}", "/models/{model}/versions/{version}"):
        router.get(prefix, responses=_UNKNOWN)(get_model)
        router.get(f"{prefix}/config", responses=_UNKNOWN)(get_config)
        unready = _UNKNOWN | described(Unavailable, form=Refusal)
        router.get(f"{prefix}/ready", response_class=Response, responses=unready)(get_model_ready)
        router.post(f"{prefix}/infer", responses=_REFUSALS, openapi_extra=_REQUEST)(infer)

    @router.api_route("/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    def nothing(rest: str) -> None:
        raise NotFound(f"nothing at /v2/{rest}")

    return router


def health_routes(models: ServedModels) -> APIRouter:
    """The health of the server, for whoever has a key; to be added before the others."""
    router = APIRouter(prefix="/v2/health", tags=["inference protocol v2"], route_class=_Route)

    @router.get("/live", response_class=Response)
    def get_live() -> Response:
        """200 while the process answers."""
        return Response()

    @router.get("/ready", response_class=Response, responses=described(Unavailable, form=Refusal))
    def get_ready() -> Response:
        """200 once the models answer, 503 naming what is missing."""
        return _readiness(models)

    return router


def refuse(error: PlatoonError, _: HTTPConnection) -> Response:
    """A refusal, as the protocol has it."""
    return _refusal(error)


class _Infer:
    """An inference as a `Contract`."""

    name = "kserve"

    def __init__(self, models: ServedModels, model: str, version: str, settings: ServiceSettings) -> None:
        self._models, self._model, self._version, self._settings = models, model, version, settings

    async def take(self, incoming: Incoming) -> Work:
        """See `Contract`."""
        model = self._models.find(self._model, self._version)
        body = await incoming.body()
        headers = incoming.request.headers

        def parse() -> tuple[Inference, _Wishes]:
            coding = headers.get("content-encoding", "")
            unpacked = _unpacked(body, coding, self._settings.max_body_bytes, hold=incoming.hold)
            length = _json_length(unpacked, headers.get(_HEADER))
            incoming.hold(most_values(unpacked[:length]) * _VALUE_BYTES)
            return _parsed(model, unpacked, length, longest_s=self._settings.deadline_s)

        # Checking a large body is work, and the loop has others to serve.
        asked, wishes = await asyncio.to_thread(parse)

        async def work() -> Response:
            outputs = await model.infer(asked)
            return await asyncio.to_thread(_response, model, outputs, wishes)

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract`."""
        del incoming
        return _refusal(error)


class _Route(APIRoute):
    """Answers errors in the protocol's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except PlatoonError as error:
                return _refusal(error)

        return answer


class Refusal(BaseModel):
    """An error, as the protocol has it."""

    error: str


class _Wishes:
    """How a caller wants the answer."""

    def __init__(self, request_id: str, binary: Mapping[str, bool], *, otherwise: bool) -> None:
        self.request_id = request_id
        self._binary, self._otherwise = binary, otherwise

    def binary(self, output: str) -> bool:
        """Whether an output goes as bytes, not as JSON."""
        return self._binary.get(output, self._otherwise)


def _refusal(error: PlatoonError) -> Response:
    return JSONResponse({"error": message_of(error)}, _status(error.status), headers_for(error))


def _status(ours: int) -> int:
    return 400 if ours == InvalidInput.status else ours  # the protocol knows no 422


def _readiness(models: ServedModels) -> Response:
    if missing := models.not_ready():
        raise Unavailable(f"not ready: {'; '.join(missing)}")
    return Response()


def _metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _configuration(model: ServedModel) -> dict[str, Any]:
    def described(spec: TensorSpec) -> dict[str, Any]:
        return {"name": spec.name, "data_type": f"TYPE_{spec.datatype}", "dims": spec.shape[1:]}

    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": MAX_ITEMS,
        "input": [described(model.signature.input)],
        "output": [described(spec) for spec in model.signature.outputs],
        "dynamic_batching": {},
        "parameters": {key: {"string_value": value} for key, value in model.parameters.items()},
    }


def _unpacked(body: bytes, coding: str, limit: int, *, hold: Callable[[int], None]) -> bytes:
    """The body without its Content-Encoding; `hold` is called with each part that is unpacked, and may refuse it."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _WBITS:
        raise Unsupported(f"Content-Encoding is {coding}; this takes {', '.join(_WBITS)}")
    unpacker = zlib.decompressobj(_WBITS[coding])
    whole = io.BytesIO()  # pieces that are joined would take twice the memory
    try:
        for start in range(0, len(body), _PACKED_BYTES):
            part, left = b"", body[start : start + _PACKED_BYTES]
            while left or len(part) == _UNPACKED_BYTES:
                part = unpacker.decompress(left, _UNPACKED_BYTES)
                left = unpacker.unconsumed_tail
                if whole.tell() + len(part) > limit:
                    raise TooLarge(f"the body unpacks to more than {limit} bytes")
                hold(len(part))
                whole.write(part)
            if unpacker.eof:
                break
    except zlib.error as error:
        raise InvalidInput(f"the body is not {coding}: {error}") from error
    if not unpacker.eof or unpacker.unused_data or start + _PACKED_BYTES < len(body):
        raise InvalidInput(f"the body's {coding} data are cut short, or something follows them")
    return whole.getvalue()


def _json_length(body: bytes, declared: str | None) -> int:
    """Of how many bytes of a body are JSON; tensors as bytes are behind them. Raises InvalidInput, TooLarge."""
    length = len(body)
    if declared is not None:
        if not re.fullmatch("[0-9]{1,18}", declared) or not 0 < int(declared) <= len(body):
            raise InvalidInput(f"{_HEADER} is {declared[:40]!r}; the body has {len(body)} bytes")
        length = int(declared)
    if length > _MAX_JSON_BYTES:
        raise TooLarge(f"{length} bytes of JSON are more than {_MAX_JSON_BYTES}; send tensors as binary data")
    return length


def _parsed(model: ServedModel, body: bytes, length: int, *, longest_s: float) -> tuple[Inference, _Wishes]:
    """What a body asks of `model`, of which so many bytes are JSON."""
    head = body[:length]
    check_json(head, max_values=_MAX_JSON_BYTES)
    try:
        tree = json.loads(head.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the request is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise InvalidInput("the request is not a JSON object")
    parameters = _field(tree, "parameters", dict, {})
    as_bytes = _field(parameters, "binary_data_output", bool, False)
    binary: dict[str, bool] = {}
    for output in _field(tree, "outputs", list, []):
        name, wanted = _field(output, "name", str), _field(output, "parameters", dict, {})
        _refuse_extensions(name, wanted)
        binary[name] = _field(wanted, "binary_data", bool, as_bytes)
    inputs = _field(tree, "inputs", list)
    if len(inputs) != 1:
        raise InvalidInput(f"there are {len(inputs)} inputs; {model.name} takes one")
    pixels = _pixels(model, inputs[0], memoryview(body)[length:])
    wishes = _Wishes(_field(tree, "id", str, ""), binary, otherwise=as_bytes)
    return model.request(pixels, list(binary), parameters, longest_s=longest_s), wishes


def _pixels(model: ServedModel, entry: Any, behind: memoryview) -> Pixels:
    """The input that `entry` declares, from its own JSON or from the bytes behind the request."""
    name, declared = _field(entry, "name", str), _field(entry, "shape", list)
    parameters = _field(entry, "parameters", dict, {})
    _refuse_extensions(name, parameters)
    if not all(type(length) is int for length in declared):
        raise InvalidInput(f"the shape of input {name!r} is not a list of whole numbers")
    shape = model.check_input(name, _field(entry, "datatype", str), declared)
    if "binary_data_size" in parameters:
        size = _field(parameters, "binary_data_size", int)
        if not size == len(behind) == prod(shape):
            raise InvalidInput(
                f"input {name!r}: shape {list(shape)} is {prod(shape)} bytes, binary_data_size {size}, "
                f"and {len(behind)} follow the request"
            )
        return np.frombuffer(behind, np.uint8).reshape(shape)
    if len(behind):
        raise InvalidInput(f"{len(behind)} bytes follow the request, but input {name!r} has no binary_data_size")
    try:
        numbers = np.array(_field(entry, "data", list))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"the data of input {name!r} are no tensor: {error}") from error
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() > 255:
        raise InvalidInput(f"the data of input {name!r} are not all whole numbers from 0 to 255")
    if numbers.size != prod(shape):
        raise InvalidInput(f"input {name!r} has {numbers.size} values; shape {list(shape)} has {prod(shape)}")
    return numbers.astype(np.uint8).reshape(shape)


def _response(model: ServedModel, outputs: Mapping[str, NDArray[Any]], wishes: _Wishes) -> Response:
    entries: list[dict[str, Any]] = []
    behind: list[bytes] = []
    datatypes = {spec.name: spec.datatype for spec in model.signature.outputs}
    for name, values in outputs.items():
        entry: dict[str, Any] = {"name": name, "datatype": datatypes[name], "shape": values.shape}
        if wishes.binary(name):
            behind.append(values.tobytes())
            entry["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            entry["data"] = values.ravel().tolist()
        entries.append(entry)
    tree: dict[str, Any] = {"model_name": model.name, "model_version": VERSION, "outputs": entries}
    if wishes.request_id:
        tree["id"] = wishes.request_id
    header = json.dumps(tree, separators=(",", ":")).encode()
    if not behind:
        return Response(header, media_type="application/json")
    return Response(
        b"".join([header, *behind]),
        headers={_HEADER: str(len(header))},
        media_type="application/octet-stream",
    )


def _refuse_extensions(name: str, parameters: Mapping[str, Any]) -> None:
    if asked := parameters.keys() & {"classification", "shared_memory_region"}:
        raise InvalidInput(f"tensor {name!r}: {', '.join(sorted(asked))} cannot be had here")


def _field(tree: Any, name: str, kind: type[Kind], *default: Kind) -> Kind:
    """`tree[name]`, which must be a `kind`; without one the default, or InvalidInput."""
    if not isinstance(tree, dict):
        raise InvalidInput(f"an object with {name!r} is expected, not {_brief(tree)}")
    if name not in tree and default:
        return default[0]
    value = tree.get(name)
    if type(value) is not kind:
        raise InvalidInput(f"{name!r} is {_brief(value)}, not of type {kind.__name__}")
    return value


def _brief(value: Any) -> str:
    """A value of JSON in few words, however large it is."""
    if isinstance(value, list | dict):
        return type(value).__name__
    return json.dumps(value[:100] if isinstance(value, str) else value)[:100]


_UNKNOWN = described(NotFound, form=Refusal)
_REFUSALS = _UNKNOWN | {
    _status(int(status)): refusal
    for status, refusal in described(
        InvalidInput,
        Unauthorised,
        Forbidden,
        TooLarge,
        Unsupported,
        Overloaded,
        Unavailable,
        DeadlineExceeded,
        form=Refusal,
    ).items()
}
_SIZE = {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}}
_BINARY = {"type": "object", "properties": {"binary_data": {"type": "boolean"}}}
_INPUT = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": ["UINT8"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array"},
        "parameters": _SIZE,
    },
    "required": ["name", "datatype", "shape"],
}
_OUTPUT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parameters": _BINARY},
    "required": ["name"],
}
_INFERENCE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _INPUT},
        "outputs": {"type": "array", "items": _OUTPUT},
        "parameters": {
            "type": "object",
            "properties": {
                "priority": {"type": "integer", "minimum": 0},
                "timeout": {"type": "integer", "minimum": 0},
                "binary_data_output": {"type": "boolean"},
            },
        },
    },
    "required": ["inputs"],
}
_BYTES = {"type": "string", "format": "binary"}
_REQUEST = body_of({"application/json": _INFERENCE, "application/octet-stream": _BYTES})
