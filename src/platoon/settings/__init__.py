"""One typed tree of settings, from flags, environment and file, read once and passed down.

Order of precedence: flags, then variables (`PLATOON_STORE__MAX_AGE_DAYS=30`), then those of PaddleOCR-VL's gateway
(`HPS_VLM_URL`), then the file given with `--settings` (TOML, the same tree). Every field has a sentence and a default.
"""

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from platoon.errors import InvalidSettings
from platoon.gateway_variables import of_gateways
from platoon.secret_urls import of_redis, of_webhook
from platoon.settings.captions import CaptionSettings as CaptionSettings
from platoon.settings.section import Seconds, Section

Network = Annotated[str, AfterValidator(lambda text: str(ip_network(text)))]
Scope = Literal["read", "operate", "infer", "admin"]
"""What a key may do."""
Attention = Literal["auto", "watch", "full"]
Weights = Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class SourceSettings(Section):
    """How cameras are opened and kept."""

    decoder: Literal["auto", "cpu", "nvdec", "gstreamer", "deepstream"] = "auto"
    """Who decodes cameras: Platoon on the CPU; Platoon by NVDEC on GPU `engine.device`, where pictures stay; one
    GStreamer pipeline for all, with the decoders that GStreamer has here; or one of NVIDIA DeepStream's, on the GPU.
    `auto`: NVDEC, if models may run on that GPU too, else the CPU. Neither way on a GPU has run on one yet."""
    nvinfer: Path | None = None
    """Configuration of a plate detector for `nvinfer`, for `deepstream`: its boxes take the place of those of
    `plates.detector`. None: frames are looked at as from every decoder."""
    open_timeout_s: Seconds = 10.0
    """A camera that has not answered by then counts as failed, and is tried again."""
    read_timeout_s: Seconds = 10.0
    """A stream that brings nothing for so long is closed and opened again."""
    attention: Attention = "auto"
    """What is decoded of live cameras: `full`, everything; `watch`, what the analysis has time for, and of what it does
    not want only what other pictures refer to; `auto`, the same, and where nothing moves keyframes alone."""
    camera_attention: Mapping[str, Attention] = Field(default_factory=dict)
    """The same for single cameras, by their ids."""
    awake_s: Seconds = 4.0
    """A camera sleeps again when nothing has moved for so long."""
    idle_look_s: Seconds = 30.0
    """So often a keyframe of a camera that sleeps is searched for plates, whether or not anything has changed."""
    max_lag_s: Seconds = 0.5
    """A camera whose pictures are decoded later than this after their arrival goes on from its newest keyframe."""
    keyframe_max_s: float = Field(default=10.0, gt=0, le=10)
    """A camera that sends keyframes less often never sleeps, and is decoded through whether or not anybody has time."""
    backoff_min_s: Seconds = 0.5
    """Wait before the first new attempt; doubles with each failure, with jitter."""
    backoff_max_s: Seconds = 30.0
    """Longest wait between two attempts."""
    max_pixels: int = Field(default=64_000_000, gt=0)
    """Streams with larger pictures are refused."""


class AnalysisSettings(Section):
    """Which frames are looked at."""

    fps: float | None = Field(default=None, gt=0, le=240)
    """At most so many frames per second and camera; none: as many as the engine can take."""
    every: int = Field(default=1, ge=1)
    """Only every Nth frame of a camera."""
    max_age_s: Seconds = 1.0
    """A live frame older than this when the detector is idle is dropped and counted as stale."""
    max_picture_age_s: Seconds = 10.0
    """Previews and manual reads answer 503 where nothing of a camera was analysed for so long; or for the time of two
    frames, where `fps` makes that longer."""


