import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

import platoon.reader as module
from platoon.errors import InvalidInput, TooLarge
from platoon.media.frame import Pixels
from platoon.ocr.engine import TextEngine
from platoon.ocr.reading import Reading, ReadOptions
from platoon.reader import AT_A_TIME, Picture, Reader
from tests.clips import cut
from tests.drawn import INVOICE, INVOICE_TEXTS, encoded, page
from tests.stuck import Stuck

INK = page(*INVOICE)
PATIENCE_S = 30
UPRIGHT_BY_TURNING_RIGHT = 6
"""An orientation of EXIF's: the picture is stored a quarter turned to the left."""


@pytest.fixture
def reader(text_engine: TextEngine) -> Reader:
    return Reader(text_engine)


def texts(readings: list[Reading]) -> list[list[str]]:
    return [[line.text for line in reading.lines] for reading in readings]


def stuck() -> tuple[Stuck, Reader]:
    engine = Stuck()
    return engine, Reader(engine)  # type: ignore[arg-type]


def test_all_lines_are_read_from_top_to_bottom_and_left_to_right(reader: Reader) -> None:
    (reading,) = reader.read([INK])
    assert [line.text for line in reading.lines] == INVOICE_TEXTS
    assert reading.text == "\n".join(INVOICE_TEXTS)


def test_a_box_lies_around_its_text(reader: Reader) -> None:
    ((line,),) = (reading.lines for reading in reader.read([page(("Hello", 100, 120))]))
    (width, height), _ = cv2.getTextSize("Hello", cv2.FONT_HERSHEY_SIMPLEX, 1, 2)
    assert line.box == pytest.approx((100, 120 - height, 100 + width, 120), abs=14)
    assert line.confidence > 0.9


def test_large_pictures_are_read_at_full_size(reader: Reader) -> None:
    picture = np.full((1500, 2600, 3), 245, np.uint8)
    cv2.putText(picture, "Far corner", (1900, 1400), cv2.FONT_HERSHEY_SIMPLEX, 3, (10, 10, 10), 5)
    (line,) = reader.read([picture])[0].lines
    assert line.text == "Far corner"
    assert line.box[0] == pytest.approx(1900, abs=30)
    assert line.box[3] == pytest.approx(1400, abs=40)


def test_slanted_text_is_read(reader: Reader) -> None:
    turn = cv2.getRotationMatrix2D((200, 100), 12, 1)
    turned = cv2.warpAffine(page(("Slanted 12", 100, 110)), turn, (400, 200), borderValue=(245, 245, 245))
    assert texts(reader.read([turned])) == [["Slanted 12"]]


def test_a_blank_picture_has_no_lines_and_no_picture_no_reading(reader: Reader) -> None:
    assert texts(reader.read([page()])) == [[]]
    assert reader.read([]) == []


def test_pictures_of_all_kinds_are_read_in_one_list(reader: Reader, tmp_path: Path) -> None:
    picture = page(("Same", 100, 110))
    file = tmp_path / "page.png"
    Image.fromarray(picture).save(file)
    grey, view = Image.fromarray(picture).convert("L"), picture[:, :, ::-1]
    kinds: list[Picture] = [picture, grey, file, str(file), file.read_bytes(), view]
    assert texts(reader.read(kinds)) == [["Same"]] * len(kinds)


def test_pictures_are_turned_upright_as_their_exif_data_say(reader: Reader, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = UPRIGHT_BY_TURNING_RIGHT
    file = tmp_path / "photo.jpg"
    file.write_bytes(encoded(np.rot90(page(("Upright", 100, 110))), "JPEG", quality=95, exif=exif))
    with Image.open(file) as opened:
        readings = reader.read([file, file.read_bytes(), opened])
    assert texts(readings) == [["Upright"]] * 3
    assert {reading.size for reading in readings} == {(400, 200)}


def written(path: Path, pictures: list[Pixels], fps: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "10"})
        stream.height, stream.width = pictures[0].shape[:2]
        for shown in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clip_gives_each_of_its_texts_once_with_its_time(reader: Reader, tmp_path: Path) -> None:
    first, second = page(("First", 40, 80), size=(320, 160)), page(("Second", 40, 80), size=(320, 160))
    clip = written(tmp_path / "clip.mkv", [first] * 5 + [second] * 6, fps=2)
    heard: list[int] = []
    lines, broken = reader.read_clip(clip, on_frame=lambda done, _: heard.append(done))
    assert [found.line.text for found in lines] == ["First", "Second"]
    assert lines[0].time_s < 2.5 <= lines[1].time_s
    assert lines[0].to_json().keys() == {"text", "confidence", "box", "time_s"}
    assert broken is None
    assert heard == list(range(1, 12))


