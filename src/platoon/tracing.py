"""Traces of requests for OpenTelemetry: what each one waited for, and in which company it was executed.

Off unless the settings say otherwise: then nothing of this imports OpenTelemetry, and a request costs a few empty
calls. Where traces go, and how many, is for OpenTelemetry's own variables to say (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, ...). The engine knows nothing of it: its replies know for how long and with whom they ran.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from platoon.engine.batcher import Reply
from platoon.engine.request_context import Trace
from platoon.errors import MissingExtra
from platoon.logs import REQUEST
from platoon.redaction import redact
from platoon.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

_GRACE_S: Final = 3.0
_NOTHING: Final = nullcontext()


class Tracing:
    """Traces of the requests of one process; here, none. `close` it, or use it as a context manager."""

    def request(self, scope: Mapping[str, Any]) -> AbstractContextManager[object]:
        """What happens inside is a request, with this ASGI scope; it joins the trace that its headers name."""
        del scope
        return _NOTHING

    def answered(self, status: int, **facts: str | int) -> None:
        """The answer to the request that is being worked on, and what else is known of it."""

    def call(self, method: str, metadata: Mapping[str, str]) -> AbstractContextManager[object]:
        """What happens inside is a call over gRPC of a method, as `package.Service/Method`; it joins the trace that the
        metadata names.
        """
        del method, metadata
        return _NOTHING

    def returned(self, code: str, *, failed: bool, **facts: str | int) -> None:
        """How the call over gRPC ended that is being worked on, in gRPC's word, and whether that is our failure."""

    def work(self) -> Trace:
        """The stages of the request that is being worked on."""
        return _UNRECORDED

    def close(self) -> None:
        """Send what has not been sent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_UNRECORDED: Final = Trace()


def tracing_for(settings: Settings) -> Tracing:
    """What the settings ask for.

    Raises:
        MissingExtra: traces are wanted, and OpenTelemetry is not installed.
    """
    return OpenTelemetry() if settings.tracing else Tracing()


class OpenTelemetry(Tracing):
    """Sends a trace of each request; one whose caller or sampler wants none costs as little as without tracing.

    Args:
        processor: what is done with spans; by default they go to a collector, in batches, by OTLP over HTTP.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtra.of("tracing", "otel") from error
        own = {"service.name": "platoon", "service.version": version("platoon")}
        asked = OTELResourceDetector().detect().attributes
        self._provider = TracerProvider(resource=Resource.create({**own, **asked}), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("platoon", version("platoon"))
        self._trace, self._extract = trace, propagate.extract

    def request(self, scope: Mapping[str, Any]) -> AbstractContextManager[object]:
        """See `Tracing.request`; span and attributes are named as OpenTelemetry's conventions for HTTP have it."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, route = scope["method"], getattr(scope.get("route"), "path", "")
        return self._tracer.start_as_current_span(
            f"{method} {route}".rstrip(),
            context=self._extract(headers),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "http.route": route,
                "url.path": redact(scope["path"]),
                "platoon.request_id": REQUEST.get(),
            },
        )

    def answered(self, status: int, **facts: str | int) -> None:
        """See `Tracing.answered`."""
        self._ended("http.response.status_code", status, failed=status >= 500, facts=facts)

    def call(self, method: str, metadata: Mapping[str, str]) -> AbstractContextManager[object]:
        """See `Tracing.call`; span and attributes are named as OpenTelemetry's conventions for RPC have it."""
        return self._tracer.start_as_current_span(
            method,
            context=self._extract(metadata),
            kind=self._trace.SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
        )

    def returned(self, code: str, *, failed: bool, **facts: str | int) -> None:
        """See `Tracing.returned`."""
        self._ended("rpc.response.status_code", code, failed=failed, facts=facts)

    def _ended(self, attribute: str, status: str | int, *, failed: bool, facts: Mapping[str, str | int]) -> None:
        span = self._trace.get_current_span()
        span.set_attribute(attribute, status)
        span.set_attributes({f"platoon.{name}": value for name, value in facts.items()})
        if failed:
            span.set_attribute("error.type", str(status))
            span.set_status(self._trace.StatusCode.ERROR)

    def work(self) -> Trace:
        """See `Tracing.work`."""
        span = self._trace.get_current_span()
        return _Work(self._tracer, self._trace.set_span_in_context(span)) if span.is_recording() else _UNRECORDED

    def close(self) -> None:
        """See `Tracing.close`; spans that no collector takes within a few seconds are lost."""
        # On its own, the SDK would try for half a minute.
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(_GRACE_S)


class _Work(Trace):
    """Stages as spans of `tracer` inside `request`."""

    def __init__(self, tracer: Tracer, request: Context) -> None:
        self._tracer, self._request = tracer, request
        self._followed: dict[str, list[_Followed]] = {}

    def stage(self, name: str, items: int) -> AbstractContextManager[object]:
        return self._tracer.start_as_current_span(name, self._request, attributes={"platoon.items": items})

    def follow(self, stage: str, replies: Sequence[Reply[Any]]) -> None:
        if replies:
            self._followed.setdefault(stage, []).extend(map(_Followed, replies))

    def record(self) -> None:
        for stage, followed in self._followed.items():
            self._record_stage(stage, followed)
        self._followed = {}

    def _record_stage(self, stage: str, followed: Sequence[_Followed]) -> None:
        """One span for the stage, and in it one for each execution: what these leave free was spent waiting."""
        from opentelemetry.trace import StatusCode, set_span_in_context

        together: dict[int, list[_Followed]] = {}
        for one in followed:
            if one.reply.execution is not None:
                together.setdefault(id(one.reply.execution), []).append(one)
        span = self._tracer.start_span(
            stage, self._request, attributes={"platoon.items": len(followed)}, start_time=followed[0].since_ns
        )
        inside = set_span_in_context(span, self._request)
        longest_ns = 0
        for items in together.values():
            execution, ended_ns = items[0].reply.execution, items[0].answered_ns
            assert execution is not None
            started_ns = ended_ns - int(execution.seconds * 1e9)
            longest_ns = max(longest_ns, started_ns - items[0].since_ns)
            facts = {"platoon.items": len(items), "platoon.batch_size": execution.items}
            self._tracer.start_span("execute", inside, attributes=facts, start_time=started_ns).end(ended_ns)
        span.set_attribute("platoon.queue_wait_s", longest_ns / 1e9)
        if (executed := sum(map(len, together.values()))) < len(followed):
            span.set_status(StatusCode.ERROR, f"{executed} of {len(followed)} were executed")
        span.end(max(one.answered_ns for one in followed))


class _Followed:
    """A reply that is waited for from now on; times are nanoseconds since 1970, as OpenTelemetry has them."""

    def __init__(self, reply: Reply[Any]) -> None:
        self.reply, self.since_ns = reply, time.time_ns()
        self._answered_ns = 0
        reply.add_done_callback(self._note)

    @property
    def answered_ns(self) -> int:
        """When the reply came; now, if it has not, or if its callbacks hear of it later than who waited for it."""
        return self._answered_ns or time.time_ns()

    def _note(self, _: object) -> None:
        self._answered_ns = time.time_ns()