class EngineSettings(Section):
    """How models run."""

    runtime: Literal["auto", "openvino", "onnxruntime", "cuda", "tensorrt", "triton", "paddle"] = "auto"
    """`auto` takes a GPU if there is one, else the faster of `openvino` and `onnxruntime`, measured once. `paddle`
    executes models of Paddle's own form by PaddlePaddle, and all others as `auto` does."""
    text_detection: Path | None = None
    """What finds lines of text: the folder of a PP-OCR detection model as PaddleOCR 3 exports it, or an ONNX file;
    none: the weights that come with Platoon."""
    text_recognition: Path | None = None
    """What reads them: the same of a recognition model, whose `inference.yml` says which characters it knows. Lines of
    plates are read with it if it knows A-Z and 0-9."""
    precision: Literal["auto", "float32"] = "auto"
    """`auto` finds and reads text in bfloat16 where the processor has it, which takes half the time."""
    device: int = Field(default=0, ge=0)
    """Number of the GPU, for `cuda`, `tensorrt` and `paddle`."""
    triton_url: str = Field(default="127.0.0.1:8001", pattern=r"^[^\s/@]+:\d{1,5}$")
    """`host:port` of the gRPC port of the server, for `triton`."""
    triton_timeout_s: Seconds = 10.0
    """An execution there that takes longer has failed."""
    threads: int = Field(default=0, ge=0)
    """Of one execution on the CPU; of all models together as many are executed at once as there are cores for. 0: one.
    More answer a lone caller sooner, and many callers later."""
    max_batch: int = Field(default=4, ge=1, le=256)
    """Upper bound of the batch that start-up may choose. CPUs gain little from more and pay in memory."""
    queue_limit: int = Field(default=4096, ge=1)
    """Frames and plates of cameras that may wait for a model at once. What others bring never takes their places: of
    manual reads, of calls, of calls with many pictures, and of documents half as much each may wait before callers are
    turned away."""
    queue_pixels: int = Field(default=500_000_000, ge=1024)
    """Pixels that these may have together, shared in the same way; three bytes of memory each."""
    callers_first: bool = False
    """Read what a single call brings over HTTP or gRPC before the frames of cameras. Otherwise only manual reads of a
    camera go before them."""

    @model_validator(mode="after")
    def _paddle_has_a_model(self) -> Self:
        if self.runtime == "paddle" and self.text_detection is None and self.text_recognition is None:
            raise ValueError(
                "runtime 'paddle' executes models in Paddle's form, and there is none: name one in text_detection or "
                "text_recognition"
            )
        return self


class PlateSettings(Section):
    """What counts as a plate."""

    detector: Literal["plates", "text"] | Path = "plates"
    """What finds plates: `plates`, by Platoon's own weights, which give whole plates with their corners; `text`, by the
    PP-OCR weights, which find all text, of which shape, motion and country patterns tell what is a plate; or the path
    of a YOLO or RF-DETR export (ONNX)."""
    classes: tuple[str, ...] = ()
    """Which classes of that export are plates, by name or number; none: those whose name says so."""
    input_width: int | None = Field(default=None, ge=160, le=4096, multiple_of=32)
    """Width of the scaled frame the detector sees, in pixels; larger finds smaller plates and costs more. None: 768 for
    `plates`, 960 for `text`. An export has its own."""
    input_height: int | None = Field(default=None, ge=96, le=4096, multiple_of=32)
    """Its height; none: 448 and 544."""
    min_score: float | None = Field(default=None, ge=0, le=1)
    """Detections below are ignored; none: 0.35 for `plates`, else 0.5."""
    min_reads: int = Field(default=2, ge=1, le=100)
    """So many frames must agree before a plate is final."""
    countries: Weights = Field(default_factory=dict)
    """How common the plates of which countries are, as in `{FR = 80, US-NY = 5, "*" = 15}`: any figures, relative to
    each other. Those not named do not occur; `*` stands for all others, `US` for the other states. None: each as common
    as its vehicles are in the world."""
    camera_countries: Mapping[str, Weights] = Field(default_factory=dict)
    """The same for single cameras, by their ids, in the place of `countries`."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the scaled frame that a detector of Platoon's own sees."""
        height, width = (448, 768) if self.detector == "plates" else (544, 960)
        return self.input_height or height, self.input_width or width

    @property
    def least_score(self) -> float:
        """What a detection scores at least."""
        if self.min_score is not None:
            return self.min_score
        return 0.35 if self.detector == "plates" else 0.5


class RemoteSettings(Section):
    """Another Platoon that reads the plates which are found here: only their crops travel."""

    url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    """Where `platoon serve` runs there, as `http://host:port`; none: plates are read here."""
    api_key: SecretStr | None = None
    """The key that it wants; best given as `PLATOON_REMOTE__API_KEY`."""
    timeout_s: Seconds = 2.0
    """An answer that takes longer has failed."""
    on_failure: Literal["local", "hold"] = "local"
    """What it did not read is read here, or (`hold`) stays unread."""