def test_a_clip_that_is_cut_off_gives_what_was_there_before(reader: Reader, tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.mkv", [page(("First", 40, 80), size=(320, 160))] * 100, fps=10)
    lines, broken = reader.read_clip(cut(whole, 0.6, tmp_path / "cut.mkv"))
    assert [found.line.text for found in lines] == ["First"]
    assert broken is not None
    assert "cut off" in str(broken)


def test_a_line_alone_is_read_without_looking_for_it(reader: Reader) -> None:
    (reading,) = reader.read([page(("KA 7351", 8, 36), size=(150, 48))], mode="rec-only")
    assert (reading.text, reading.lines[0].box) == ("KA 7351", (0, 0, 150, 48))


def test_of_a_plate_only_its_own_line_is_read_in_its_alphabet(reader: Reader) -> None:
    plate = np.full((160, 320, 3), 225, np.uint8)
    cv2.putText(plate, "California", (100, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 1)
    cv2.putText(plate, "KA7351", (50, 100), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (20, 20, 20), 4)
    assert texts(reader.read([plate], mode="plate")) == [["KA7351"]]


def test_a_whole_plate_is_read_as_one(reader: Reader) -> None:
    plate = np.full((60, 240, 3), 235, np.uint8)
    cv2.putText(plate, "KA 7351", (24, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    assert texts(reader.read([plate], "whole-plate")) == [["KA7351"]]


def test_one_call_may_wish_for_more_than_a_mode_says(reader: Reader) -> None:
    over = np.rot90(page(("Turned over", 40, 110)), 2)
    assert texts(reader.read([over], ReadOptions(upside_down=True))) == [["Turned over"]]
    assert texts(reader.read([over])) != [["Turned over"]]
    assert texts(reader.read([INK], ReadOptions(min_confidence=1.01))) == [[]]


def test_a_mode_that_is_none_is_refused(reader: Reader) -> None:
    with pytest.raises(InvalidInput, match=r"mode: 'plates' is none of det-rec, rec-only, plate"):
        reader.read([INK], mode="plates")


def test_many_pictures_of_several_sizes_keep_their_order(reader: Reader) -> None:
    lines = [page((f"KA {n}X", 8, 36), size=(130 + 8 * (n % 3), 48)) for n in range(AT_A_TIME + 3)]
    assert texts(reader.read(lines, "rec-only")) == [[f"KA {n}X"] for n in range(len(lines))]


@pytest.mark.parametrize(("size", "most"), [((32, 32), AT_A_TIME), ((3000, 6000), 2)], ids=["small", "large"])
def test_only_a_few_pictures_are_taken_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], most: int
) -> None:
    taken: list[int] = []
    read: list[int] = []

    def pictures() -> Iterator[Pixels]:
        for number in range(most + 1):
            taken.append(number)
            yield np.zeros((*size, 3), np.uint8)

    def instead(_engine: object, some: list[Pixels], *_: object) -> list[Pixels]:
        read.append(len(taken))
        return some

    monkeypatch.setattr(module, "read", instead)
    _, reader = stuck()
    assert len(reader.read(pictures())) == most + 1
    assert read == [most, most + 1]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (b"nothing", r"pictures\[1\] is none of JPEG"),
        (np.zeros((20, 30), np.uint8), r"pictures\[1\] must be RGB .* got uint8 \(20, 30\)"),
        (np.zeros((20, 30, 3), np.float32), r"pictures\[1\] must be RGB .* got float32"),
        (np.zeros((0, 30, 3), np.uint8), r"pictures\[1\] must be RGB"),
        (Image.open(io.BytesIO(encoded(INK)[:-900])), r"pictures\[1\] (cannot be read|is damaged)"),
        (None, r"pictures\[1\] is of type NoneType"),
    ],
    ids=["bytes", "grey", "floats", "empty", "truncated", "none"],
)
def test_a_picture_that_is_none_is_named_by_its_place(reader: Reader, bad: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        reader.read([INK, bad, INK])


def test_a_file_that_is_no_picture_is_named_by_its_path(reader: Reader, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match=r"bad\.jpg"):
        reader.read([INK, bad])


def test_a_picture_longer_than_can_be_cut_is_refused(reader: Reader) -> None:
    with pytest.raises(TooLarge, match=r"pictures\[0\] is 40000x1"):
        reader.read([np.zeros((1, 40_000, 3), np.uint8)])


def test_one_picture_in_the_place_of_a_list_is_refused(reader: Reader) -> None:
    with pytest.raises(InvalidInput, match=r"read\(\[picture\]\)"):
        reader.read("page.png")


def test_an_answer_is_waited_for_as_long_as_the_caller_says() -> None:
    engine, reader = stuck()
    with pytest.raises(TimeoutError):
        reader.read([INK], timeout_s=0.05)
    assert all(reply.cancelled() for reply in engine.replies)


def test_tasks_read_what_a_thread_reads(reader: Reader) -> None:
    async def together() -> list[list[Reading]]:
        return await asyncio.gather(*(reader.aread([INK], mode) for mode in ("det-rec", "rec-only", "det-rec")))

    found, whole, again = asyncio.run(together())
    assert texts(found) == texts(again) == texts(reader.read([INK])) == [INVOICE_TEXTS]
    assert texts(whole) == texts(reader.read([INK], "rec-only"))


def test_what_a_cancelled_task_had_waiting_leaves_the_queue() -> None:
    engine, reader = stuck()

    async def cancelled() -> None:
        task = asyncio.create_task(reader.aread([INK, INK], timeout_s=2 * PATIENCE_S))
        assert await asyncio.to_thread(engine.asked.wait, PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(reply.cancelled() for reply in engine.replies)

    asyncio.run(cancelled())
    assert len(engine.replies) == 2


def test_a_bad_picture_fails_the_task_that_sent_it(reader: Reader) -> None:
    with pytest.raises(InvalidInput, match=r"pictures\[0\]"):
        asyncio.run(reader.aread([b"nothing"]))


class Closing:
    """An engine that notes that it was closed."""

    def __init__(self, *_: object) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_a_reader_closes_the_engine_that_it_made_and_no_other(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    made: list[Closing] = []

    def make(*_: object) -> Closing:
        made.append(Closing())
        return made[-1]

    async def in_a_task(reader: Reader) -> None:
        async with reader as entered:
            assert entered is reader

    monkeypatch.setattr(module, "PlateEngine", make)
    with Reader(make() if shared else None):  # type: ignore[arg-type]
        pass
    asyncio.run(in_a_task(Reader(make() if shared else None)))  # type: ignore[arg-type]
    assert [engine.closed for engine in made] == [not shared] * 2
