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
from typing import Any, Literal

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
        for aim, reached, sign, bound in _ratios(ways, limit, live=source == "rtsp"):
            met = reached >= bound if sign == "≥" else reached <= bound
            entry = {"aim": aim, "reached": reached, "sign": sign, "bound": bound, "met": met}
            found.append({"input": source, "cameras": n, **entry})
    return found


def done(measurements: Sequence[Measured]) -> list[Measured]:
    """Those of ways that got every camera analysed in time."""
    return [one for one in measurements if "failed" not in one]


def _ratios(
    ways: Mapping[str, Measured], limit: Measured, *, live: bool
) -> Iterator[tuple[str, float, Literal["≥", "≤"], float]]:
    """(what, reached, at least or at most, how much)."""
    if (shared := ways.get("shared")) is None:
        return

    def ratio(name: str, other: Measured) -> float:
        return float(shared[name] / other[name])

    speed, size = "frames_per_cpu_s", "pss_bytes" if shared["pss_bytes"] else "rss_bytes"
    if (isolated := ways.get("isolated")) is not None:
        yield "frames/s, shared / isolated", ratio("frames_per_s", isolated), "≥", 2.0 if live else 1.0
        yield "memory, shared / isolated", ratio(size, isolated), "≤", 1 / 4
    if not live:
        yield (
            "frames/s, shared / alone on all cores",
            shared["frames_per_s"] * alone_s(shared, limit, "every"),
            "≥",
            0.9,
        )
    yield "CPU time, shared / alone", 1 / share_of_limit(shared, limit), "≤", 1.15
    yield "share of the cores that is used, shared", shared["busy"], "≥", 0.9
    yield "frames of the camera with fewest / most, shared", shared["evenness"], "≥", 0.8
    if live and shared["events"]:
        yield "seconds from sending to event, p95, shared", shared["event_p95_s"], "≤", 1.0
    if (usual := ways.get("usual")) is not None:
        yield "frames per CPU-second, shared / usual", ratio(speed, usual), "≥", 3.0
        yield "memory, shared / usual", ratio(size, usual), "≤", 1 / 8
        yield "converted bytes per frame, shared / usual", ratio("converted_bytes_per_frame", usual), "≤", 1 / 30
    yield "whole-frame conversions, shared", shared["whole_frames"], "≤", 0


def share_of_limit(measured: Measured, limit: Measured) -> float:
    """Part of the CPU time that is needed: see `alone_s`."""
    return float(alone_s(measured, limit, "cpu") * measured["frames_per_cpu_s"])


def alone_s(measured: Measured, limit: Measured, which: Literal["cpu", "every"]) -> float:
    """What an analysed frame takes where nothing else is done than to decode it, to detect in it, and to recognise what
    Platoon recognised: CPU time, or the time from one to the next `every` core busy with it.
    """
    suffix = "s" if which == "cpu" else "every_s"
    each = {"decode": 1.0, "detect": 1.0, "read": measured["lines_read_per_frame"]}
    return float(sum(limit[f"{name}_{suffix}"] * count for name, count in each.items()))


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
        f"{facts['cpu']}{', float32' * (results['precision'] == 'float32')}, {facts['cores']} cores,"
        f" {facts['memory_gib']} GiB; {results['clips']} clips\n"
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
        caption="least, most: frames/s of the camera with fewest, most; decoded: frames/s\nbusy: share of what the"
        " cameras' server left of the cores; of limit: CPU time to decode, detect and recognise alone what was analysed"
        "\nmemory: peak, sum of PSS (of RSS); event: from sending, p50 / p95"
    )
    for name in ("input", "N", "way"):
        table.add_column(name, justify="right" if name == "N" else "left")
    for name in ("frames/s", "frames/CPU-s", "of limit", "busy", "least, most", "decoded", "memory MB", "event s"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in measurements:
        which = (one["input"], str(one["cameras"]), one["way"])
        if "failed" in one:
            table.add_row(*which, "failed", end_section=one["way"] == "usual")
            continue
        table.add_row(
            *which,
            f"{one['frames_per_s']:.2f}",
            f"{one['frames_per_cpu_s']:.2f}",
            f"{100 * share_of_limit(one, limit):.0f} %",
            f"{100 * one['busy']:.0f} %",
            f"{one['least_frames_per_s']:.2f}, {one['most_frames_per_s']:.2f}",
            f"{one['decoded'] / one['seconds']:.0f}",
            f"{_mb(one['pss_bytes'])} ({_mb(one['rss_bytes'])})",
            f"{one['event_p50_s']:.2f} / {one['event_p95_s']:.2f}" if one["events"] else "",
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
    lines = dict.fromkeys((one["input"], one["aim"], one["sign"], one["bound"]) for one in found)
    for source, aim, sign, bound in lines:
        reached = {one["cameras"]: one for one in found if (one["input"], one["aim"]) == (source, aim)}
        table.add_row(
            source,
            aim,
            f"{sign} {_number(bound)}",
            *(_verdict(reached[n]) if n in reached else "" for n in counts),
        )
    return table


def _verdict(one: Measured) -> str:
    return f"{_number(one['reached'])} {'met' if one['met'] else 'not'}"


def _number(value: float) -> str:
    return f"1/{1 / value:.3g}" if 0 < value < 0.5 else f"{value:.3g}"


def _mb(n_bytes: int | None) -> str:
    return "?" if n_bytes is None else f"{n_bytes / 1e6:.0f}"
