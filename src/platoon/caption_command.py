"""What `platoon caption` does: segments of recordings are captioned in order, and what failed is listed at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Literal

import typer
from rich.progress import TaskID

from platoon.captions.captioner import Captioner
from platoon.captions.recordings import Captioned, RecordingCaptioner
from platoon.captions.wording import as_line, as_object, as_srt, as_vtt
from platoon.errors import InvalidSettings, PlatoonError
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.terminal import bars, plain, stderr

Wording = Literal["text", "json", "srt", "vtt"]


def caption_files(videos: Sequence[str], settings: Settings, *, wording: Wording, once: bool) -> None:
    """Print captions of recordings.

    Args:
        once: of the first segment of each only.

    Raises:
        InvalidSettings: no server is named, or subtitles of several videos are wanted.
        typer.Exit: some segments, or videos, could not be captioned.
    """
    if wording in ("srt", "vtt") and len(videos) > 1:
        raise InvalidSettings(f"--{wording} takes one video, and these are {len(videos)}")
    failures: list[str] = []
    with (
        closing(Captioner(settings.captions)) as captioner,
        closing(RecordingCaptioner(captioner, settings.captions, settings.source)) as recordings,
        bars() as progress,
    ):
        captioner.form()  # a server that cannot be asked is no fault of a video
        if wording == "vtt":
            typer.echo("WEBVTT\n")
        for video in videos:
            name = redact(video)
            say = _sayer(wording, name)
            if wording == "text" and len(videos) > 1:
                typer.echo(name)
            task = progress.add_task(plain(name), total=None)

            def on_segment(done: int, count: int, task: TaskID = task) -> None:
                progress.update(task, completed=done, total=count)

            try:
                for caption in recordings.caption(video, once=once, on_segment=on_segment):
                    say(caption)
                    if caption.error is not None:
                        failures.append(f"{name}, segment {caption.number}: {caption.error}")
            except PlatoonError as error:
                failures.append(str(error) if name in str(error) else f"{name}: {error}")
            progress.remove_task(task)
    for failure in failures:
        stderr().print(plain(failure), highlight=False)
    if failures:
        raise typer.Exit(1)


def _sayer(wording: Wording, path: str) -> Callable[[Captioned], None]:
    """What prints a caption. Subtitles have no place for segments that have none."""
    shown = 0

    def say(caption: Captioned) -> None:
        nonlocal shown
        if wording == "json":
            typer.echo(json.dumps(as_object(caption, path), ensure_ascii=False))
        elif wording == "text":
            typer.echo(as_line(caption))
        elif caption.error is None:
            shown += 1
            typer.echo(as_srt(caption, shown) if wording == "srt" else as_vtt(caption))

    return say
