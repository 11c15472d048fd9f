"""Every metric Platoon publishes, declared once.

Names follow Prometheus: base units, `_total` for counters. `camera` is a bounded label (the registry bounds it);
the text of a plate never is a label. One `Metrics` belongs to one running site; nothing is global.
"""

import threading
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ANSWER_BUCKETS_S = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Purpose(StrEnum):
    """Why pixels were converted to RGB."""

    DETECT = "detect"
    """The detector's scaled input."""
    REGION = "region"
    """A region that is read."""
    PREVIEW = "preview"
    """A small picture for somebody who is looking."""
    PICTURE = "picture"
    """A whole frame at full size: a manual read or an audit picture."""
    HOST = "host"
    """A picture copied from a device to the host: the crop of an event, a preview, a whole frame."""


class PixelMeter:
    """Counts conversions by purpose: how many, and how many RGB bytes they wrote. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = dict.fromkeys(Purpose, 0)
        self._bytes = dict.fromkeys(Purpose, 0)

    def add(self, purpose: Purpose, n_bytes: int) -> None:
        """Count one conversion that wrote `n_bytes`."""
        with self._lock:
            self._count[purpose] += 1
            self._bytes[purpose] += n_bytes

    def counts(self) -> dict[Purpose, tuple[int, int]]:
        """(conversions, bytes) since the start, by purpose."""
        with self._lock:
            return {purpose: (self._count[purpose], self._bytes[purpose]) for purpose in Purpose}


class Metrics:
    """The metrics of one site, in their own registry."""

    def __init__(self, pixels: PixelMeter | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self.pixels = pixels or PixelMeter()
        registry.register(_PixelCollector(self.pixels))
        self.camera_state = Gauge(
            "platoon_camera_state",
            "1 for the state a camera is in, with the cause when it is not live",
            ["camera", "state", "cause"],
            registry=registry,
        )
        self.camera_failures = Counter(
            "platoon_camera_failures_total",
            "Failed openings and broken streams",
            ["camera", "cause"],
            registry=registry,
        )
        self.source_lag = Gauge(
            "platoon_source_lag_seconds",
            "How long after their arrival a live camera's pictures are decoded, at worst in the last seconds",
            ["camera"],
            registry=registry,
        )
        self.camera_asleep = Gauge(
            "platoon_camera_asleep",
            "1 for a camera of which keyframes alone are decoded, as nothing moves",
            ["camera"],
            registry=registry,
        )
        self.camera_wakeups = Counter(
            "platoon_camera_wakeups_total",
            "How often a camera was woken up, by cause: change, plate, manual read, viewer, call, "
            "keyframes (too rare), bytes (too many to keep), start (connected anew)",
            ["camera", "cause"],
            registry=registry,
        )
        self.frames_decoded = Counter("platoon_frames_decoded_total", "Frames decoded", ["camera"], registry=registry)
        self.frames_analysed = Counter(
            "platoon_frames_analysed_total", "Frames the detector has seen", ["camera"], registry=registry
        )
        self.frames_dropped = DroppedFrames()
        registry.register(self.frames_dropped)
        self.events = Counter("platoon_events_total", "Plate events written", ["camera", "state"], registry=registry)
        self.events_lost = Counter(
            "platoon_events_lost_total",
            "Events lost, by cause: full (too many waited for the store), event (its own fault, and not spilled), stop",
            ["camera", "cause"],
            registry=registry,
        )
        self.events_spilled = Counter(
            "platoon_events_spilled_total",
            "Events that went to the spill beside the store, by whose fault: event, store, stop",
            ["camera", "cause"],
            registry=registry,
        )
        self.deliveries = Counter(
            "platoon_deliveries_total",
            "Deliveries of events: delivered, failed (an attempt), expired and full (given up as old, as too many)",
            ["delivery", "result"],
            registry=registry,
        )
        self.delivery_oldest = Gauge(
            "platoon_delivery_oldest_seconds",
            "For how long the oldest delivery that has not arrived has waited",
            ["delivery"],
            registry=registry,
        )
        self.rejected_reads = Counter(
            "platoon_reads_rejected_total",
            "Readings that became no event, by the gate that held them",
            ["camera", "gate"],
            registry=registry,
        )
        self.capture_to_event = Histogram(
            "platoon_capture_to_event_seconds",
            "From receiving the deciding frame to its event being stored",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.caption_segments_cut = Counter(
            "platoon_caption_segments_cut_total",
            "Segments that were cut for captions, by why they end: full (their length), end (of the stream), jump, "
            "size, bytes (too large)",
            ["camera", "cause"],
            registry=registry,
        )
        self.caption_segments = Counter(
            "platoon_caption_segments_total",
            "What became of them: captioned, superseded, expired, failed, skipped (nothing moved); the rest waits",
            ["camera", "state"],
            registry=registry,
        )
        self.caption_lag = Histogram(
            "platoon_caption_lag_seconds",
            "From the end of a segment to its caption",
            buckets=ANSWER_BUCKETS_S,
            registry=registry,
        )
        self.caption_seconds = Histogram(
            "platoon_caption_seconds",
            "Decoding what the model is shown of a segment, and its answer",
            buckets=ANSWER_BUCKETS_S,
            registry=registry,
        )
        self.caption_frames = Counter(
            "platoon_caption_frames_total",
            "Pictures of segments: wanted, shown (to the model, or with the caption)",
            ["step"],
            registry=registry,
        )
        self.caption_bytes = Counter(
            "platoon_caption_bytes_total", "Pictures and video that captions were asked for with", registry=registry
        )
        self.caption_tokens = Counter(
            "platoon_caption_tokens_total", "Tokens by the server's count: prompt, answer", ["part"], registry=registry
        )
        self.caption_frames_share = Gauge(
            "platoon_caption_frames_share",
            "Of the pictures that the model should be shown, so many are, as it is too slow",
            registry=registry,
        )
        self.caption_stride = Gauge(
            "platoon_caption_stride",
            "Every so many segments one is queued, as the model is too slow",
            registry=registry,
        )
        self.stage = Histogram(
            "platoon_stage_seconds",
            "Time of one execution of a stage",
            ["stage"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.batch_items = Counter(
            "platoon_model_items_total", "Items that went through a model", ["model"], registry=registry
        )
        self.batch_executions = Counter(
            "platoon_model_executions_total",
            "Executions of a model; items / executions is the mean batch",
            ["model"],
            registry=registry,
        )
        self.batch_size = Histogram(
            "platoon_model_batch_size",
            "Items per execution",
            ["model"],
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.queue_wait = Histogram(
            "platoon_queue_wait_seconds",
            "From submission to execution",
            ["model"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.queue_depth = Gauge("platoon_queue_depth", "Items waiting for a model", ["model"], registry=registry)
        self.model_runtime = Gauge(
            "platoon_model_runtime", "1 for what executes a model", ["model", "runtime"], registry=registry
        )
        self.runtime_fallbacks = Counter(
            "platoon_runtime_fallbacks_total",
            "Runtimes that could not be used for a model, so that another executes it",
            ["model", "runtime"],
            registry=registry,
        )
        self.model_fixed = Gauge(
            "platoon_model_fixed_seconds", "τ₀: cost of every execution of a model", ["model"], registry=registry
        )
        self.model_item = Gauge(
            "platoon_model_item_seconds",
            "α: cost of each item of the usual size; a batch of b takes τ₀ + αb",
            ["model"],
            registry=registry,
        )
        self.remote_reads = Counter(
            "platoon_remote_reads_total", "Crops that the remote OCR server has read", registry=registry
        )
        self.remote_fallbacks = Counter(
            "platoon_remote_fallbacks_total",
            "Crops that the remote OCR server did not read, so that they were read here",
            ["cause"],
            registry=registry,
        )
        self.remote_held = Counter(
            "platoon_remote_held_total",
            "Crops that the remote OCR server did not read, so that they stayed unread",
            ["cause"],
            registry=registry,
        )
        self.connections = Gauge("platoon_connections", "Open connections of callers", registry=registry)
        self.connections_refused = Counter(
            "platoon_connections_refused_total",
            "Connections refused or cut, by cause: connections, address, websockets (too many of them), replaced (by a "
            "newer one), descriptors (none left), head (too large), pipelined (too many requests ahead), malformed, "
            "rest (of a body that was answered before), slow head, slow body, slow reading, slow rest, draining",
            ["cause"],
            registry=registry,
        )
        self.live_clients = Gauge("platoon_live_clients", "Open WebSocket connections", registry=registry)
        self.live_dropped = Counter(
            "platoon_live_overlays_dropped_total",
            "Overlays that a slow WebSocket client did not get",
            registry=registry,
        )

        self.calls_refused = Counter(
            "platoon_calls_refused_total",
            "Calls of any port that were turned away before they were looked at",
            ["cause"],
            registry=registry,
        )
        self.requests = Counter(
            "platoon_requests_total",
            "Calls of the OCR service, by contract and HTTP status (499: the caller left)",
            ["contract", "status"],
            registry=registry,
        )
        self.request_bytes = Counter(
            "platoon_request_bytes_total", "Bytes of their bodies", ["contract"], registry=registry
        )
        self.request_seconds = Histogram(
            "platoon_request_seconds",
            "From the first byte of a call to its answer",
            ["contract"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.pictures_read = Counter(
            "platoon_pictures_read_total", "Pictures and pages that the OCR service has read", registry=registry
        )
        self.job_pages = Counter(
            "platoon_job_pages_total", "Pages of documents that were read in the background", registry=registry
        )
        self.jobs_waiting = Gauge(
            "platoon_jobs_waiting", "Documents that wait to be read in the background", registry=registry
        )

    def forget(self, camera: str) -> None:
        """A camera is no more: what was counted of it goes, as otherwise every id that ever was would stay."""
        self.frames_dropped.forget(camera)
        for metric in (
            self.camera_state,
            self.camera_failures,
            self.camera_asleep,
            self.camera_wakeups,
            self.source_lag,
            self.frames_decoded,
            self.frames_analysed,
            self.events,
            self.events_lost,
            self.events_spilled,
            self.rejected_reads,
            self.caption_segments_cut,
            self.caption_segments,
        ):
            samples = [sample for family in metric.collect() for sample in family.samples]
            for labels in {tuple(one.labels.values()) for one in samples if one.labels.get("camera") == camera}:
                metric.remove(*labels)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


class Count:
    """A number that only grows; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """So many more."""
        with self._lock:
            self.value += amount


