"""What the figures of `streams` say, as tables with their aims; and what all figures have in common: the machine that
they come from, and the table of their aims.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

PACKAGES = ("platoon", "av", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "rapidocr")

Measured = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """What it was measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, "") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
    }


def aims(measurements: Sequence[Measured], limit: Measured) -> list[dict[str, Any]]:
    """What was reached of what is aimed at, for each input and number of cameras, as far as the ways got there."""
    found = []
    measurements = done(measurements)
    for source, n in dict.fromkeys((one["input"], one["cameras"]) for one in measurements):
        ways = {one["way"]: one for one in measurements if (one["input"], one["cameras"]) == (source, n)}
        for aim, reached, bound in _ratios(ways, limit):
            met = reached >= bound if aim.startswith("frames") else reached <= bound
            found.append({"input": source, "cameras": n, "aim": aim, "reached": reached, "bound": bound, "met": met})
    return found


def done(measurements: Sequence[Measured]) -> list[Measured]:
    """Those of ways that got every camera analysed in time."""
    return [one for one in measurements if "failed" not in one]


def _ratios(ways: Mapping[str, Measured], limit: Measured) -> Iterator[tuple[str, float, float]]:
    """(what, reached, bound): frames should be at least so many, everything else at most so much."""
    if (shared := ways.get("shared")) is None:
        return

    def ratio(name: str, other: Measured) -> float:
        return float(shared[name] / other[name])

    speed, size = "frames_per_cpu_s", "pss_bytes" if shared["pss_bytes"] else "rss_bytes"
    if (usual := ways.get("usual")) is not None:
        yield "frames per CPU-second, shared / usual", ratio(speed, usual), 3.0
        yield "memory, shared / usual", ratio(size, usual), 1 / 8
        yield "converted bytes per frame, shared / usual", ratio("converted_bytes_per_frame", usual), 1 / 30
    yield "whole-frame conversions, shared", shared["whole_frames"], 0
    if (isolated := ways.get("isolated")) is not None:
        yield "frames per CPU-second, shared / isolated", ratio(speed, isolated), 1.0
        yield "memory, shared / isolated", ratio(size, isolated), 1 / 4
    yield "CPU time, shared / decoder + detector alone", 1 / share_of_limit(shared, limit), 1.15
    whole = share_of_limit(shared, limit, read=True)
    yield "CPU time, shared / decoder + detector + recogniser alone", 1 / whole, 1.15


def share_of_limit(measured: Measured, limit: Measured, *, read: bool = False) -> float:
    """Part of the CPU time that decoding all decoded frames and detecting in the analysed ones would take alone.

    Args:
        read: and recognising what Platoon recognised.
    """
    alone_s = limit["detect_s"] + limit["decode_s"] * measured["decoded"] / measured["analysed"]
    if read:
        alone_s += limit["read_s"] * measured["lines_read_per_frame"]
    return float(alone_s * measured["frames_per_cpu_s"])


def write(results: Mapping[str, Any], path: Path) -> None:
    """Keep results as JSON, with as many digits as mean something."""
    digits = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.5g}"))
    path.write_text(json.dumps(digits, indent=1) + "\n", encoding="utf-8")


def reached(found: Iterable[Measured]) -> Table:
    """A line for each aim; a bound above zero is the least that it must be, any other, without its sign, the most."""
    table = Table("what", "aim", "reached", "")
    for one in found:
        sign = "≥" if one["bound"] > 0 else "≤"
        met = "met" if one["met"] else "not"
        table.add_row(one["aim"], f"{sign} {abs(one['bound']):g}", f"{one['reached']:.4g}", met)
    return table


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as tables."""
    facts, limit = results["machine"], results["limit"]
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {results['clips']} clips\n"
        f"alone, in ms of CPU time: decoding a frame {1000 * limit['decode_s']:.1f}, detecting in it"
        f" {1000 * limit['detect_s']:.1f} (batch {limit['detect_batch']}), recognising a line"
        f" {1000 * limit['read_s']:.1f}",
        highlight=False,
    )
    console.print(_measurements(results["measurements"], limit))
    for one in results["measurements"]:
        if "failed" in one:
            console.print(f"{one['input']}, {one['cameras']} cameras, {one['way']}: {one['failed']}", highlight=False)
    if results["aims"]:
        console.print(_aims(results["aims"]))


def _measurements(measurements: Sequence[Measured], limit: Measured) -> Table:
    table = Table(
        caption="memory: peak, sum of PSS (of RSS); limit: decoder and detector alone; event: from sending, p50 / p95"
    )
    for name in ("input", "N", "way"):
        table.add_column(name, justify="right" if name == "N" else "left")
    for name in ("frames/CPU-s", "of limit", "frames/s", "memory MB", "event s", "whole frames", "MB/frame"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in measurements:
        which = (one["input"], str(one["cameras"]), one["way"])
        if "failed" in one:
            table.add_row(*which, "failed", end_section=one["way"] == "usual")
            continue
        table.add_row(
            *which,
            f"{one['frames_per_cpu_s']:.2f}",
            f"{100 * share_of_limit(one, limit):.0f} %",
            f"{one['frames_per_s']:.2f}",
            f"{_mb(one['pss_bytes'])} ({_mb(one['rss_bytes'])})",
            f"{one['event_p50_s']:.2f} / {one['event_p95_s']:.2f}" if one["events"] else "",
            str(one["whole_frames"]),
            f"{one['converted_bytes_per_frame'] / 1e6:.2f}",
            end_section=one["way"] == "usual",
        )
    return table


def _aims(found: Sequence[Measured]) -> Table:
    """A line for each aim, a column for each number of cameras."""
    counts = list(dict.fromkeys(one["cameras"] for one in found))
    table = Table(caption=f"aims are for N = {max(counts)}")
    for name in ("input", "what", "aim"):
        table.add_column(name, justify="right" if name == "aim" else "left")
    for n in counts:
        table.add_column(f"N = {n}", justify="right")
    lines = dict.fromkeys((one["input"], one["aim"], one["bound"]) for one in found)
    for source, aim, bound in lines:
        reached = {one["cameras"]: one for one in found if (one["input"], one["aim"]) == (source, aim)}
        table.add_row(
            source,
            aim,
            f"{'≥' if aim.startswith('frames') else '≤'} {_number(bound)}",
            *(_verdict(reached[n]) if n in reached else "" for n in counts),
        )
    return table


def _verdict(one: Measured) -> str:
    return f"{_number(one['reached'])} {'met' if one['met'] else 'not'}"


def _number(value: float) -> str:
    return f"1/{1 / value:.3g}" if 0 < value < 0.5 else f"{value:.3g}"


def _mb(n_bytes: int | None) -> str:
    return "?" if n_bytes is None else f"{n_bytes / 1e6:.0f}"
