"""The commands, thin: they read settings, start things, show progress and say what went wrong.

Exit codes: 0 done, 1 something could not be read or written, 2 the command or its settings do not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from platoon.allocator import bound_memory
from platoon.documents.exports.form import Form
from platoon.ending import Ending
from platoon.errors import InvalidSettings, ModelError, PlatoonError
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.terminal import bars, log_to_terminal, plain, stderr

if TYPE_CHECKING:
    from platoon.documents.layout import Fitted
    from platoon.streams.isolated import IsolatedSite
    from platoon.streams.pipeline import SharedSite
    from platoon.streams.registry import CameraSpec

_REST_OF_END_S = 30.0
"""For what ends after the servers: jobs are given back, cameras and models closed."""
_DELIVERY_S = 30.0
"""How long a run over recorded files waits at its end for receivers of its events."""

app = typer.Typer(
    help="One engine reads every camera, page and clip.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

models_app = typer.Typer(help="The models: list them, export them.", no_args_is_help=True)
app.add_typer(models_app, name="models")

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="A TOML file of settings.", dir_okay=False)]
Host = Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")]
Port = Annotated[int | None, typer.Option(help="The main port; 0: any free one.")]
Isolated = Annotated[bool, typer.Option("--isolated", help="One process per camera instead of one for all.")]


def main() -> None:
    """The console script."""
    bound_memory()
    try:
        app(standalone_mode=True)
    except PlatoonError as error:
        stderr().print(f"[bold red]error:[/] {plain(str(error))}", highlight=False)
        raise SystemExit(2 if isinstance(error, InvalidSettings) else 1) from None


@app.command()
def demo(
    settings_file: SettingsFile = None,
    host: Host = None,
    port: Port = None,
    isolated: Isolated = False,
    fps: Annotated[float, typer.Option(help="Analyse at most so many frames a second of each camera.")] = 3.0,
) -> None:
    """Four synthetic cameras, the page and events: nothing to prepare."""
    from platoon.api.access import check_listening
    from platoon.media.synthetic.clips import demo_clips
    from platoon.streams.registry import CameraSpec

    settings = Settings.load(settings_file, api__host=host, api__port=port, analysis__fps=fps)
    check_listening(settings.api.host, settings.service)
    with bars() as progress:
        task = progress.add_task("rendering four cameras, once", total=None)
        clips = demo_clips(
            settings.cache / "demo",
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    cameras = [CameraSpec(f"demo-{n}", clip.name, str(clip.path), 0) for n, clip in enumerate(clips, 1)]
    _run_live(cameras, settings, isolated=isolated, loop=True)


@app.command()
def run(
    cameras: Annotated[
        str, typer.Argument(help="The registry: lines of id|name|url|port; or the address of one camera.")
    ],
    settings_file: SettingsFile = None,
    host: Host = None,
    port: Port = None,
    isolated: Isolated = False,
    once: Annotated[bool, typer.Option("--once", help="Read file sources to their end, then stop.")] = False,
    events: Annotated[
        Path | None,
        typer.Option("--events", help="Also write each event as a line of JSON to this file.", dir_okay=False),
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Analyse at most so many frames a second of each camera.")] = None,
    every: Annotated[int | None, typer.Option(help="Analyse every Nth frame of each camera.")] = None,
    store: Annotated[Path | None, typer.Option(help="Folder of the event database and the crops.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Play file sources again and again.")] = False,
    ocr: Annotated[
        str | None, typer.Option(help="Let the platoon serve at this URL read the plates that are found here.")
    ] = None,
) -> None:
    """Read the plates of every camera in a registry."""
    from platoon.streams.registry import camera_of, read_registry

    settings = Settings.load(
        settings_file,
        api__host=host,
        api__port=port,
        analysis__fps=fps,
        analysis__every=every,
        store__path=store,
        remote__url=ocr,
    )
    registry = None if "://" in cameras else Path(cameras)
    specs = [camera_of(cameras)] if registry is None else read_registry(registry, main_port=settings.api.port)
    if once and loop:
        raise InvalidSettings("--once and --loop exclude each other")
    if once:
        with _lines_of(events) as on_event:
            _run_once(specs, settings, isolated=isolated, on_event=on_event)
    else:
        _run_live(specs, settings, isolated=isolated, loop=loop, events=events, registry=registry)


@app.command()
def serve(settings_file: SettingsFile = None, host: Host = None, port: Port = None) -> None:
    """Read pictures and documents for others over HTTP, without cameras."""
    from platoon.api.access import check_listening
    from platoon.api.connections import raise_descriptor_limit
    from platoon.api.servers import servers
    from platoon.metrics import Metrics
    from platoon.plates.engine import PlateEngine
    from platoon.plates.served import FOR_CALLERS

    settings = Settings.load(settings_file, api__host=host, api__port=port)
    check_listening(settings.api.host, settings.service)
    log_to_terminal(settings)
    raise_descriptor_limit()
    ending = _ending(settings)
    metrics = Metrics()
    with (
        PlateEngine(settings.engine, settings.cache, metrics) as engine,
        servers(engine, settings, metrics) as answering,
    ):
        engine.warm_up(FOR_CALLERS)
        Console(stderr=True).print(
            f"\n  [bold]Platoon[/] reads what is sent to [bold]{answering.http.address}/ocr[/]   (Ctrl+C ends)\n",
            highlight=False,
        )
        ending.wait()
        answering.drain()


@app.command()
def read(
    names: Annotated[
        list[str], typer.Argument(metavar="PATHS...", help="Pictures, clips or documents; folders of them or patterns.")
    ],
    settings_file: SettingsFile = None,
    plates: Annotated[bool, typer.Option("--plates", help="Only licence plates, best first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file and line.")] = False,
    fps: Annotated[
        float | None, typer.Option(min=0.01, max=240, help="Of clips, read at most so many frames a second.")
    ] = None,
    held_back: Annotated[
        bool, typer.Option("--all", help="Of plates, also what was held back, with the reason.")
    ] = False,
    document: Annotated[
        bool, typer.Option("--document", help="Read documents: blocks, tables, figures. All that follows implies it.")
    ] = False,
    forms: Annotated[
        list[Form] | None, typer.Option("--format", help="What each document becomes; may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for what documents become.", file_okay=False)] = None,
    pages: Annotated[str, typer.Option(help="Of documents, only these, as in 1-3,7.")] = "",
    text_layer: Annotated[
        Literal["auto", "ignore", "only"],
        typer.Option(help="Take the text in PDFs where it is sound, never or always."),
    ] = "auto",
    overlay: Annotated[
        Path | None, typer.Option(help="A picture of what was found on a document's pages.", dir_okay=False)
    ] = None,
) -> None:
    """Read the text of pictures and clips; or documents, into other forms."""
    from platoon.documents.read import Options
    from platoon.read_command import read_documents
    from platoon.read_files import read_files

    settings = Settings.load(settings_file)
    if not (document or forms or out or pages or overlay or text_layer != "auto"):
        if held_back and not plates:
            raise InvalidSettings("--all goes with --plates")
        read_files(names, settings, plates=plates, as_json=as_json, fps=fps, held_back=held_back)
        return
    if plates or as_json or fps is not None or held_back:
        raise InvalidSettings(
            "--plates, --json, --fps and --all are for pictures and clips; documents take --format json"
        )
    options = Options(pages=pages, text_layer=text_layer)
    read_documents(list(map(Path, names)), settings, options, forms=forms or [], folder=out, overlay=overlay)


@app.command()
def caption(
    videos: Annotated[list[str], typer.Argument(help="Recordings: files, or their addresses.")],
    settings_file: SettingsFile = None,
    url: Annotated[str | None, typer.Option(help="The OpenAI-compatible server that has the model.")] = None,
    model: Annotated[str | None, typer.Option(help="Its name there; by default the first that the server has.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What the model is asked about each segment.")] = None,
    every: Annotated[float | None, typer.Option(help="Length of a segment in seconds.")] = None,
    overlap: Annotated[float | None, typer.Option(help="Seconds that a segment has of the one before.")] = None,
    frames: Annotated[int | None, typer.Option(help="Show the model so many pictures of each segment.")] = None,
    fps: Annotated[float | None, typer.Option(help="Or so many of each second.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per segment and line.")] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Subtitles of SubRip.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Subtitles of WebVTT.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Only the first segment of each.")] = False,
) -> None:
    """Describe recordings, segment by segment, by a vision-language model on a server."""
    from platoon.caption_command import caption_files

    if as_json + srt + vtt > 1:
        raise InvalidSettings("--json, --srt and --vtt exclude each other")
    if frames is not None and fps is not None:
        raise InvalidSettings("--frames and --fps exclude each other")
    settings = Settings.load(
        settings_file,
        captions__url=url,
        captions__model=model,
        captions__prompt=prompt,
        captions__every=every,
        captions__overlap=overlap,
        captions__frames=frames,
        captions__fps=fps,
    )
    wording: Literal["text", "json", "srt", "vtt"] = "json" if as_json else "srt" if srt else "vtt" if vtt else "text"
    caption_files(videos, settings, wording=wording, once=once)


@app.command()
def worker(settings_file: SettingsFile = None) -> None:
    """Read documents that are handed in at any `platoon serve` with the same PLATOON_BROKER."""
    from platoon.metrics import Metrics
    from platoon.ocr.engine import TextEngine
    from platoon.scale.celery_jobs import work

    settings = Settings.load(settings_file)
    if settings.broker is None:
        raise InvalidSettings("a worker needs a broker: set PLATOON_BROKER, as redis://host:6379/0")
    log_to_terminal(settings)
    metrics = Metrics()
    ending = Ending(settings.api.drain_s + _REST_OF_END_S)
    with TextEngine(settings.engine, settings.cache, metrics) as engine:
        work(settings, engine, metrics, on_stop=ending.begin)


@models_app.command("list")
def list_models(
    settings_file: SettingsFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per model and line.")] = False,
) -> None:
    """Which weights Platoon uses, whose they are and what for."""
    from platoon.documents.layout import NAME, PURPOSE
    from platoon.engine.model import Model
    from platoon.plates.served import PURPOSES, served

    settings = Settings.load(settings_file)
    rows = [(name, served(name, settings.engine)[0].model, purpose) for name, purpose in PURPOSES.items()]
    if (layout := _layout(settings)) is not None:
        rows.append((NAME, layout.graph.model, PURPOSE))
    if isinstance(settings.plates.detector, Path):
        rows.append(("plate-detector", Model.from_path(settings.plates.detector), "finds plates"))
    for name, model, purpose in rows:
        facts = {"weights": model.name, "licence": model.licence, "origin": model.origin, "sha256": model.digest}
        if as_json:
            tree = {"name": name, "use": purpose, **facts, "path": str(model.path)}
            typer.echo(json.dumps(tree, ensure_ascii=False))
            continue
        typer.echo(f"{name}: {purpose}")
        for fact, value in facts.items():
            typer.echo(f"    {fact:8} {redact(value)}")


@models_app.command("export-triton")
def export_triton(
    folder: Annotated[Path, typer.Argument(help="The model repository; made where there is none.", file_okay=False)],
    settings_file: SettingsFile = None,
    max_batch: Annotated[int | None, typer.Option(help="The largest batch Triton may make.", min=1, max=256)] = None,
) -> None:
    """Write the models of text and layout as a repository for NVIDIA Triton."""
    from platoon.engine.triton_repository import export
    from platoon.plates.served import PURPOSES, served

    settings = Settings.load(settings_file, engine__max_batch=max_batch)
    graphs = [served(name, settings.engine) for name in PURPOSES]
    if (layout := _layout(settings)) is not None and layout.head.batches:
        graphs.append((layout.graph, {}))
    for path in export(graphs, folder, max_batch=settings.engine.max_batch):
        typer.echo(path)


@app.command()
def doctor(settings_file: SettingsFile = None) -> None:
    """What this machine has and lacks for Platoon: versions, runtimes, models measured, space. Exits 1 on a fault."""
    from platoon.doctor import Verdict, examine

    settings = Settings.load(settings_file)
    marks = {Verdict.GOOD: "[green]✓[/]", Verdict.NOTE: "[yellow]•[/]", Verdict.FAULT: "[bold red]✗[/]"}
    table = Table("", "", "", "", box=SIMPLE_HEAD, show_header=False)
    faults, area = 0, ""
    with bars() as progress:
        task = progress.add_task("looking", total=None)
        for finding in examine(settings):
            progress.update(task, description=f"looked at {finding.subject}")
            if finding.area != area and area:
                table.add_section()
            shown = f"[bold]{finding.area}[/]" if finding.area != area else ""
            table.add_row(shown, marks[finding.verdict], plain(finding.subject), plain(finding.text))
            area = finding.area
            faults += finding.verdict is Verdict.FAULT
    Console().print(table)
    if faults:
        stderr().print(f"{faults} fault{'s' * (faults != 1)}, marked ✗", highlight=False)
        raise typer.Exit(1)


def _layout(settings: Settings) -> Fitted | None:
    """The layout model; none, and said so, where nobody installed the one that is the default."""
    from platoon.documents.layout import fitted, layout_model

    try:
        return fitted(layout_model(settings.documents.layout))
    except ModelError as error:
        if settings.documents.layout is not None:
            raise
        stderr().print(plain(str(error)), highlight=False)
        return None


def _site(
    settings: Settings,
    *,
    isolated: bool,
    recorded: bool,
    loop: bool,
    callers: bool,
    on_event: Callable[[Mapping[str, Any]], None] = lambda _event: None,
) -> SharedSite | IsolatedSite:
    from platoon.streams.isolated import IsolatedSite
    from platoon.streams.pipeline import SharedSite

    kind = IsolatedSite if isolated else SharedSite
    return kind(settings, recorded=recorded, loop=loop, callers=callers, on_event=on_event)


def _run_live(
    cameras: Sequence[CameraSpec],
    settings: Settings,
    *,
    isolated: bool,
    loop: bool,
    events: Path | None = None,
    registry: Path | None = None,
) -> None:
    from platoon.api.access import check_listening
    from platoon.api.connections import raise_descriptor_limit
    from platoon.api.servers import servers
    from platoon.api.webhooks import event_deliveries
    from platoon.store.event_file import EventFile
    from platoon.store.retention import Retention
    from platoon.streams.registry import RegistryFollower

    check_listening(settings.api.host, settings.service)
    log_to_terminal(settings)
    raise_descriptor_limit()
    ending = _ending(settings)
    site = _site(settings, isolated=isolated, recorded=False, loop=loop, callers=True)
    with ExitStack() as stack:
        event_file = None if events is None else stack.enter_context(EventFile(events, site.events.path))
        deliveries = event_deliveries(site.events.path, settings, site.metrics, unattended=True)
        site.subscribe(stack.enter_context(deliveries))
        stack.callback(site.stop)
        if event_file is not None:
            site.subscribe(event_file.hear)
        site.change(cameras)
        answering = stack.enter_context(servers(site.engine, settings, site.metrics, site=site, event_file=event_file))
        stack.enter_context(Retention(site.events, site.crops, settings.store))
        site.start()
        if registry is not None:
            follower = RegistryFollower(registry, site.change, main_port=settings.api.port)
            stack.callback(follower.stop)
        Console(stderr=True).print(
            f"\n  [bold]Platoon[/] watches {len(cameras)} camera{'s' * (len(cameras) != 1)}: "
            f"[bold]{answering.http.address}[/]   (Ctrl+C ends)\n",
            highlight=False,
        )
        while not ending.wait(0.5):
            site.wait(0.0)  # raises what stopped the analysis
        answering.drain()


def _run_once(
    cameras: Sequence[CameraSpec],
    settings: Settings,
    *,
    isolated: bool,
    on_event: Callable[[Mapping[str, Any]], None],
) -> None:
    from platoon.api.webhooks import event_deliveries
    from platoon.media.addresses import is_remote

    remote = [camera.id for camera in cameras if camera.enabled and is_remote(camera.url)]
    if remote:
        raise InvalidSettings(f"--once reads files; these cameras never end: {', '.join(remote)}")
    site = _site(settings, isolated=isolated, recorded=True, loop=False, callers=False, on_event=on_event)
    with ExitStack() as stack:
        deliveries = event_deliveries(site.events.path, settings, site.metrics, patience_s=_DELIVERY_S)
        site.subscribe(stack.enter_context(deliveries))
        stack.callback(site.stop)
        progress = stack.enter_context(bars())
        task = progress.add_task("frames", total=None)
        site.change(cameras)
        site.start()
        while not site.wait(0.2):
            progress.update(task, completed=sum(camera.analysed for camera in site.cameras()))
        broken = [camera for camera in site.cameras() if camera.source.cause is not None]
    for camera in broken:
        stderr().print(f"camera {camera.id}: {plain(camera.source.message)}", highlight=False)
    if broken:
        raise typer.Exit(1)


@contextmanager
def _lines_of(path: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that appends an event to the file; each line is on the disk before it returns."""
    from platoon.store.lines import JsonLines

    if path is None:
        yield lambda _event: None
        return
    with JsonLines(path) as lines:
        yield lines.append


def _ending(settings: Settings) -> Ending:
    """Says when the process is asked to end by a signal, and that it has ended in time."""
    ending = Ending(settings.api.drain_s + _REST_OF_END_S)
    ending.listen()
    return ending