class StoreSettings(Section):
    """What is kept, and for how long."""

    path: Path = Field(default_factory=lambda: Path.home() / ".local" / "share" / "platoon")
    """Folder of the databases, and of the crops unless `crops` says otherwise."""
    crops: str | None = Field(default=None, pattern=r"^(file:///|(s3|gs|az)://)[^\s@?#]+$")
    """Where crops are kept, as `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`,
    with credentials from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on); none: beside the
    database."""
    max_age_days: float = Field(default=30, gt=0)
    """Events and their crops older than this are deleted."""
    max_bytes: int = Field(default=10_000_000_000, ge=1_000_000)
    """Bound on the crops; the oldest go first, their events stay."""
    reserve_bytes: int = Field(default=200_000_000, ge=0)
    """Free space on the store's disk that uploads leave to events; a tenth of the disk where that is less. Once it is
    not free any more, the oldest crops make room, a tenth of them a day, if they are on that disk."""

    @property
    def crops_location(self) -> Path | str:
        """The folder or URL of the crops."""
        return self.crops or self.path / "crops"


class DeliverySettings(Section):
    """A webhook that events are delivered to."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """What it is called in logs and metrics; its deliveries that wait go on under the same name."""
    url: Annotated[SecretStr, AfterValidator(of_webhook)]
    """Where events are posted to, http or https."""
    secret: SecretStr = Field(min_length=16)
    """What deliveries are signed with."""
    private: bool = False
    """Whether its host may have an address that is not public, as inside the own network."""
    kinds: tuple[str, ...] = Field(default=("plate",), min_length=1)
    """Which kinds of events it gets."""
    states: tuple[Literal["preview", "final", "revised"], ...] = Field(default=("final", "revised"), min_length=1)
    """In which states."""
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 10.0
    """An attempt that takes longer has failed."""
    max_age_hours: float = Field(default=24, gt=0, le=720)
    """What could not be delivered for so long is given up."""
    max_waiting: int = Field(default=100_000, ge=1)
    """So many deliveries may wait; of more, the oldest are given up."""


class ApiSettings(Section):
    """Where the HTTP and gRPC servers listen."""

    host: str = "127.0.0.1"
    """Address of all ports; `0.0.0.0` opens them to the network."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The main port; 0: any free one."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the inference protocol v2 over gRPC, which Triton has at 8001; none: it is served over HTTP only."""
    max_connections: int = Field(default=2048, ge=1)
    """Connections of callers at once, over all ports. Never more than half of the files that the process may open: the
    rest is for cameras. One more takes the place of the one that has waited longest for a request, or gets 503."""
    max_connections_per_address: int = Field(default=256, ge=1)
    """The same for one address; of IPv6, for a network of 64 bits. One more gets 503."""
    proxies: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    """Addresses or networks that speak for many callers, as reverse proxies do: there is no limit for each of them."""
    max_websockets: int = Field(default=256, ge=1)
    """WebSockets at once, over all ports, and never more than half of all connections; one more gets 503."""
    idle_timeout_s: Seconds = 15.0
    """A connection that brings no request for so long is closed."""
    stall_timeout_s: Seconds = 15.0
    """So long may the head of a request take; a body or an answer that does not move on by 16 KB meanwhile is cut."""
    drain_s: Seconds = 30.0
    """On SIGTERM, what is under way may take so long, while what is new gets 503. A second signal ends at once."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#@]+/?$")
    """Where others reach the main port, as `https://plates.example.org`, if something stands before it: for absolute
    addresses in answers. None: the address that the caller reached."""
    open_paths: tuple[Literal["/metrics", "/health"], ...] = ()
    """Which of these answer without a key where keys are set; `/health` with `/health/ready`."""


