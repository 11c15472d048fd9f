"""What this machine has and lacks for Platoon: looked at, tried and measured, never guessed.

`examine` brings its findings one by one, as trying takes seconds. How they are shown is left to the command line.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from platoon.documents.layout import NAME as LAYOUT
from platoon.documents.layout import LayoutModel, layout_model
from platoon.engine.executor import Shape
from platoon.engine.gate import Gates
from platoon.engine.gpu import provided
from platoon.engine.runtime import ModelReport, executions_at_once, open_runtime
from platoon.engine.surgery import Graph
from platoon.engine.tuning import Tuning, processor
from platoon.errors import MissingExtra, ModelError, PlatoonError
from platoon.media.decoder import missing_for_nvdec
from platoon.media.gstreamer.pipeline import require
from platoon.media.openers import PIPELINES
from platoon.metrics import Metrics
from platoon.ocr.detection import STRIDE
from platoon.ocr.recognition import HEIGHT, MIN_WIDTH
from platoon.ocr.served import TEXT_DETECTION, TEXT_RECOGNITION
from platoon.plates import open_detector, open_engine
from platoon.plates.served import PURPOSES, served
from platoon.settings import EngineSettings, Settings
from platoon.store.events import EventStore

PACKAGES = (
    "platoon",
    "openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "paddlepaddle",
    "paddlepaddle-gpu",
    "onnx",
    "numpy",
    "opencv-python-headless",
    "av",
)
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
"""Of x86, as Linux names them, that speed up models."""
_LINE = (1, HEIGHT, MIN_WIDTH, 3)
LEAST_FREE_BYTES = 500_000_000


class Verdict(StrEnum):
    """What a finding means."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing that was asked for is missing."""
    FAULT = "fault"
    """Platoon cannot work as it is set up."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    subject: str
    text: str
    verdict: Verdict = Verdict.GOOD


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything, area by area."""
    for area, findings in (
        ("versions", _versions),
        ("processor", _processor),
        ("runtimes", _runtimes),
        ("decoders", _decoders),
        ("models", _models),
        ("choices", _choices),
        ("disk", _disk),
    ):
        for subject, text, verdict in findings(settings):
            yield Finding(area, subject, text, verdict)


Found = Iterator[tuple[str, str, Verdict]]


def _versions(_: Settings) -> Found:
    yield "python", f"{platform.python_version()} on {platform.platform()}", Verdict.GOOD
    for package in PACKAGES:
        try:
            yield package, version(package), Verdict.GOOD
        except PackageNotFoundError:
            continue


def _processor(_: Settings) -> Found:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "name", processor(), Verdict.GOOD
    yield "cores", f"{usable} usable of {os.cpu_count()}", Verdict.GOOD
    flags = set(_first_value("/proc/cpuinfo", "flags").split())
    if flags:
        fast = [name for name in INSTRUCTIONS if name in flags]
        verdict = Verdict.GOOD if "bf16" in " ".join(fast) else Verdict.NOTE
        slower = "" if verdict is Verdict.GOOD else "; no bfloat16, so finding text takes nearly twice as long"
        yield "instructions", f"{', '.join(fast) or 'none that speed up models'}{slower}", verdict
    if memory := _first_value("/proc/meminfo", "MemTotal").split():
        yield "memory", _size(int(memory[0]) * 1024), Verdict.GOOD


def _runtimes(settings: Settings) -> Found:
    """Whether each runtime executes a model here; why not, where it does not."""
    engine, graph = settings.engine, served("plate-recognition")[0]
    for name in ("openvino", "onnxruntime", "cuda", "tensorrt", "triton"):
        asked = name == engine.runtime
        if name == "tensorrt" and provided("tensorrt") and not asked:
            yield name, "there; not tried, as building its engines takes minutes", Verdict.NOTE
        elif name == "triton" and not asked:
            client = "installed" if find_spec("tritonclient") else "not installed: pip install 'platoon[triton]'"
            yield name, f"not asked for; its client is {client}", Verdict.NOTE
        else:
            verdict, text = _tried(graph, engine.model_copy(update={"runtime": name}), settings.cache, _LINE)
            yield name, text, Verdict.FAULT if asked and verdict is not Verdict.GOOD else verdict
    if engine.runtime == "paddle":
        yield from _paddle(settings)
    else:
        installed = "installed" if find_spec("paddle") else "not installed: pip install 'platoon[paddle]'"
        yield "paddle", f"not asked for; PaddlePaddle is {installed}", Verdict.NOTE


