"""Draws the log of a training: `python -m training.reader.curves OUT/log.jsonl FILE.svg`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """The command."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "platoon"  # the same log gives the same file
    from matplotlib import pyplot as plt

    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    figure, (losses, shares) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    learnt = [line for line in lines if "loss" in line]
    measured = [line for line in lines if "held_out" in line]
    for name, label in (("loss", "cross-entropy per position"), ("ctc", "CTC loss per character")):
        losses.plot([line["step"] for line in learnt], [line[name] for line in learnt], label=label)
    losses.set(xlabel="steps of 32 pictures", yscale="log")
    losses.legend()
    shares.plot([line["step"] for line in learnt], [line["right"] for line in learnt], label="training", alpha=0.5)
    shares.plot([line["step"] for line in measured], [line["held_out"] for line in measured], label="held out, drawn")
    for name in sorted({key.removesuffix("_exact") for line in measured for key in line if key.endswith("_exact")}):
        share = [line[f"{name}_exact"] / line[f"{name}_of"] for line in measured]
        shares.plot([line["step"] for line in measured], share, label=f"photographs, {name}")
    shares.set(xlabel="steps of 32 pictures", title="plates read exactly right", ylim=(0, 1))
    shares.legend()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
