"""Many clients, one batch: how near to the models' own limit is the OCR service, and to what others do with them?

In one run, with the same weights and pictures: plates and pages read by RapidOCR, as it comes and tuned, and by
Platoon; the service at 32 clients against the bare models; how long items wait, at two loads, taken when the model is
idle or collected first; 30 plates in one call and in 30; and how long a plate waits while bulk is read. CPU time counts
where it can, and of the service only its own, so that clients on the same cores do not count.

python -m benchmarks.service [--share 0.1] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import rapid, report
from benchmarks.clients import Client, keep_asking, percentiles_ms, request
from benchmarks.pictures import pages, plate_crops
from benchmarks.rapid import Rapid
from benchmarks.served import Served
from benchmarks.waiting import PLATES, Windowed, capacity, interactive, open_loop
from platoon.arrays import on_host
from platoon.engine.batcher import Batcher, Priority
from platoon.engine.executor import Executor, Runtime
from platoon.engine.request_context import RequestContext
from platoon.engine.runtime import best_batch, open_runtime
from platoon.engine.tuning import Tuning
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.detection import detection_graph
from platoon.ocr.engine import TextEngine
from platoon.ocr.plate import INPUT_SIZE
from platoon.ocr.reading import ReadOptions, read
from platoon.ocr.recognition import PLATE, fit_line, recognition_graph
from platoon.plates.remote import png
from platoon.reader import Reader
from platoon.settings import Settings

RESULTS = Path(__file__).parent / "results"
CLIENTS = 32
TOGETHER = 30
LOADS = (0.6, 0.9)
LINES = ReadOptions(limit_side=1280)
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is measured: all of it at a `share` of 1."""

    share: float

    def count(self, most: int) -> int:
        """So many things, two at least."""
        return max(2, round(most * self.share))

    def seconds(self, most: float) -> float:
        """So long, a second at least."""
        return max(1.0, most * self.share)


def spread(things: Sequence[Thing], count: int) -> list[Thing]:
    """`count` of them at most, from all over."""
    step = max(1.0, len(things) / count)
    return [things[int(number * step)] for number in range(min(count, len(things)))]


def timed(run: Callable[[], object], items: int) -> dict[str, float]:
    """CPU and wall time of one run, per item."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return {
        "items": items,
        "cpu_ms": 1e3 * (time.process_time() - cpu) / items,
        "wall_ms": 1e3 * (time.perf_counter() - wall) / items,
    }


def against_rapid(engine: TextEngine, crops: Sequence[Pixels], paper: Sequence[Pixels], sizes: Sizes) -> dict[str, Any]:
    """(a): plates and pages, one by one with RapidOCR and batched with Platoon."""
    found: dict[str, Any] = {}
    reader = Reader(engine)
    few, many = spread(crops, sizes.count(30)), spread(crops, sizes.count(len(crops)))
    ways: list[tuple[str, dict[str, Any], dict[str, Any], Sequence[Pixels]]] = [
        ("rapidocr", {}, {}, few),
        ("rapidocr tuned", {**rapid.TUNED, **rapid.SMALL}, {**rapid.TUNED, **rapid.PAGE}, many),
    ]
    for name, small, large, some in ways:
        one = Rapid(**small)
        one.read(some[0])
        found[f"plates, {name}"] = timed(lambda one=one, some=some: [one.read(crop) for crop in some], len(some))  # type: ignore[misc]
        one = Rapid(**large)
        one.read(paper[0])  # it has seen many widths of lines then, as a service has
        found[f"pages, {name}"] = timed(lambda one=one: [one.read(page) for page in paper], len(paper))  # type: ignore[misc]

    def plates() -> object:
        return read(engine, many, PLATES, RequestContext(Priority.BULK, time.monotonic() + 600))

    plates()
    found["plates, platoon"] = timed(plates, len(many))
    reader.read(paper[:1])
    found["pages, platoon"] = timed(lambda: reader.read(paper), len(paper))
    return found


@dataclass(frozen=True, slots=True)
class Bare:
    """A model's runtime without anything around it."""

    runtime: Runtime
    batch: int
    item: tuple[int, ...]

    def measure(self, seconds: float) -> dict[str, float]:
        """CPU and wall time per item at the best batch, with as many executions at once as there may be."""
        inputs = np.random.default_rng(3).integers(0, 256, (self.batch, *self.item), dtype=np.uint8)
        executors = self.runtime.foreground()

        def work(executor: Executor) -> int:
            runs = 0
            while time.perf_counter() - begin < seconds:
                executor(inputs)
                runs += 1
            return runs

        for executor in executors:
            executor(inputs)
        with ThreadPoolExecutor(len(executors)) as pool:
            begin, cpu = time.perf_counter(), time.process_time()
            items = self.batch * sum(pool.map(work, executors))
        return {
            "batch": self.batch,
            "cpu_ms": 1e3 * (time.process_time() - cpu) / items,
            "wall_ms": 1e3 * (time.perf_counter() - begin) / items,
        }