def _paddle(settings: Settings) -> Found:
    """Whether Paddle executes the models that are in its form, or what the first that it does not execute lacks."""
    verdict, text = Verdict.NOTE, "executes no model, as none is in its form: name the folder of one"
    for name, shape in ((TEXT_DETECTION, (1, 2 * STRIDE, MIN_WIDTH, 3)), (TEXT_RECOGNITION, _LINE)):
        try:
            graph, _ = served(name, settings.engine)
        except PlatoonError as error:
            yield "paddle", str(error), Verdict.FAULT
            return
        if graph.model.parameters is not None:
            verdict, text = _tried(graph, settings.engine, settings.cache, shape)
            if verdict is not Verdict.GOOD:
                yield "paddle", text, Verdict.FAULT
                return
    yield "paddle", text, verdict


def _tried(graph: Graph, settings: EngineSettings, cache: Path, shape: Shape) -> tuple[Verdict, str]:
    """What became of executing a graph."""
    try:
        runtime = open_runtime(graph, settings, Tuning(cache), example=shape)
        runtime(np.zeros(shape, np.uint8))
        runtime.close()
    except Exception as error:  # executing raises errors that share no base
        return Verdict.NOTE, str(error)
    return Verdict.GOOD, f"executes models ({runtime.name})"


def _decoders(settings: Settings) -> Found:
    """Whether what each way to decode cameras needs is here; that of FFmpeg on the CPU always is."""
    missing = missing_for_nvdec(settings.engine.device)
    unmet = Verdict.FAULT if settings.source.decoder == "nvdec" else Verdict.NOTE
    yield "nvdec", missing or "there", unmet if missing else Verdict.GOOD
    for name, elements in PIPELINES.items():
        try:
            require(elements)
            yield name, "there", Verdict.GOOD
        except MissingExtra as error:
            asked = name == settings.source.decoder
            yield name, str(error), Verdict.FAULT if asked else Verdict.NOTE


def _models(settings: Settings) -> Found:
    """How each model runs as it is set up."""
    with open_engine(settings, Metrics()) as engine:
        for name in PURPOSES:
            yield name, *_measured(partial(engine.report, name))
        if isinstance(settings.plates.detector, Path):
            try:
                detector = open_detector(engine, settings)
                width, height = detector.input_size
                text = f"{settings.plates.detector}: takes {width}x{height}, best batch {detector.capacity.batch}"
                yield "plate detector", text, Verdict.GOOD
                detector.close()
            except PlatoonError as error:
                yield "plate detector", str(error), Verdict.FAULT
    yield from _layout(settings)


def _layout(settings: Settings) -> Found:
    """The weights come alone, and cameras need none: they are missing only if the settings name some."""
    try:
        layout_model(settings.documents.layout)
    except ModelError as error:
        yield LAYOUT, str(error), Verdict.NOTE if settings.documents.layout is None else Verdict.FAULT
        return
    gates = Gates.of(executions_at_once(settings.engine))
    layout = LayoutModel(settings.engine, settings.cache, Metrics(), gates, path=settings.documents.layout)
    yield LAYOUT, *_measured(layout.report)
    layout.close()


def _measured(report_of: Callable[[], ModelReport]) -> tuple[str, Verdict]:
    """What a model costs, or why it cannot be executed."""
    try:
        report = report_of()
    except PlatoonError as error:
        return str(error), Verdict.FAULT
    height, width, _ = report.item
    fixed_ms, item_ms = (1000 * seconds for seconds in report.cost)
    text = (
        f"{report.runtime}; best batch {report.best_batch}; {fixed_ms:.1f} ms an execution (τ₀) "
        f"+ {item_ms:.1f} ms an item of {width}x{height} (α)"
    )
    return text, Verdict.GOOD


def _choices(settings: Settings) -> Found:
    for question, choice in sorted(Tuning(settings.cache).remembered().items()):
        yield str(choice), question, Verdict.GOOD


def _disk(settings: Settings) -> Found:
    for subject, folder in (("store", settings.store.path), ("cache", settings.cache)):
        yield subject, *_space(folder, settings.store.max_bytes if subject == "store" else 0)
    file = settings.store.path / "events.sqlite"
    if not file.exists():
        yield "events", f"none yet; they will be in {file}", Verdict.GOOD
        return
    try:
        events = EventStore(file)
        latest = "".join(f", the latest from {event['time']}" for event in events.search(limit=1))
        text = f"{events.count()} plates in {file} ({_size(file.stat().st_size)}){latest}"
        events.close()
        yield "events", text, Verdict.GOOD
    except PlatoonError as error:
        yield "events", str(error), Verdict.FAULT


def _space(folder: Path, wanted_bytes: int) -> tuple[str, Verdict]:
    """What is free where `folder` is or will be, and whether it can be written."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}", Verdict.FAULT
    text = f"{folder}: {_size(free)} free"
    if free < LEAST_FREE_BYTES:
        return f"{text}, too little to work with", Verdict.FAULT
    if free < wanted_bytes:
        return f"{text}, less than store.max_bytes allows crops ({_size(wanted_bytes)})", Verdict.NOTE
    return text, Verdict.GOOD


def _first_value(file: str, key: str) -> str:
    """What the first line `key: value` of a file of Linux says; empty where there is none."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