class ApiKey(Section):
    """Who may call, what for, and how often. The key itself is kept nowhere."""

    name: str = Field(min_length=1, max_length=64)
    """Whose key it is, for logs and metrics."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """The key's SHA-256 in hexadecimal: `printf %s "$KEY" | sha256sum`."""
    scopes: tuple[Scope, ...] = Field(default=("infer",), min_length=1)
    """What it may do: `read` (look at cameras, events, metrics), `operate` (that, and read cameras by hand), `infer`
    (have pictures and documents read), `admin` (all)."""
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Requests per second; none: as many as the service can take."""
    burst: int = Field(default=10, ge=1)
    """Requests that may come at once before `rate` counts."""
    job_priority: int = Field(default=0, ge=-9, le=9)
    """The highest priority that its documents in the background may ask for."""


class ServiceSettings(Section):
    """The OCR service: who may call it, and how much one call may ask for."""

    keys: tuple[ApiKey, ...] = ()
    """API keys, each a table with `name`, `sha256`, and if wanted `scopes`, `rate`, `burst`, `job_priority`; none: only
    this machine calls. With keys every call needs one, on all ports."""
    open: bool = False
    """Without keys, serve callers from other machines too, on all ports."""
    hosts: tuple[Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+|[0-9A-Fa-f:.]+)$")], ...] = ()
    """Names, and addresses of whatever stands before Platoon, under which callers may ask for it, without ports.
    Loopback, the addresses that it listens on and `api.public_url` are known."""
    session_hours: float = Field(default=168, gt=0, le=8784, allow_inf_nan=False)
    """So long after somebody has given the page a key it asks for one again."""
    max_body_bytes: int = Field(default=64_000_000, ge=1024)
    """Larger requests are refused (413)."""
    max_requests: int = Field(default=256, ge=1)
    """Requests under way at once; one more is turned away (429). Of several keys none has more places than are free."""
    max_waiting_bytes: int = Field(default=512_000_000, ge=1024)
    """Bytes of all bodies under way; a request that would exceed it is turned away (429)."""
    max_pixels: int = Field(default=64_000_000, ge=1024)
    """Larger pictures and pages are refused by the size they declare, before they are decoded."""
    max_decoded_pixels: int = Field(default=128_000_000, ge=1024)
    """Pixels that all calls together hold decoded; further pictures wait. At least `max_pixels`, of which twice as many
    keep documents and pictures that are slow to decode from holding up the others."""
    max_pictures: int = Field(default=256, ge=1)
    """Pictures in one call of `/ocr/batch`."""
    max_pages: int = Field(default=100, ge=1)
    """Pages of one document; longer ones are refused, never cut."""
    max_lines: int = Field(default=2000, ge=1)
    """Lines of text in one picture; one with more is refused."""
    deadline_s: Seconds = 30.0
    """An answer that takes longer is given up (504); waiting counts. Documents get so much for each page."""
    fetch: bool = True
    """Fetch files that callers name by URL, from public addresses only."""
    fetch_hosts: tuple[str, ...] = ()
    """Hosts that files may be fetched from although their addresses are private."""
    fetch_timeout_s: Seconds = 10.0
    """A file that has not been fetched by then is given up."""

    @model_validator(mode="after")
    def _one_picture_fits(self) -> Self:
        if self.max_decoded_pixels < self.max_pixels:
            raise ValueError("max_decoded_pixels is less than max_pixels: the largest picture would wait for ever")
        if len({key.name for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same name")
        return self


class DocumentSettings(Section):
    """How documents are read."""

    layout: Path | None = None
    """A layout model (ONNX: PicoDet, PP-DocLayout, DocLayout-YOLO) with the names of its classes in its metadata; none:
    PicoDet with the ten classes of CDLA."""


class GatewaySettings(Section):
    """`/layout-parsing` and `/restructure-pages`: who parses the documents, and how many at once."""

    triton_url: str | None = Field(default=None, pattern=r"^[^\s/@]+:\d{1,5}$")
    """`host:port` of the gRPC port of a Triton that has the models `layout-parsing` and `restructure-pages`; none:
    documents are parsed here."""
    vlm_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """Where an OpenAI-compatible server has a vision-language model that reads the blocks of pages, as
    `http://host:port`; none: the own models read them. With `triton_url` it is Triton's, and only its health is asked
    for."""
    vlm_model: str | None = Field(default=None, min_length=1, max_length=256)
    """Its name there; none: the first that the server lists."""
    vlm_api_key: SecretStr | None = None
    """The key that it wants; best given as `PLATOON_GATEWAY__VLM_API_KEY`."""
    vlm_max_requests: int = Field(default=16, ge=1, le=1024)
    """Blocks of all callers that it is asked for at once."""
    vlm_timeout_s: Seconds = 120.0
    """An answer for one block that takes longer has failed, and is asked for again."""
    max_inference_requests: int = Field(default=16, ge=1, le=1024)
    """Documents of all callers that are parsed at once; more wait."""
    max_other_requests: int = Field(default=64, ge=1, le=1024)
    """The same for calls that need no model."""
    timeout_s: Seconds = 600.0
    """A call that takes longer is given up (504); waiting counts."""
    health_timeout_s: Seconds = 5.0
    """A server behind that has not said by then that it is ready, is not."""
    unavailable: Literal["leave-out", "refuse"] = "leave-out"
    """What a caller asks for that needs a model which is not here, as for charts and seals: leave it out and name it in
    `left_out` of each page, as PaddleOCR's own clients ask for charts unless told otherwise; or refuse it by name."""


