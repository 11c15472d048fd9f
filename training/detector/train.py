"""Train the plate detector and export it: `python -m training.detector.train --data plates-train --out FOLDER`.

Stops and goes on at any time: the same command continues from the last checkpoint in FOLDER. Example i is made from
the seed and i alone, so a run that was interrupted learns from the same examples as one that was not. `log.jsonl`
holds the curve.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from training.detector import sources
from training.detector.candidates import PlateGraph
from training.detector.export import export
from training.detector.loss import loss, wanted
from training.detector.measure import Find, figures
from training.detector.model import PlateNet
from training.detector.scenes import Scenes

logger = logging.getLogger("training.detector")

_PEAK_RATE, _DECAY, _WARM_STEPS, _COOLING = 1.5e-3, 0.02, 150, 0.35
"""Learning rate, weight decay, steps until the rate is reached, share of the steps at the end in which it falls to
nothing.
"""
_AVERAGE = 0.998
"""Share of the averaged weights that stays at each step."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of plates-train")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and of log.jsonl")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=320, help="side of the examples in pixels")
    parser.add_argument("--plates", type=int, default=3000, help="how many plates to draw")
    parser.add_argument("--streets", type=int, default=300, help="how many streets to draw")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--weights", type=Path, help="where to write the ONNX file in the end")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)

    rng = np.random.default_rng([given.seed, 0])
    flat, streets = sources.kept(
        given.out / f"drawn-{given.seed}-{given.plates}-{given.streets}.npz",
        rng,
        plates=given.plates,
        streets=given.streets,
    )
    frames, lettering = sources.frames(given.data, "train"), sources.lettering()
    # Every other batch is of larger examples and fewer of them: large plates need room.
    sides = (given.size, given.size * 7 // 5 // 32 * 32, given.size, given.size * 2)
    made = [Scenes(frames, streets, flat, lettering, size=side) for side in sides]
    held_out = sources.frames(given.data, "valid")
    logger.info("%d plates, %d streets, %d frames held out", len(flat), len(streets), len(held_out))

    net = PlateNet().to(memory_format=torch.channels_last)
    logger.info("%.2f million parameters", sum(value.numel() for value in net.parameters()) / 1e6)
    average = copy.deepcopy(net)
    matrices = [value for value in net.parameters() if value.ndim > 1]
    others = [value for value in net.parameters() if value.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}], lr=_PEAK_RATE
    )
    step, checkpoint = 0, given.out / "checkpoint.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(kept["net"])
        average.load_state_dict(kept["average"])
        optimiser.load_state_dict(kept["optimiser"])
        step = kept["step"]
        logger.info("going on from step %d", step)

    sums: dict[str, float] = defaultdict(float)
    since = time.perf_counter(), time.process_time(), step
    while step < given.steps:
        rate = _PEAK_RATE * min(1, (step + 1) / _WARM_STEPS, (given.steps - step) / (_COOLING * given.steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        side = sides[step % len(sides)]
        scenes, count = made[step % len(sides)], max(1, round(given.batch * (given.size / side) ** 2))
        first = step * given.batch
        views = [scenes.example(np.random.default_rng([given.seed, 1, first + i])) for i in range(count)]
        pixels = torch.from_numpy(np.stack([view.picture for view in views])).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            maps = net(pixels.float())
        parts = loss(maps.float(), wanted(views))
        optimiser.zero_grad()
        sum(parts).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        step += 1
        _follow(average, net, min(_AVERAGE, (1 + step) / (10 + step)))
        for name, value in parts._asdict().items():
            sums[name] += value.item()
        if step % 50 == 0:
            wall, spent = time.perf_counter() - since[0], time.process_time() - since[1]
            progress = {
                "step": step,
                "rate": rate,
                **{name: round(value / (step - since[2]), 4) for name, value in sums.items()},
            }
            progress |= {"wall_s": round(wall, 1), "cpu_s": round(spent, 1)}
            _note(given.out, progress)
            sums.clear()
            since = time.perf_counter(), time.process_time(), step
        if step % given.every == 0 or step == given.steps:
            state = {
                "net": net.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "seed": given.seed,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            result = figures(_finder(average), held_out, (640, 384))
            _note(given.out, {"step": step, **result.to_json()})
            since = time.perf_counter(), time.process_time(), step
    if given.weights is not None:
        export(checkpoint, given.weights)


def _follow(average: PlateNet, net: PlateNet, share: float) -> None:
    with torch.no_grad():
        for kept, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1 - share)
            else:
                kept.copy_(new)


def _finder(net: PlateNet) -> Find:
    graph = PlateGraph(net).eval()

    def find(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = graph(torch.from_numpy(batch)).numpy()
        return found

    return find


def _note(folder: Path, progress: dict[str, object]) -> None:
    logger.info("%s", progress)
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(progress) + "\n")


if __name__ == "__main__":
    main()
