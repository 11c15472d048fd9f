"""The chart of `streams` for people: bars of the three ways side by side, as SVG that fits light and dark pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.report import done

COLOURS = {"shared": "#1a7f5a", "isolated": "#e0a030", "usual": "#9aa0a8"}
NAMES = {"shared": "platoon run", "isolated": "platoon run --isolated", "usual": "as usually built"}
PANEL_PX, HEIGHT_PX, TOP_PX, FLOOR_PX, MARGIN_PX = 440, 290, 84, 250, 20
BAR_PX, GAP_PX = 34, 4

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px } .value { font-size: 12px; text-anchor: middle }
.group { text-anchor: middle } line { stroke: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""


def draw(measurements: Sequence[Mapping[str, Any]]) -> str:
    """What the ways analyse, and the CPU and memory that they need, by number of cameras; over RTSP, where that was
    measured. Ways that failed are left out.
    """
    measurements = done(measurements)
    source = "rtsp" if any(one["input"] == "rtsp" for one in measurements) else "files"
    shown = [one for one in measurements if one["input"] == source]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * PANEL_PX} {HEIGHT_PX}"><style>{STYLE}</style>']
    x = MARGIN_PX
    for way, colour in COLOURS.items():
        parts.append(f'<rect x="{x}" y="14" width="13" height="13" fill="{colour}"/>')
        parts.append(label(x + 19, 25, NAMES[way]))
        x += 50 + 8 * len(NAMES[way])
    parts += _panel(0, "Frames analysed per second", shown, lambda one: one["frames_per_s"], "{:.2g}")
    parts += _panel(PANEL_PX, "Frames analysed per CPU-second", shown, lambda one: one["frames_per_cpu_s"], "{:.2g}")
    parts += _panel(2 * PANEL_PX, "Memory of all processes, GB", shown, _memory_gb, "{:.2g}")
    return "\n".join([*parts, "</svg>", ""])


def _memory_gb(one: Mapping[str, Any]) -> float:
    return float(one["pss_bytes"] or one["rss_bytes"]) / 1e9


def _panel(
    left: float,
    title: str,
    shown: Sequence[Mapping[str, Any]],
    value: Callable[[Mapping[str, Any]], float],
    form: str,
) -> list[str]:
    """A title and a group of bars for each number of cameras."""
    counts = list(dict.fromkeys(one["cameras"] for one in shown))
    highest = max((value(one) for one in shown), default=0.0)
    group_px = (PANEL_PX - 2 * MARGIN_PX) / max(1, len(counts))
    parts = [label(left + MARGIN_PX, 58, title, "title")]
    for i, n in enumerate(counts):
        bars = [one for one in shown if one["cameras"] == n]
        middle = left + MARGIN_PX + (i + 0.5) * group_px
        x = middle - (len(bars) * (BAR_PX + GAP_PX) - GAP_PX) / 2
        for one in bars:
            height = value(one) / highest * (FLOOR_PX - TOP_PX)
            box = f'x="{x:.1f}" y="{FLOOR_PX - height:.1f}" width="{BAR_PX}" height="{height:.1f}"'
            parts.append(f'<rect {box} fill="{COLOURS[one["way"]]}"/>')
            parts.append(label(x + BAR_PX / 2, FLOOR_PX - height - 5, form.format(value(one)), "value"))
            x += BAR_PX + GAP_PX
        parts.append(label(middle, FLOOR_PX + 20, f"{n} camera{'s' * (n > 1)}", "group"))
    right = left + PANEL_PX - MARGIN_PX
    parts.append(f'<line x1="{left + MARGIN_PX}" x2="{right}" y1="{FLOOR_PX}" y2="{FLOOR_PX}"/>')
    return parts


def label(x: float, y: float, text: str, kind: str = "") -> str:
    """Words at a place, in the style of `kind`."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{f" class={chr(34)}{kind}{chr(34)}" * bool(kind)}>{escape(text)}</text>'
