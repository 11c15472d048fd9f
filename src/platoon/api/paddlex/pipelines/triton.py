"""Documents parsed by a Triton that serves `layout-parsing` and `restructure-pages`, as PaddleOCR-VL's deployment does.

Each model takes one BYTES tensor `input` [1, 1], the request as compact JSON, and gives one `output` [1, 1], the answer
with its envelope. What the request holds is for the models to judge: nothing of it is refused here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from platoon.api.paddlex.layout_request import LayoutRequest, Refusals, RestructureRequest
from platoon.engine.triton import CHANNEL
from platoon.errors import DeadlineExceeded, FailedBehind, MissingExtra, Overloaded, PlatoonError, Unavailable
from platoon.ocr.pages import Kind, kind_of
from platoon.ocr.vision_model import VisionModel
from platoon.redaction import redact
from platoon.settings import GatewaySettings

PARSE: Final = "layout-parsing"
RESTRUCTURE: Final = "restructure-pages"
"""The names of the models."""
_RECONNECT_S: Final = 5.0
"""So long a server is tried again that cannot be reached."""
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0


class TritonPipeline:
    """A `Pipeline` over gRPC. What a caller who leaves had asked for is taken back.

    Args:
        settings: with a `triton_url`.
        model: that the server asks, if it is known which; only its health is asked for. It is closed with this.

    Raises:
        MissingExtra: `tritonclient` is not installed.
    """

    def __init__(self, settings: GatewaySettings, model: VisionModel | None = None) -> None:
        try:
            from tritonclient import grpc
        except ImportError as error:
            raise MissingExtra.of("gateway.triton_url", "triton") from error
        assert settings.triton_url is not None
        self._grpc, self._url, self._health_s = grpc, redact(settings.triton_url), settings.health_timeout_s
        self._client = grpc.InferenceServerClient(settings.triton_url, channel_args=CHANNEL)
        self._model = model
        self.cannot: Refusals = {}
        self.cannot_restructure: Refusals = {}

    async def parse(self, asked: LayoutRequest, data: bytes, *, deadline: float) -> dict[str, Any]:
        """See `Pipeline`. The file is sent along: no server fetches what a caller names."""
        kind = asked.fileType if asked.fileType is not None else int(kind_of(data) is not Kind.PDF)
        encoded = await asyncio.to_thread(base64.b64encode, data)
        request = _fields(asked) | {"file": encoded.decode("ascii"), "fileType": kind}
        result = await self._ask(PARSE, request, deadline)
        for page in result.get("layoutParsingResults", ()):
            page.setdefault("markdown", {"text": ""}).setdefault("images", {})  # clients rely on it
        return result

    async def restructure(self, asked: RestructureRequest, *, deadline: float) -> dict[str, Any]:
        """See `Pipeline`."""
        result = await self._ask(RESTRUCTURE, await asyncio.to_thread(_fields, asked), deadline)
        for page in result.get("layoutParsingResults", ()):
            page.setdefault("markdown", {"text": ""}).setdefault("images", {})
        return result

    def not_ready(self) -> Sequence[str]:
        """See `Pipeline`."""
        return [*self._triton_not_ready(), *(self._model.not_ready() if self._model is not None else ())]

    def close(self) -> None:
        """See `Pipeline`."""
        self._client.close()
        if self._model is not None:
            self._model.close()

    def _triton_not_ready(self) -> Sequence[str]:
        from tritonclient.utils import InferenceServerException

        try:
            if not self._client.is_server_ready(client_timeout=self._health_s):
                return [f"inference backend: Triton at {self._url} is not ready"]
            missing = [
                model
                for model in (PARSE, RESTRUCTURE)
                if not self._client.is_model_ready(model, client_timeout=self._health_s)
            ]
        except InferenceServerException as error:
            if _code(error) == "DEADLINE_EXCEEDED":
                return [f"inference backend: no answer from Triton at {self._url} within {self._health_s:g} s"]
            return [f"inference backend: Triton at {self._url} cannot be reached"]
        return [f"model {model}: not ready on Triton at {self._url}" for model in missing]

    async def _ask(self, model: str, request: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """The `result` of an answer. Raises FailedBehind for another."""
        body = await asyncio.to_thread(_compact, request)
        reply = await self._infer(model, body, deadline)
        try:
            answer = await asyncio.to_thread(json.loads, reply)
            code = int(answer["errorCode"])
            if code:
                raise FailedBehind(code, str(answer.get("errorMsg", "no reason given")))
            result: dict[str, Any] = answer["result"]
            if not isinstance(result, dict):
                raise TypeError
        except (ValueError, LookupError, TypeError) as error:
            raise FailedBehind(500, f"the answer of the model {model} is none: {reply[:200]!r}") from error
        return result

    async def _infer(self, model: str, body: bytes, deadline: float) -> bytes:
        """One inference, begun anew while the server cannot be reached."""
        from tritonclient.utils import InferenceServerException

        wait_s, reconnect_until = _FIRST_WAIT_S, time.monotonic() + _RECONNECT_S
        while True:
            try:
                return await self._once(model, body, deadline)
            except InferenceServerException as error:
                late = time.monotonic() + wait_s >= min(deadline, reconnect_until)
                if _code(error) != "UNAVAILABLE" or late:
                    raise self._explained(model, error) from error
            await asyncio.sleep(wait_s * random.uniform(0.5, 1))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _once(self, model: str, body: bytes, deadline: float) -> bytes:
        tensor = self._grpc.InferInput("input", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[body]], dtype=np.object_))
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = loop.create_future()

        def resolve(result: Any, error: Exception | None) -> None:
            if not answered.done():
                answered.set_result(result) if error is None else answered.set_exception(error)

        def hear(result: Any, error: Exception | None) -> None:
            with suppress(RuntimeError):  # the loop has ended, and whoever waited in it
                loop.call_soon_threadsafe(resolve, result, error)

        under_way = self._client.async_infer(
            model,
            [tensor],
            hear,
            outputs=[self._grpc.InferRequestedOutput("output")],
            client_timeout=max(deadline - time.monotonic(), 0.001),
        )
        try:
            result = await answered
        except asyncio.CancelledError:
            under_way.cancel()
            raise
        reply: bytes = result.as_numpy("output").reshape(-1)[0]
        return reply

    def _explained(self, model: str, error: Exception) -> PlatoonError:
        code, what = _code(error), f"the model {model} on Triton at {self._url}"
        if code == "UNAVAILABLE":
            return Unavailable(f"{what} cannot be reached")
        if code == "DEADLINE_EXCEEDED":
            return DeadlineExceeded(f"{what} did not answer in time")
        if code == "RESOURCE_EXHAUSTED":
            return Overloaded(f"{what} is busy")
        return FailedBehind(500, f"{what} failed: {error}")


def _fields(asked: BaseModel) -> dict[str, Any]:
    """What the caller set, under the names he used."""
    return asked.model_dump(exclude_unset=True, exclude={"file", "fileType"})


def _compact(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def _code(error: Any) -> str:
    return str(error.status() or "").removeprefix("StatusCode.")