def bare_models(settings: Settings) -> dict[str, Bare]:
    """The models that a plate goes through."""
    tuning = Tuning(settings.cache)
    width, height = INPUT_SIZE
    line = fit_line(np.zeros((48, 200, 3), np.uint8)).shape
    graphs = {
        "detection": (detection_graph(), (height, width, 3)),
        "recognition": (recognition_graph(PLATE)[0], line),
    }
    bare = {}
    for name, (graph, item) in graphs.items():
        runtime = open_runtime(graph, settings.engine, tuning, example=(1, *item), allow_bf16=True)
        best = best_batch(runtime, graph, tuning, item=item, limit=settings.engine.max_batch)
        bare[name] = Bare(runtime, best, item)
    return bare


def many_clients(service: Served, crops: Sequence[Pixels], seconds: float) -> dict[str, Any]:
    """(b): plates over HTTP, one in each request."""
    requests = [request("/ocr", [png(crop)], mode="plate") for crop in crops]

    def ask(seconds: float) -> Any:
        return asyncio.run(keep_asking(service.port, requests, clients=CLIENTS, until=time.monotonic() + seconds))

    ask(min(3.0, seconds))
    cpu, begin = service.tree.cpu_s(), time.monotonic()
    items, runs = (service.sample(f"platoon_model_{name}_total") for name in ("items", "executions"))
    answers = ask(seconds)
    cpu, wall = service.tree.cpu_s() - cpu, time.monotonic() - begin
    count = len(answers.latencies_s)
    items, runs = (
        service.sample("platoon_model_items_total") - items,
        service.sample("platoon_model_executions_total") - runs,
    )
    return {
        "clients": CLIENTS,
        "requests": count,
        "statuses": answers.statuses,
        "per_s": count / wall,
        "cpu_ms": 1e3 * cpu / count,
        "mean_batch": items / runs,
        **percentiles_ms(answers.latencies_s),
    }


def one_call_or_many(service: Served, crops: Sequence[Pixels], rounds: int) -> dict[str, dict[str, float]]:
    """(d): the same plates in one call, in as many calls at once, and one call after the other."""
    some = [png(crop) for crop in spread(crops, TOGETHER)]
    batch = request("/ocr/batch", some, mode="plate")
    single = [request("/ocr", [one], mode="plate") for one in some]

    async def together() -> None:
        async with Client(service.port) as client:
            await client.ask(batch)

    async def each(data: bytes) -> None:
        async with Client(service.port) as client:
            await client.ask(data)

    async def at_once() -> None:
        await asyncio.gather(*(each(data) for data in single))

    async def in_turn() -> None:
        async with Client(service.port) as client:
            for data in single:
                await client.ask(data)

    found = {}
    for name, run in (("1 call", together), ("30 calls at once", at_once), ("30 calls in turn", in_turn)):
        asyncio.run(run())
        walls, cpu = [], service.tree.cpu_s()
        for _ in range(rounds):
            begin = time.perf_counter()
            asyncio.run(run())
            walls.append(1e3 * (time.perf_counter() - begin))
        found[name] = {
            "wall_ms": statistics.median(walls),
            "cpu_ms": 1e3 * (service.tree.cpu_s() - cpu) / rounds,
        }
    return found


def waiting(bare: Bare, crop: Pixels, sizes: Sizes) -> dict[str, Any]:
    """(c): p50 and p99 of a recognition, in ms, at two loads."""
    line = on_host(fit_line(crop))
    most = capacity(bare.runtime, line, seconds=sizes.seconds(5))
    found: dict[str, Any] = {"capacity_per_s": most}
    for load in LOADS:
        for name, kind in (("when idle", Batcher[Pixels, Any]), ("30 ms window", Windowed)):
            found[f"{load:.0%}, {name}"] = open_loop(
                kind, bare.runtime, line, rate=load * most, seconds=sizes.seconds(30)
            )
    return found


def behind_bulk(engine: TextEngine, crops: Sequence[Pixels], paper: Sequence[Pixels], sizes: Sizes) -> dict[str, Any]:
    """(e): a plate after the other, alone, while bulk plates wait, and while pages do."""
    seconds = sizes.seconds(20)
    return {
        "idle": interactive(engine, crops, [], PLATES, seconds=seconds),
        "bulk of plates": interactive(engine, crops, crops, PLATES, seconds=seconds),
        "bulk of pages": interactive(engine, crops, paper, LINES, seconds=seconds),
    }


