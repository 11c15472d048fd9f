"""Hands messages of a running site to whoever listens."""

import logging
import threading
from collections.abc import Callable

from platoon.streams.site import Message

_log = logging.getLogger(__name__)


class Hub:
    """Listeners of one camera or of all; see `site.Site.subscribe`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[object, tuple[str | None, Callable[[Message], None]]] = {}

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        """Call `listener` with every message until the returned function is called."""
        token = object()
        with self._lock:
            self._listeners[token] = (camera, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(token, None)

        return unsubscribe

    def wanted(self, camera: str) -> bool:
        """Whether anybody listens to this camera, so that a message need not be made for nobody."""
        with self._lock:
            return any(only in (None, camera) for only, _ in self._listeners.values())

    def publish(self, camera: str, message: Message) -> None:
        """Hand `message` on; a listener that fails is left out, the others get it."""
        with self._lock:
            listeners = [
                (token, listener) for token, (only, listener) in self._listeners.items() if only in (None, camera)
            ]
        for token, listener in listeners:
            try:
                listener(message)
            except Exception:
                _log.exception("a listener failed and is left out")
                with self._lock:
                    self._listeners.pop(token, None)
