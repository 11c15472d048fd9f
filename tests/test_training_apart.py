"""The photographs that plates are measured on stay out of what plates are learnt from."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PLATOON_DATA", ROOT.parent / "shared" / "data"))
MEASURED, LEARNT = DATA / "plates-dev", DATA / "plates-train"
NO_PHOTOGRAPHS = f"no photographs of plates in {DATA}; PLATOON_DATA names the folder that holds them"
CODE = [path for path in sorted((ROOT / "training").rglob("*")) if path.suffix in {".py", ".toml", ".json", ".txt"}]
LOOK = (32, 18)
"""Width and height of pictures that are compared."""
ALIKE = 8.0
"""Pictures whose grey levels differ by less on average are the same, however they were saved."""


def test_training_knows_neither_the_folder_nor_its_origin() -> None:
    assert len(CODE) > 20
    for path in CODE:
        assert not re.search(r"plates.dev|openalpr", path.read_text(encoding="utf-8"), re.IGNORECASE), path


def test_no_measured_text_is_written_in_the_training() -> None:
    texts = _measured_texts()
    for path in CODE:
        words = set(re.findall(r"[A-Z0-9]+", path.read_text(encoding="utf-8")))
        assert not words & texts, path


def test_no_measured_photograph_is_learnt_from() -> None:
    measured = [path for path in sorted(MEASURED.rglob("*")) if path.suffix in {".jpg", ".png"}]
    learnt = sorted((LEARNT / "images").glob("*"))
    if not measured or not learnt:
        pytest.skip(NO_PHOTOGRAPHS)
    theirs = np.stack([_look(path) for path in learnt])
    for path in measured:
        assert np.abs(theirs - _look(path)).mean(axis=(1, 2)).min() > ALIKE, path


def test_the_same_photograph_saved_anew_is_known() -> None:
    learnt = sorted((LEARNT / "images").glob("*"))
    if not learnt:
        pytest.skip(NO_PHOTOGRAPHS)
    picture = cv2.imread(str(learnt[0]))
    assert picture is not None
    _, anew = cv2.imencode(".jpg", cv2.resize(picture, None, fx=0.6, fy=0.6), [cv2.IMWRITE_JPEG_QUALITY, 40])
    again = _small(np.asarray(cv2.imdecode(anew, cv2.IMREAD_GRAYSCALE), np.uint8))
    assert np.abs(again - _look(learnt[0])).mean() < ALIKE / 2


def _measured_texts() -> set[str]:
    tables = sorted(MEASURED.glob("*/truth.tsv"))
    if not tables:
        pytest.skip(NO_PHOTOGRAPHS)
    texts = set()
    for table in tables:
        with table.open(encoding="utf-8", newline="") as file:
            texts |= {row["text"] for row in csv.DictReader(file, delimiter="\t")}
    # Short ones and words are no plate's own: they stand in any code.
    return {text for text in texts if len(text) >= 5 and not text.isalpha()}


def _look(path: Path) -> NDArray[np.float32]:
    picture = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_4)
    assert picture is not None, path
    return _small(picture)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, LOOK, interpolation=cv2.INTER_AREA), np.float32)
