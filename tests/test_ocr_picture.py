import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from platoon.errors import InvalidInput, MissingExtra, NotFound, PlatoonError, TooLarge
from platoon.ocr.picture import load_picture, picture_size
from platoon.ocr.picture_process import FORMATS

COLOURS = np.zeros((40, 60, 3), np.uint8)
COLOURS[:20] = (250, 10, 20)
COLOURS[20:, :30] = (5, 240, 15)


def encoded(kind: str, pixels: Any = COLOURS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_gives_rgb(kind: str) -> None:
    picture = load_picture(encoded(kind))
    assert (picture.dtype.name, picture.shape) == ("uint8", (40, 60, 3))
    assert np.abs(picture[5, 5].astype(int) - (250, 10, 20)).max() < 24
    assert np.abs(picture[35, 5].astype(int) - (5, 240, 15)).max() < 24


def test_a_file_gives_what_its_bytes_give(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(encoded("PNG"))
    np.testing.assert_array_equal(load_picture(file), COLOURS)
    np.testing.assert_array_equal(load_picture(str(file)), COLOURS)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_pictures_that_are_not_rgb_are_made_so(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (60, 40), 1).save(buffer, "PNG")
    assert load_picture(buffer.getvalue()).shape == (40, 60, 3)


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    picture = load_picture(encoded("JPEG", exif=exif, quality=95))
    assert picture.shape == (60, 40, 3)
    assert picture[5, 35, 0] > 200  # red, which was at the top, is on the right


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.jpg does not exist"):
        load_picture(tmp_path / "nothing.jpg")


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_picture(tmp_path)


@pytest.mark.parametrize("size", [(9000, 9000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_huge_picture_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match="pixels"):
        load_picture(png_header(*size))


def test_the_limit_is_the_callers() -> None:
    assert load_picture(encoded("PNG"), max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(TooLarge, match="60x40, more than 2399 pixels"):
        load_picture(encoded("PNG"), max_pixels=2399)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=f"picture of {len(content)} bytes"):
        load_picture(content)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_picture_is_an_error_and_not_half_grey(kind: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(kind, noise)
    with pytest.raises(InvalidInput):
        load_picture(whole[: len(whole) // 2])


@pytest.mark.filterwarnings("ignore::UserWarning")  # of odd tags, which do no harm
@pytest.mark.parametrize("kind", FORMATS)
def test_damage_anywhere_raises_nothing_but_our_errors(kind: str) -> None:
    whole = np.frombuffer(encoded(kind), np.uint8)
    random = np.random.default_rng(11)
    for _ in range(8 if kind in ("TIFF", "GIF") else 150):  # these take a process each
        damaged = whole.copy()
        spots = random.integers(0, len(whole), random.integers(1, 12))
        damaged[spots] = random.integers(0, 256, len(spots))
        try:
            picture = load_picture(damaged.tobytes(), max_pixels=1_000_000)
        except PlatoonError:
            continue
        assert picture.ndim == 3


@pytest.mark.parametrize("size", [(32_767, 4), (4, 32_767)])
def test_a_picture_too_long_to_be_cut_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match="longer than 32766"):
        load_picture(png_header(*size))


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    whole = encoded("JPEG", progressive=True)
    assert load_picture(whole).shape == (40, 60, 3)
    last = whole.rindex(b"\xff\xda")
    endless = whole[:-2] + whole[last:-2] * 200 + whole[-2:]
    with pytest.raises(InvalidInput, match="more than 100 scans"):
        load_picture(endless)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_size_is_known_without_decoding(kind: str) -> None:
    assert picture_size(encoded(kind)) == (60, 40)
    with pytest.raises(TooLarge):
        picture_size(encoded(kind), max_pixels=100)


def heic(picture: np.ndarray) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture)).save(buffer, quality=90)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_heic_is_read_where_its_library_is_installed(tmp_path: Path) -> None:
    data = heic(np.full((40, 60, 3), (200, 30, 40), np.uint8))
    (tmp_path / "phone.heic").write_bytes(data)
    for source in (data, tmp_path / "phone.heic"):
        picture = load_picture(source)
        assert picture.shape == (40, 60, 3)
        assert np.abs(picture.astype(int) - (200, 30, 40)).max() < 20
    with pytest.raises(TooLarge):
        load_picture(data, max_pixels=2399)
    with pytest.raises(InvalidInput):
        load_picture(data[: len(data) // 2])


def test_heic_without_its_library_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtra, match=r"platoon\[heic\]"):
        load_picture(b"\0\0\0\x1cftypheic" + b"\0" * 20)


def slope(*, progressive: bool = False, restart: int = 0, size: tuple[int, int] = (150, 90)) -> bytes:
    """A JPEG whose every row and column differ, without an end marker."""
    down, across = np.mgrid[: size[1], : size[0]]
    rgb = np.stack([down * 255 // size[1], across * 255 // size[0], (down + across) % 256], axis=2).astype(np.uint8)
    options = {"restart_marker_blocks": restart} if restart else {}
    whole = encoded("JPEG", rgb, quality=90, progressive=progressive, **options)
    assert whole.endswith(b"\xff\xd9")
    return whole[:-2]


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 700, b"made by CAM-7"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart", [0, 4])
def test_a_jpeg_that_misses_only_its_end_marker_is_whole(tail: bytes, progressive: bool, restart: int) -> None:
    cut_off = slope(progressive=progressive, restart=restart)
    np.testing.assert_array_equal(load_picture(cut_off + tail), load_picture(cut_off + b"\xff\xd9"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [12, 60, 400, 1500])
def test_a_jpeg_that_misses_pixels_too_is_an_error(missing: int, progressive: bool) -> None:
    with pytest.raises(InvalidInput, match=r"(?i)truncated"):
        load_picture(slope(progressive=progressive)[:-missing])


def test_a_jpeg_within_a_larger_one_does_not_end_it() -> None:
    """As thumbnails in EXIF data are, and what phones put behind their pictures."""
    whole = slope() + b"\xff\xd9"
    thumbnail = slope(size=(32, 32)) + b"\xff\xd9"
    segment = b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    for data in (with_thumbnail, with_thumbnail[:-2], whole + thumbnail):
        np.testing.assert_array_equal(load_picture(data), load_picture(whole))


SHADES = np.linspace(0.02, 0.98, 256 * 64).reshape(64, 256)


def grey(kind: str, array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_is_as_the_same_picture_of_eight_bits(kind: str, bits: int) -> None:
    deep = np.round(SHADES * (2**bits - 1)).astype(np.uint16)
    picture = load_picture(grey(kind, deep))
    expected = np.round(SHADES * 255)
    assert np.abs(picture.astype(float) - expected[..., None]).max() <= 1.5


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (SHADES.astype(np.float32), SHADES),
        ((SHADES * 255).astype(np.float32), SHADES),
        ((SHADES * 4000 - 700).astype(np.float32), (SHADES - SHADES.min()) / np.ptp(SHADES)),
        ((SHADES * 65535).astype(np.int32), SHADES),
        ((SHADES * 2e9).astype(np.int32), (SHADES - SHADES.min()) / np.ptp(SHADES)),
        ((SHADES * 2e6 - 1e6).astype(np.int32), (SHADES - SHADES.min()) / np.ptp(SHADES)),
        (np.zeros((64, 256), np.float32), np.zeros((64, 256))),
        (np.full((64, 256), 7e6, np.float32), np.zeros((64, 256))),
    ],
)
def test_floats_and_large_numbers_are_spread_over_eight_bits(array: np.ndarray, shown: np.ndarray) -> None:
    picture = load_picture(grey("TIFF", array))
    assert np.abs(picture.astype(float) - shown[..., None] * 255).max() <= 1.5


def test_big_endian_grey_is_read_too() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.round(SHADES * 65535).astype(">u2")).save(buffer, "TIFF")
    assert np.abs(load_picture(buffer.getvalue()).astype(float) - SHADES[..., None] * 255).max() <= 1.5


def test_grey_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no numbers"):
        load_picture(grey("TIFF", np.full((8, 8), np.nan, np.float32)))
