"""`python -m training.draw fonts` fetches the fonts, `python -m training.draw sheet OUT.png` draws samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.draw import fonts
from training.draw.sheet import save_sheet


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.draw", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fonts", help="fetch the fonts that plates are drawn with")
    fetch.add_argument("--cache", type=Path, default=fonts.DEFAULT_CACHE, help="where they are kept")
    sheet = commands.add_parser("sheet", help="draw samples of every country into one picture")
    sheet.add_argument("out", type=Path)
    sheet.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.command == "fonts":
        fonts.fetch(asked.cache)
    else:
        save_sheet(asked.out, seed=asked.seed)


if __name__ == "__main__":
    main()
