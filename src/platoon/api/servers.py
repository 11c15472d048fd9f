"""All that answers callers of one process, over HTTP and gRPC, put together once for every command that serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platoon.api.access import Access
from platoon.api.background import documents_in_background
from platoon.api.bodies import WaitingBytes
from platoon.api.health import Part
from platoon.api.paddlex.gateway import pipeline_for
from platoon.api.serve import HttpServer
from platoon.documents.layout import LayoutModel
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.service import OcrService
from platoon.settings import Settings
from platoon.streams.site import Site
from platoon.tracing import tracing_for

if TYPE_CHECKING:
    from platoon.api.kserve.rpc import GrpcServer


@dataclass(frozen=True, slots=True)
class Servers:
    """What answers callers."""

    http: HttpServer
    grpc: GrpcServer | None
    """The models over gRPC, if the settings give that a port."""

    def drain(self) -> None:
        """Let all begin to end, so that leaving them waits for the slowest, and not for one after the other."""
        self.http.drain()
        if self.grpc is not None:
            self.grpc.drain()


@contextmanager
def servers(
    engine: TextEngine,
    settings: Settings,
    metrics: Metrics,
    *,
    site: Site | None = None,
    event_file: Part | None = None,
) -> Iterator[Servers]:
    """Answer callers, as long as it lasts.

    Args:
        engine: reads what they send, and stays its owner's.
        site: whose cameras and events they see; none: they only have pictures and documents read.
        event_file: says why it cannot be written, if there is one.

    Raises:
        PlatoonError: a port is taken, or the settings ask for what is not there.
    """
    with ExitStack() as stack:
        tracing = stack.enter_context(tracing_for(settings))
        service = stack.enter_context(closing(OcrService(engine, settings.service, metrics, tracing)))
        layout = stack.enter_context(
            closing(LayoutModel(settings.engine, settings.cache, metrics, engine.gates, path=settings.documents.layout))
        )
        access = Access(settings.service, settings.store.path)
        bodies = WaitingBytes(settings.service.max_waiting_bytes)
        http = HttpServer(
            site,
            settings,
            service=service,
            job_service=stack.enter_context(documents_in_background(service, settings, layout)),
            pipeline=stack.enter_context(pipeline_for(service, settings, layout)),
            access=access,
            event_file=event_file,
            bodies=bodies,
        )
        stack.enter_context(http)
        grpc = None
        if settings.api.grpc_port is not None:
            grpc = stack.enter_context(_grpc(service, settings, settings.api.grpc_port, access, bodies))
        yield Servers(http, grpc)


def _grpc(service: OcrService, settings: Settings, port: int, access: Access, bodies: WaitingBytes) -> GrpcServer:
    # Needs an extra, which who opens no such port need not have.
    from platoon.api.kserve.models import ServedModels
    from platoon.api.kserve.rpc import GrpcServer

    return GrpcServer(
        ServedModels(service.engine, settings.engine, not_ready=service.not_ready),
        settings.service,
        service.metrics,
        service.tracing,
        access=access,
        bodies=bodies,
        limits=settings.api,
        host=settings.api.host,
        port=port,
    )
