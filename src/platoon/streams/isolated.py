"""One process per camera, under a supervisor that starts again what dies.

The deployment that the shared pipeline replaces, kept for sites that want walls between cameras and as the baseline to
measure against. Each process runs a `SharedSite` of one camera; its messages come over a pipe, calls go the other way.
All write to the same store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as NoReply
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from platoon.errors import InvalidSettings, NotFound, PlatoonError, StoreError
from platoon.media.decoder import takes_nvdec
from platoon.metrics import Metrics
from platoon.plates import open_engine
from platoon.plates.analysis import Analysis
from platoon.plates.grammar import SiteGrammar
from platoon.plates.served import FOR_CALLERS
from platoon.settings import Settings
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams.camera_process import LANES
from platoon.streams.hub import Hub
from platoon.streams.keeper import Keeper
from platoon.streams.manual import Sight, read_sight
from platoon.streams.registry import CameraSpec, changes
from platoon.streams.site import CameraStatus, Message

_log = logging.getLogger(__name__)

CALL_S = 2.0
"""How long a process may take for its figures."""


class IsolatedSite:
    """A supervisor of camera processes; implements `site.Site`. Arguments as of `SharedSite`."""

    def __init__(
        self,
        settings: Settings,
        *,
        recorded: bool = False,
        loop: bool = False,
        callers: bool = False,
        on_event: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> None:
        self._callers = callers
        # What these refuse would end each process instead.
        self._grammar = SiteGrammar(settings.plates)
        takes_nvdec(settings)
        if settings.captions.url is not None and not recorded:
            raise InvalidSettings("captions.url and --isolated: the cameras would not share the server; leave one out")
        self._settings, self._recorded, self._loop, self._on_event = settings, recorded, loop, on_event
        self.events = EventStore(settings.store.path / "events.sqlite", unattended=not recorded)
        self.crops = ObjectStore(settings.store.crops_location, unattended=not recorded)
        self.metrics: Metrics = _MergedMetrics(self)
        self.engine = open_engine(settings, self.metrics)
        """For all who read beside the cameras, whose processes have their own."""
        self._hub = Hub()
        self._emitting = threading.Lock()
        self._specs: list[CameraSpec] = []
        self._keepers: dict[str, Keeper] = {}
        self._starting = threading.Lock()
        """Held by whoever starts processes."""
        self._started = False
        self._stopping = False
        self._start = threading.Thread(target=self._measure_and_start, name="starting", daemon=True)
        self._failure: StoreError | None = None
        """What kept an event from being emitted."""

    def start(self) -> None:
        """Start the processes of all cameras, once what they need is measured."""
        self._start.start()

    def change(self, cameras: Sequence[CameraSpec]) -> None:
        """Make these the cameras of the site; the processes of those that stay the same go on."""
        stop, start = changes(self._specs, cameras)
        for spec in stop:
            self._keepers[spec.id].ask_to_stop()
        stay = {spec.id for spec in cameras}
        for spec in stop:
            self._keepers[spec.id].stop()
            if spec.id not in stay:
                del self._keepers[spec.id]
                self._hub.publish(spec.id, {"type": "removed", "camera": spec.id})
        with self._starting:
            for spec in start:
                keeper = self._keepers[spec.id] = Keeper(
                    spec, self._settings, recorded=self._recorded, loop=self._loop, hear=self._hear
                )
                if self._started:
                    keeper.start()
        self._specs = list(cameras)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether all recorded sources were read to their end. Raises what stopped one, or a listener to events."""
        if self._failure is not None:
            raise self._failure
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._start.join(timeout_s)
        if self._start.is_alive():
            return False
        for keeper in list(self._keepers.values()):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not keeper.join(left):
                return False
            if keeper.failure is not None:
                raise keeper.failure
        return True

    def stop(self) -> None:
        """End all processes; what they had decided is written. Those that hang are killed."""
        with self._starting:
            self._stopping = True
        keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.ask_to_stop()
        for keeper in keepers:
            keeper.stop()
        self.engine.close()
        if self._start.is_alive():
            self._start.join()
        self.events.close()

    def cameras(self) -> list[CameraStatus]:
        """See `Site.cameras`."""
        return [keeper.status() for spec in self._specs if (keeper := self._keepers.get(spec.id)) is not None]

    def not_ready(self) -> list[str]:
        """See `Site.not_ready`."""
        missing = [
            f"camera {camera}: {reason}"
            for camera, keeper in list(self._keepers.items())
            if keeper.spec.enabled
            for reason in keeper.missing
        ]
        return missing + self.engine.not_ready()

    def warnings(self) -> list[str]:
        """See `Site.warnings`. Their spill is one."""
        return list(dict.fromkeys(warning for keeper in list(self._keepers.values()) for warning in keeper.warnings))

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        """See `Site.subscribe`."""
        return self._hub.subscribe(listener, camera)

    def manual_read(self, camera: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """See `Site.manual_read`."""
        began = time.monotonic()
        sight: Sight = self._keeper(camera).call("sight", min(CALL_S, timeout_s))
        left_s = timeout_s - (time.monotonic() - began)
        plates, grammar = self._settings.plates, self._grammar.of(camera)
        return read_sight(sight, camera, self.engine, plates, grammar, timeout_s=left_s)

    def wake(self, camera: str, for_s: float) -> None:
        """See `Site.wake`."""
        self._keeper(camera).call("wake", CALL_S, for_s)

    def preview(self, camera: str, *, width: int = 480, wake: bool = True) -> bytes:
        """See `Site.preview`."""
        picture: bytes = self._keeper(camera).call("preview", CALL_S, width, wake)
        return picture

    def expositions(self) -> list[bytes]:
        """The metrics of every process; where one does not answer in time its last ones, so that no counter falls."""
        asked = [(keeper, keeper.ask("exposition")) for keeper in list(self._keepers.values())]
        deadline = time.monotonic() + CALL_S
        for keeper, reply in asked:
            try:
                keeper.exposition = reply.result(max(0.0, deadline - time.monotonic()))
            except (PlatoonError, NoReply) as error:
                _log.debug("no metrics of camera %s: %s", keeper.spec.id, error)
            finally:
                reply.cancel()
        return [keeper.exposition for keeper, _ in asked]

    def _keeper(self, camera: str) -> Keeper:
        keeper = self._keepers.get(camera)
        if keeper is None:
            raise NotFound(f"no camera {camera!r}")
        return keeper

    def _measure_and_start(self) -> None:
        """The processes find what was measured, and do not disturb each other by measuring all at once."""
        engine = open_engine(self._settings, Metrics(), executions=LANES)
        try:
            analysis = Analysis(engine, self._settings, self.metrics)
            analysis.warm_up()
            analysis.close()
        except Exception as error:  # what runtimes raise shares no base
            _log.debug("nothing is measured beforehand; the processes will say why: %s", error)
        finally:
            engine.close()
        with self._starting:
            if self._stopping:
                return
            self._started = True
            for keeper in list(self._keepers.values()):
                keeper.start()
        if self._callers:
            self.engine.warm_up(FOR_CALLERS)

    def _hear(self, camera: str, message: Message) -> None:
        if message["type"] == "event":
            with self._emitting:
                if self._failure is None:
                    try:
                        self._on_event(message["event"])
                    except StoreError as error:
                        self._failure = error
        self._hub.publish(camera, message)


class _MergedMetrics(Metrics):
    """The sum of all processes' metrics."""

    def __init__(self, site: IsolatedSite) -> None:
        super().__init__()
        self._site = site

    def exposition(self) -> bytes:
        """See `Metrics.exposition`."""
        return merge_expositions([super().exposition(), *self._site.expositions()])


def merge_expositions(texts: Sequence[bytes]) -> bytes:
    """Prometheus texts as one: samples of equal name and labels are added up."""
    heads: dict[str, str] = {}
    sums: dict[str, dict[str, float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            if family.name.endswith("_created"):
                continue
            name = f"{family.name}_total" if family.type == "counter" else family.name
            heads[name] = f"# HELP {name} {family.documentation}\n# TYPE {name} {family.type}\n"
            samples = sums.setdefault(name, {})
            for sample in family.samples:
                labels = ",".join(f"{key}={_quoted(value)}" for key, value in sample.labels.items())
                series = f"{sample.name}{{{labels}}}" if labels else sample.name
                samples[series] = samples.get(series, 0.0) + sample.value
    lines = []
    for name, samples in sums.items():
        lines.append(heads[name])
        lines += [f"{series} {value!r}\n" for series, value in samples.items()]
    return "".join(lines).encode()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