class JobSettings(Section):
    """Documents that are read in the background."""

    at_once: int = Field(default=1, ge=1, le=64)
    """Documents that one process reads at the same time."""
    max_pages: int = Field(default=10_000, ge=1)
    """Pages of one document; longer ones fail, and are never cut."""
    max_waiting: int = Field(default=1000, ge=1)
    """Jobs that may wait; one more is turned away (429)."""
    max_waiting_per_key: int | None = Field(default=None, ge=1)
    """The same for those of one API key; none: an equal share of `max_waiting` for each."""
    max_bytes: int = Field(default=4_000_000_000, ge=1_000_000)
    """Bytes that documents and results of jobs may take, also of those that have ended; a document too many is refused
    (507), and a job whose result would be too large fails."""
    max_bytes_per_key: int | None = Field(default=None, ge=1_000_000)
    """The same for those of one API key (429); none: an equal share of `max_bytes` for each."""
    attempts: int = Field(default=5, ge=1)
    """How often a job is begun without getting a page further before it has failed."""
    lease_s: Seconds = 30.0
    """A job whose worker has not been heard of for so long is given to another."""
    keep_hours: float = Field(default=24, gt=0, allow_inf_nan=False)
    """A job, its document and its result are deleted so long after it has ended."""
    webhook_secret: SecretStr | None = None
    """What webhooks are signed with; best given as `PLATOON_JOBS__WEBHOOK_SECRET`. None: webhooks are refused."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="PLATOON_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    source: SourceSettings = SourceSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    engine: EngineSettings = EngineSettings()
    plates: PlateSettings = PlateSettings()
    remote: RemoteSettings = RemoteSettings()
    store: StoreSettings = Field(default_factory=StoreSettings)
    deliveries: tuple[DeliverySettings, ...] = ()
    """Webhooks that events are delivered to, each a table with `name`, `url`, `secret`, and if wanted `private`,
    `kinds`, `states`, `timeout_s`, `max_age_hours`, `max_waiting`."""
    api: ApiSettings = ApiSettings()
    service: ServiceSettings = ServiceSettings()
    jobs: JobSettings = JobSettings()
    broker: Annotated[SecretStr, AfterValidator(of_redis)] | None = None
    """The Redis through which `platoon worker` on any machine reads documents, as `redis://host:6379/0`; it keeps them,
    too. None: this process reads them, and keeps them in the store. Needs the extra `celery`."""
    documents: DocumentSettings = DocumentSettings()
    gateway: GatewaySettings = GatewaySettings()
    captions: CaptionSettings = CaptionSettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """What is worth a log line."""
    log_format: Literal["text", "json"] = "text"
    """`json`: one object a line, with the id of the request it is about."""
    tracing: bool = False
    """Send a trace of each request for reading to an OpenTelemetry collector, where `OTEL_EXPORTER_OTLP_ENDPOINT` says.
    Needs the extra `otel`."""
    cache: Path = Field(default_factory=lambda: Path.home() / ".cache" / "platoon")
    """Folder for what can be made again: measured choices, the demo's clips."""

    @field_validator("deliveries")
    @classmethod
    def _names_differ(cls, deliveries: tuple[DeliverySettings, ...]) -> tuple[DeliverySettings, ...]:
        if len({one.name for one in deliveries}) < len(deliveries):
            raise ValueError("two deliveries have the same name")
        return deliveries

    @classmethod
    def load(cls, file: Path | None = None, **flags: Any) -> Self:
        """Settings from `flags` (`store__path=...`; None means not given), the environment and `file`.

        Raises:
            InvalidSettings: names every field that does not fit, in one go.
        """
        tree = {} if file is None else _read(file)
        given = _tree({name: value for name, value in flags.items() if value is not None})

        class WithFile(cls):  # type: ignore[valid-type, misc]
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                dotenv_settings: PydanticBaseSettingsSource,
                file_secret_settings: PydanticBaseSettingsSource,
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                del dotenv_settings, file_secret_settings
                others = InitSettingsSource(settings_cls, _tree(of_gateways(os.environ)))
                return init_settings, env_settings, others, InitSettingsSource(settings_cls, tree)

        try:
            loaded = WithFile(**given)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise InvalidSettings(f"settings do not fit: {problems}") from error
        return cls.model_construct(**{name: getattr(loaded, name) for name in cls.model_fields})


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"store__path": ...}` as the sections that it names."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, field = name.split("__")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[field] = value
    return tree


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(f"cannot read settings {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"settings {file} are not TOML: {error}") from error