def run(sizes: Sizes, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything; the results as they are kept. `progress` hears what is being done."""
    kind, crops = plate_crops()
    paper = pages(sizes.count(4))
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as scratch:
        folder = Path(scratch)
        settings = Settings(cache=folder / "cache")
        progress("bare models")
        bare = bare_models(settings)
        limit = {name: model.measure(sizes.seconds(8)) for name, model in bare.items()}
        progress("waiting")
        waited = waiting(bare["recognition"], crops[0], sizes)
        for model in bare.values():
            model.runtime.close()
        with TextEngine(settings.engine, settings.cache, Metrics()) as engine:
            progress("RapidOCR and Platoon, the same pictures")
            alone = against_rapid(engine, crops, paper, sizes)
            progress("behind bulk")
            behind = behind_bulk(engine, crops, paper, sizes)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLATOON_")}
        environment["PLATOON_CACHE"] = str(settings.cache)
        with Served(environment, folder) as service:
            progress(f"the service, {CLIENTS} clients")
            served = many_clients(service, crops, sizes.seconds(30))
            progress("the service, one call or many")
            calls = one_call_or_many(service, crops, sizes.count(10))
    results = {
        "machine": report.machine(),
        "plates": f"{len(crops)} {kind}",
        "limit": limit,
        "alone": alone,
        "service": served,
        "waiting_ms": waited,
        "calls": calls,
        "interactive_ms": behind,
    }
    return {**results, "aims": list(aims(results))}


def aims(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was reached of what is aimed at: at least so much, but for what waits, which is at most so much."""
    alone, limit = results["alone"], results["limit"]

    def faster(what: str, than: str) -> float:
        return float(alone[f"{what}, {than}"]["cpu_ms"] / alone[f"{what}, platoon"]["cpu_ms"])

    bare = sum(model["cpu_ms"] for model in limit.values())
    p99 = {name: one["p99"] for name, one in results["interactive_ms"].items()}
    window = results["waiting_ms"]
    for what, reached, bound in (
        ("plates per CPU-second, platoon / RapidOCR", faster("plates", "rapidocr"), 50),
        ("plates per CPU-second, platoon / RapidOCR tuned", faster("plates", "rapidocr tuned"), 4),
        ("pages per CPU-second, platoon / RapidOCR", faster("pages", "rapidocr"), 1.8),
        ("pages per CPU-second, platoon / RapidOCR tuned", faster("pages", "rapidocr tuned"), 1.2),
        (f"service at {CLIENTS} clients, of the bare models", bare / results["service"]["cpu_ms"], 0.85),
    ):
        yield {"aim": what, "reached": reached, "bound": bound, "met": reached >= bound}
    for what, reached, bound in (
        *(
            (
                f"p99 at {load:.0%} load, when idle / window",
                window[f"{load:.0%}, when idle"]["p99"] / window[f"{load:.0%}, 30 ms window"]["p99"],
                1.0,
            )
            for load in LOADS
        ),
        (
            "wall time of 30 plates, 1 call / 30 in turn",
            results["calls"]["1 call"]["wall_ms"] / results["calls"]["30 calls in turn"]["wall_ms"],
            1.0,
        ),
        ("p99 of a plate, behind bulk plates / idle", p99["bulk of plates"] / p99["idle"], 2.0),
        ("p99 of a plate, behind bulk pages / idle", p99["bulk of pages"] / p99["idle"], 2.0),
    ):
        yield {"aim": what, "reached": reached, "bound": -bound, "met": reached <= bound}


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as tables."""
    facts, served = results["machine"], results["service"]
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {results['plates']} plates\n"
        f"{served['clients']} clients: {served['per_s']:.1f} plates/s, {served['cpu_ms']:.1f} ms of CPU time each, "
        f"mean batch {served['mean_batch']:.2f}, p50 {served['p50']:.0f} ms, p99 {served['p99']:.0f} ms",
        highlight=False,
    )
    console.print(_table(("per picture", "CPU ms", "wall ms"), results["alone"], ("cpu_ms", "wall_ms")))
    bare = {f"{name}, batch {one['batch']}": one for name, one in results["limit"].items()}
    console.print(_table(("bare model", "CPU ms", "wall ms"), bare, ("cpu_ms", "wall_ms")))
    waited = {name: one for name, one in results["waiting_ms"].items() if isinstance(one, Mapping)}
    console.print(_table(("load", "p50 ms", "p99 ms"), waited, ("p50", "p99")))
    console.print(_table(("30 plates", "wall ms", "CPU ms"), results["calls"], ("wall_ms", "cpu_ms")))
    console.print(_table(("a plate while", "p50 ms", "p99 ms"), results["interactive_ms"], ("p50", "p99")))
    console.print(report.reached(results["aims"]))


def _table(heads: Sequence[str], rows: Mapping[str, Mapping[str, float]], columns: Sequence[str]) -> Table:
    table = Table()
    for head in heads:
        table.add_column(head, justify="left" if head is heads[0] else "right")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:.1f}" for column in columns))
    return table


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual amount of everything")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with console.status("") as status:
        results = run(Sizes(given.share), status.update)
    show(results, console)
    given.results.mkdir(parents=True, exist_ok=True)
    report.write(results, given.results / "service.json")


if __name__ == "__main__":
    main(sys.argv[1:])
