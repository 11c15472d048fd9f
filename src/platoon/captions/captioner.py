"""Asks a vision-language model about segments of video, in the form that its server takes.

Which form that is, the server is asked once, with a video of two small pictures. Servers ignore what they do not know
without a word; one that counts tokens is believed to have seen the video only if it came to some.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from concurrent.futures import Future
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np

from platoon.captions.payload import Clip, Content, Form, jpeg, question
from platoon.engine.chat_server import ChatServer, Said, Server
from platoon.errors import DeadlineExceeded, FailedBehind, InvalidSettings, Overloaded, PlatoonError
from platoon.media.frame import Pixels
from platoon.settings import CaptionSettings

_log = logging.getLogger(__name__)

_SIDE: Final = 64
_PROBE: Final = "What is this?"


class Captioner:
    """Asks the model; safe from any thread; `close` it.

    Raises:
        InvalidSettings: no server is named.
    """

    def __init__(self, settings: CaptionSettings) -> None:
        if settings.url is None:
            raise InvalidSettings(
                "captions.url is not set: name the server that has the model, as http://127.0.0.1:8000"
            )
        self.settings = settings
        self._server = ChatServer(
            Server(
                setting="captions.model",
                url=settings.url,
                model=settings.model,
                key=None if settings.key is None else settings.key.get_secret_value(),
                max_requests=settings.max_requests,
                timeout_s=settings.timeout_s,
                health_timeout_s=settings.health_timeout_s,
            )
        )
        self._probing = threading.Lock()
        self._form = None if settings.payload == "auto" else Form(settings.payload)

    @property
    def model(self) -> str | None:
        """The name of the model; none: it was not asked yet."""
        return self._server.name

    def form(self) -> Form:
        """The form that the server takes; the first call asks it, and waits.

        Raises:
            FailedBehind: it takes none. Overloaded: it is busy. Unavailable, DeadlineExceeded: it does not answer.
        """
        with self._probing:
            if self._form is None:
                self._form = self._probed()
                _log.info("the caption server takes segments as %s", self._form)
            return self._form

    def ask(self, clip: Clip, prompt: str, *, deadline: float) -> Future[Said]:
        """What the model says of a segment.

        Args:
            clip: has what `form` needs.
            deadline: a point of `time.monotonic()`.

        Raises (by the result):
            See `ChatServer.ask`. Overloaded is raised at once: whoever asks leaves all cameras and videos alone then.
        """
        return self._ask(clip.content(self.form(), prompt), self.settings.max_tokens, deadline)

    def not_ready(self) -> list[str]:
        """Why the server cannot be asked; waits as long as a health check may."""
        return self._server.not_ready()

    def close(self) -> None:
        """Take back all questions."""
        self._server.close()

    def _ask(self, content: Content, max_tokens: int, deadline: float, *, attempts: int | None = None) -> Future[Said]:
        options: dict[str, Any] = {"max_tokens": max_tokens}
        return self._server.ask(content, options, deadline=deadline, attempts=attempts, wait_while_busy=False)

    def _probed(self) -> Form:
        deadline = time.monotonic() + self.settings.timeout_s
        without = self._ask([question(_PROBE)], 1, deadline).result()
        pictures = [_square(40), _square(200)]
        clip = Clip(jpegs=[jpeg(picture) for picture in pictures], mp4=_mp4(pictures))
        refusals = []
        for form in Form:
            deadline = time.monotonic() + self.settings.timeout_s
            try:
                seen = self._ask(clip.content(form, _PROBE), 1, deadline, attempts=1).result()
            except (Overloaded, DeadlineExceeded):
                raise
            except PlatoonError as error:
                refusals.append(f"{form}: {error}")
                continue
            if None not in (seen.prompt_tokens, without.prompt_tokens) and seen.prompt_tokens == without.prompt_tokens:
                refusals.append(f"{form}: it ignores it")
                continue
            return form
        raise FailedBehind(502, f"the caption server takes video in no form ({'; '.join(refusals)})")


def _square(level: int) -> Pixels:
    return np.full((_SIDE, _SIDE, 3), level, np.uint8)


def _mp4(pictures: list[Pixels]) -> bytes:
    """A video of one picture a second, which any FFmpeg can make and read."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = _SIDE, _SIDE, "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
