"""The gateway's pipeline, as the settings want it: the own models, Triton, or a vision-language model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from platoon.api.background import reader_for
from platoon.api.paddlex.pipelines.own import BlockReader, OwnBlockReader, OwnPipeline
from platoon.api.paddlex.pipelines.pipeline import Pipeline
from platoon.api.paddlex.pipelines.triton import TritonPipeline
from platoon.api.paddlex.pipelines.vlm_block_reader import VlmBlockReader
from platoon.documents.layout import Layout
from platoon.ocr.service import OcrService
from platoon.ocr.vision_model import VisionModel
from platoon.ocr.workers import Workers
from platoon.settings import GatewaySettings, Settings


@contextmanager
def pipeline_for(service: OcrService, settings: Settings, layout: Layout | None) -> Iterator[Pipeline]:
    """Who parses documents, as long as it lasts.

    Args:
        layout: finds the blocks of pages, and stays its owner's; none: all is text.

    Raises:
        MissingExtra: Triton's client is not installed.
    """
    gateway = settings.gateway
    pipeline: Pipeline
    if gateway.triton_url is not None:
        pipeline = TritonPipeline(gateway, VisionModel(gateway) if gateway.vlm_url is not None else None)
    else:
        reader = reader_for(service, layout, max_pages=service.settings.max_pages)
        workers = Workers(gateway.max_inference_requests, "documents", service.tracing)
        max_lines = service.settings.max_lines
        pipeline = OwnPipeline(reader, block_reader_for(gateway), workers, service.slow_budget, max_lines=max_lines)
    try:
        yield pipeline
    finally:
        pipeline.close()


def block_reader_for(settings: GatewaySettings) -> BlockReader:
    """Who says what stands in blocks: the own models, or a vision-language model if there is one."""
    return OwnBlockReader() if settings.vlm_url is None else VlmBlockReader(VisionModel(settings))
