"""Trains the plate reader on a CPU: `python -m training.reader.train OUT`.

It goes on from what it finds in OUT, where it keeps a checkpoint, the pool of views and `log.jsonl`; ended by SIGTERM,
it loses nothing. The rate of learning stays level after a warm-up and falls to nothing over the last `--decay` steps
(Hu et al., MiniCPM, 2024), so a training that proves too short is prolonged without starting over. What is measured and
exported is the moving average of the weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from platoon.engine.model import text_recognition
from training.reader import NONE
from training.reader.data import Pool
from training.reader.measure import measure_folder
from training.reader.model import CLASSES, PlateNet, normalised
from training.reader.views import FULL_AT

logger = logging.getLogger(__name__)

BATCH = 32
RATE, WEIGHT_DECAY = 1.2e-3, 0.02
FEATURES_RATE = 0.2
"""Of the rate, for what comes from PP-OCRv6: it knows letters already."""
FROZEN = 4
"""Its first stages stay as they are, which saves a third of the time: edges are edges."""
WARM_UP_STEPS = 300
SMOOTHING = 0.02
AVERAGE = 0.998
"""Of the old average that stays at each step."""
POOL, FIRST_VIEWS, FRESH_PER_STEP = 30_000, 4_000, 24
HELD_OUT = 1_000
EVERY_STEPS, EVERY_S = 100, 300.0
"""A line in the log, and a checkpoint with measurements."""


class Training:
    """The state of a training; `out` is its folder."""

    def __init__(self, out: Path, *, seed: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        self.out, self._seed = out, seed
        self.net = PlateNet().to(memory_format=torch.channels_last)
        self.net.features.load(text_recognition().path)
        for stage in list(self.net.features)[:FROZEN]:
            stage.requires_grad_(False)
        self.average = deepcopy(self.net).eval()
        self.optimiser = torch.optim.AdamW(_groups(self.net), lr=RATE, betas=(0.9, 0.98))
        self.step, self.seconds, self.stop = 0, 0.0, False
        self._drawing = ThreadPoolExecutor(1)
        self.pool = Pool(out / "views.u8", POOL, seed=seed)
        if (out / "checkpoint.pt").exists():
            self._restore(torch.load(out / "checkpoint.pt", weights_only=False))
        if self.pool.drawn < FIRST_VIEWS:
            self.pool.grow(FIRST_VIEWS - self.pool.drawn)

    def run(self, steps: int, *, decay: int, measured: list[Path]) -> None:
        """Train until `steps` steps are done in all, or `stop` is set."""
        held_out = self._held_out()
        started, kept, total, count = time.monotonic() - self.seconds, time.monotonic(), np.zeros(3), 0
        while self.step < steps and not self.stop:
            rate = RATE * min(1.0, (self.step + 1) / WARM_UP_STEPS, (steps - self.step) / decay)
            total, count = total + self._learn(rate), count + 1
            self.step += 1
            self.seconds = time.monotonic() - started
            if self.step % EVERY_STEPS == 0:
                loss, by_ctc, right = total / count
                self._report(loss=loss, ctc=by_ctc, right=right, rate=rate, drawn=self.pool.drawn)
                total, count = np.zeros(3), 0
            if time.monotonic() - kept > EVERY_S or self.step == steps:
                self._keep()
                self._report(held_out=exact(self.average, *held_out), **self._measure(measured))
                kept = time.monotonic()
        self._keep()

    def _learn(self, rate: float) -> NDArray[np.float64]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        cuts, labels, lines = self.pool.take(np.random.default_rng((self._seed, 1, self.step)), BATCH)
        fresh = self._drawing.submit(self.pool.grow, FRESH_PER_STEP)
        targets = torch.from_numpy(labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, places = self.net(normalised(torch.from_numpy(cuts)))
            as_lines = self.net.lines(places)
        logits = logits.float()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=SMOOTHING)
        by_ctc = ctc(as_lines, targets, torch.from_numpy(lines))
        # Letters first: until the trunk knows them, the queries have nothing to look for.
        weight = 0.3 if self.step < 3000 else 0.1
        self.optimiser.zero_grad()
        (loss + weight * by_ctc).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self._follow()
        fresh.result()
        right = (logits.argmax(-1) == targets).all(1).float().mean()
        return np.array([loss.item(), by_ctc.item(), right.item()])

    @torch.no_grad()
    def _follow(self) -> None:
        kept = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for old, new in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - kept)
            else:
                old.copy_(new)

    def _held_out(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        path = self.out / "held-out.npz"
        if not path.exists():
            pool = Pool(self.out / "held-out.u8", HELD_OUT, seed=self._seed + 1_000_000, drawn=FULL_AT)
            pool.grow(HELD_OUT)
            cuts, labels, _ = pool.take(np.random.default_rng(0), HELD_OUT)
            np.savez(path, cuts=cuts, labels=labels)
            (self.out / "held-out.u8").unlink()
        kept = np.load(path)
        return kept["cuts"], kept["labels"]

    def _measure(self, folders: list[Path]) -> dict[str, float]:
        return {
            f"{folder.name}_{figure}": value
            for folder in folders
            for figure, value in measure_folder(self._read, folder).figures().items()
        }

    def _read(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(logits_of(self.average, pictures).softmax(-1), np.float32)

    def _report(self, **figures: Any) -> None:
        rounded = {name: round(float(figure), 5) for name, figure in figures.items()}
        line = json.dumps({"step": self.step, "seconds": round(self.seconds), **rounded})
        with (self.out / "log.jsonl").open("a") as log:
            log.write(line + "\n")
        logger.info("%s", line)

    def _keep(self) -> None:
        part = self.out / "checkpoint.part"
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "seed": self._seed,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "pool": self.pool.state(),
        }
        torch.save(state, part)
        part.replace(self.out / "checkpoint.pt")

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.pool.restore(state["pool"])


def _groups(net: PlateNet) -> list[dict[str, Any]]:
    """The weights of the features and the others, each with those that decay apart."""
    known = {id(weight) for weight in net.features.parameters()}
    return [
        {"params": [weight for weight in net.parameters() if (id(weight) in known, weight.ndim > 1) == kind]}
        | {"share": FEATURES_RATE if kind[0] else 1.0, "weight_decay": WEIGHT_DECAY if kind[1] else 0.0}
        for kind in itertools.product((True, False), repeat=2)
    ]


def ctc(as_lines: tuple[Tensor, Tensor], targets: Tensor, lines: Tensor) -> Tensor:
    """Mean CTC loss per character, each plate read in as many lines as it has."""
    total = torch.zeros(())
    lengths = (targets != NONE).sum(1)
    for number, logits in enumerate(as_lines, 1):
        own = lines == number
        if own.any():
            read = logits[own].float().log_softmax(-1).transpose(0, 1)
            steps = torch.full((read.shape[1],), read.shape[0])
            total = total + functional.ctc_loss(
                read, targets[own], steps, lengths[own], blank=CLASSES - 1, reduction="sum", zero_infinity=True
            )
    return total / lengths.sum()


@torch.no_grad()
def logits_of(net: PlateNet, pictures: NDArray[np.uint8]) -> Tensor:
    """(N, 10, 37) for pictures (N, 64, 192, 3)."""
    parts = np.split(pictures, range(64, len(pictures), 64))
    return torch.cat([net(normalised(torch.from_numpy(part)))[0] for part in parts])


def exact(net: PlateNet, pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """The share of pictures of which all positions are right."""
    return float((logits_of(net, pictures).argmax(-1).numpy() == labels).all(1).mean())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train the plate reader.")
    parser.add_argument("out", type=Path, help="folder of the training, continued if there is one")
    parser.add_argument("--steps", type=int, default=6500, help="in all, those done before included")
    parser.add_argument("--decay", type=int, default=2500, help="last steps, over which the rate falls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--measure", type=Path, action="append", default=[], help="folder of photographs with truth.tsv"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    training = Training(given.out, seed=given.seed)
    signal.signal(signal.SIGTERM, lambda *_: setattr(training, "stop", True))
    training.run(given.steps, decay=given.decay, measured=given.measure)


if __name__ == "__main__":
    main()