class DroppedFrames(Collector):
    """Frames left out, by camera and cause: counted once, for the metrics and for the status of each camera, which asks
    for its own alone. Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[str, Count]] = {}

    def labels(self, camera: str, cause: str) -> Count:
        """The count of one cause."""
        with self._lock:
            return self._counts.setdefault(camera, {}).setdefault(cause, Count())

    def of(self, camera: str) -> dict[str, int]:
        """How many frames of a camera, by cause."""
        with self._lock:
            return {cause: count.value for cause, count in self._counts.get(camera, {}).items()}

    def forget(self, camera: str) -> None:
        """See `Metrics.forget`."""
        with self._lock:
            self._counts.pop(camera, None)

    def collect(self) -> list[CounterMetricFamily]:
        """See `Collector`."""
        family = CounterMetricFamily(
            "platoon_frames_dropped",
            "Frames left out, by cause: sampled (by the analysis rate), replaced (a newer one came), stale, behind"
            " (not decoded, as decoding was behind), asleep (nor these, as nothing"
            " moved), saturated (nor"
            " these, as nobody had time for them), unavailable, timeout, overloaded (what finds and reads plates was"
            " away), unread (the remote reader was), failed",
            labels=["camera", "cause"],
        )
        with self._lock:
            for camera, counts in self._counts.items():
                for cause, count in counts.items():
                    family.add_metric([camera, cause], count.value)
        return [family]


class _PixelCollector(Collector):
    """Shows a `PixelMeter` as counters."""

    def __init__(self, meter: PixelMeter) -> None:
        self._meter = meter

    def collect(self) -> list[CounterMetricFamily]:
        conversions = CounterMetricFamily(
            "platoon_conversions",
            "Conversions of pixels to RGB; purpose picture is a whole frame",
            labels=["purpose"],
        )
        n_bytes = CounterMetricFamily("platoon_converted_bytes", "RGB bytes written by conversions", labels=["purpose"])
        for purpose, (count, size) in self._meter.counts().items():
            conversions.add_metric([purpose], count)
            n_bytes.add_metric([purpose], size)
        return [conversions, n_bytes]
