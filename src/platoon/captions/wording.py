"""What captions look like in a terminal and in files."""

from __future__ import annotations

from typing import Any

from platoon.captions.recordings import Captioned


def as_line(caption: Captioned) -> str:
    """`[Segment 0] PTS 0-10 s "..."`, for people."""
    span = f"[Segment {caption.number}] PTS {_short(caption.start_s)}–{_short(caption.end_s)} s"
    return f"{span} failed: {caption.error}" if caption.error is not None else f'{span} "{caption.text}"'


def as_object(caption: Captioned, path: str) -> dict[str, Any]:
    """For programs."""
    return {
        "path": path,
        "segment": caption.number,
        "start": round(caption.start_s, 3),
        "end": round(caption.end_s, 3),
        "text": caption.text,
        "error": caption.error,
        "missing": list(caption.missing),
        "answer_s": round(caption.answer_s, 3),
    }


def as_srt(caption: Captioned, number: int) -> str:
    """A subtitle of SubRip, with a blank line behind it; numbers begin with 1."""
    return f"{number}\n{_clock(caption.start_s, ',')} --> {_clock(caption.end_s, ',')}\n{caption.text}\n"


def as_vtt(caption: Captioned) -> str:
    """A cue of WebVTT, with a blank line behind it."""
    text = caption.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{_clock(caption.start_s, '.')} --> {_clock(caption.end_s, '.')}\n{text}\n"


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"
