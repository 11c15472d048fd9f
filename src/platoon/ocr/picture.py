"""Still pictures from files and bytes, refused before they can do harm.

What a file is, its content says. The size that it declares is checked before a pixel is decoded, so a few bytes cannot
ask for gigabytes. Plain JPEG, PNG, WebP and BMP, whose cost their size bounds, are decoded right here; all others, and
those with parts that may hold anything, in a process that is killed when it takes too much (`picture_process`). A
damaged or truncated file is an error, never a picture that is half grey; but of a JPEG that misses only its end marker
every pixel is there.
"""

from __future__ import annotations

import importlib.util
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from platoon.errors import DeadlineExceeded, InvalidInput, MissingExtra
from platoon.media.frame import Pixels
from platoon.ocr.picture_process import FORMATS, MAX_SCANS, ONLY_THE_FIRST, PROGRAM, density, reading, upright
from platoon.ocr.sheets import Sheet, Sheets, check_size

MAX_PIXELS = 64_000_000
HEIF = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
"""What HEIC pictures, as phones make them, begin with. They are read where `pillow-heif` is installed."""
DECODE_S = 30.0
"""No picture may take longer to be decoded."""

_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_FRAME_MARKERS = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive."""
_JPEG_END = b"\xff\xd9"
_MOST_SEGMENTS = 256
"""Of a JPEG before its first scan."""
_MOST_ANCILLARY = 1 << 16
"""Bytes of a PNG's chunks that are no pixels: they unpack to a thousand times as many."""
_PIXEL_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"tRNS"))

PROCESSES = 4
"""That decode at once, for the machine's memory, whoever asks."""
_processes = threading.BoundedSemaphore(PROCESSES)


def load_picture(
    source: Path | str | bytes, *, name: str = "", max_pixels: int = MAX_PIXELS, most_s: float = DECODE_S
) -> Pixels:
    """The picture in a file or in the bytes of one, upright as its EXIF data say; of several the first.

    Args:
        name: what errors call it; none: they say its path or its length.
        most_s: how long it may take at most.

    Raises:
        NotFound: there is no such file.
        TooLarge: it declares more than `max_pixels`, or a side longer than `sheets.MAX_SIDE`.
        InvalidInput: it is none of `FORMATS`, damaged or truncated.
        DeadlineExceeded: it took too long.
        MissingExtra: it is HEIC, and what reads that is not installed.
    """
    return load_sheet(source, name=name, max_pixels=max_pixels, most_s=most_s).picture


def load_sheet(
    source: Path | str | bytes, *, name: str = "", max_pixels: int = MAX_PIXELS, most_s: float = DECODE_S
) -> Sheet:
    """As `load_picture`, with its scale."""
    data, name = _bytes_of(source, name)
    if is_plain(data):
        with _opened(data, name, max_pixels) as picture:
            if picture.format != "JPEG" or _has_end(data):
                return Sheet(as_pixels(picture), density(picture))
        with reading(name):
            data = _ended(data)
        with _opened(data, name, max_pixels) as picture:
            return Sheet(as_pixels(picture), density(picture))
    with _opened_apart(data, name, max_pixels, most_s) as sheets:
        (sheet,) = sheets.draw([0])
    if isinstance(sheet, Sheet):
        return sheet
    raise sheet


def picture_size(
    source: Path | str | bytes, *, name: str = "", max_pixels: int = MAX_PIXELS, most_s: float = DECODE_S
) -> tuple[int, int]:
    """(width, height) that a picture declares, before turning it upright; nothing is decoded.

    Raises as `load_picture`, though what is damaged further on goes unnoticed.
    """
    data, name = _bytes_of(source, name)
    if is_plain(data):
        with _opened(data, name, max_pixels) as picture:
            return picture.width, picture.height
    with _opened_apart(data, name, max_pixels, most_s) as sheets:
        ((width, height),) = sheets.sizes
    check_size(name, width, height, max_pixels)
    return width, height


def as_pixels(picture: Image.Image) -> Pixels:
    """The frame that `picture` is at, upright."""
    return np.array(upright(picture))


def is_plain(data: bytes) -> bool:
    """Whether the size that a picture declares bounds what it costs to decode it, in memory and time."""
    match kind_of_picture(data):
        case "JPEG":
            return _is_plain_jpeg(data)
        case "PNG":
            return _is_plain_png(data)
        case "WEBP":
            return data[12:16] in (b"VP8 ", b"VP8L")
        case "BMP":
            return len(data) >= 34 and int.from_bytes(data[30:34], "little") in (0, 3)  # not run-length coded
    return False


def kind_of_picture(data: bytes) -> str | None:
    """One of `FORMATS`, or HEIF, by its first bytes; none: something else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and data[8:12] in HEIF:
        return "HEIF"
    return next((kind for begin, kind in _BEGINNINGS.items() if data.startswith(begin)), None)


def may_hold_several(data: bytes) -> bool:
    """Whether a picture is a TIFF, or an animation by its header."""
    match kind_of_picture(data):
        case "TIFF" | "GIF":
            return True
        case "PNG":
            return 0 < data.find(b"acTL", 8) < data.find(b"IDAT", 8)
        case "WEBP":
            return data[12:16] == b"VP8X" and bool(data[20] & 2)
    return False


def is_motion_jpeg(data: bytes) -> bool:
    """Whether a file that begins so is a video of JPEGs: behind the first comes another one of the same size.

    Phones put smaller ones behind their pictures, or say in these that there are more.
    """
    first = _jpeg_head(data, 0)
    if first is None or first.names_others:
        return False
    end = data.find(_JPEG_END, first.scan)
    after = end + 2
    while data[after : after + 1] in (b"\0", b"\r", b"\n"):
        after += 1
    second = _jpeg_head(data, after) if end > 0 else None
    return second is not None and second.size == first.size


class _JpegHead(NamedTuple):
    """What stands before the first scan of a JPEG."""

    size: tuple[int, int]
    scan: int
    """Where that begins."""
    names_others: bool
    """Whether it has a list of pictures behind it (multi-picture format)."""


def _jpeg_head(data: bytes, start: int) -> _JpegHead | None:
    """Of the JPEG that begins there; none: none does, or it is not all there."""
    if not data.startswith(b"\xff\xd8\xff", start):
        return None
    at, size, names_others = start + 2, None, False
    for _ in range(_MOST_SEGMENTS):
        head = data[at : at + 9]
        if len(head) < 9 or head[0] != 0xFF:
            return None
        if head[1] == 0xDA:
            return _JpegHead(size, at, names_others) if size is not None else None
        if head[1] in _FRAME_MARKERS:
            size = int.from_bytes(head[7:9], "big"), int.from_bytes(head[5:7], "big")
        names_others |= head[1] == 0xE2 and head[4:8] == b"MPF\0"
        at += 2 + int.from_bytes(head[2:4], "big")
    return None


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether what stands before the first scan is short. Where it is damaged, it is for the decoder to say so."""
    at, has_exif = 2, False
    for _ in range(_MOST_SEGMENTS):
        head = data[at : at + 4]
        if len(head) < 4 or head[1] == 0xDA:
            return True
        if head[0] != 0xFF or head[1] in (0x00, 0xFF):
            return False
        length = int.from_bytes(head[2:], "big")
        if head[1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            if has_exif:  # Pillow joins them, and each tag may claim all as its value
                return False
            has_exif = True
        at += 2 + length
    return False


def _is_plain_png(data: bytes) -> bool:
    """Whether its chunks are as long as encoders make them, and hold hardly anything but pixels."""
    at, ancillary = 8, 0
    for _ in range(64 + len(data) // 1024):
        head = data[at : at + 8]
        if len(head) < 8 or head[4:] == b"IEND":
            return ancillary <= _MOST_ANCILLARY
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return False
        if head[4:] not in _PIXEL_CHUNKS:
            ancillary += length
        at += 12 + length
    return False


def _has_end(jpeg: bytes) -> bool:
    """Whether an end marker follows its last scan: in coded data FF is followed by 00 or a restart marker."""
    return jpeg.rfind(_JPEG_END) > jpeg.rfind(b"\xff\xda")


def _ended(jpeg: bytes) -> bytes:
    """A JPEG without its end marker with one, if nothing else is missing; otherwise as it is.

    A decoder makes up pixels that are missing out of whatever comes next; so it is given two ends. What gives the same
    picture with both misses none. Of a progressive one, whose scans refine each other, the last must be there.
    """
    scan = jpeg.rfind(b"\xff\xda")
    last = jpeg[scan + 4 : scan + 4 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big") - 2]
    if len(last) < 6 or last[-1] & 15:  # its scan leaves bits to later ones
        return jpeg
    coded = jpeg.rstrip(b"\xff")
    pixels = []
    for follows in (b"", b"\x55" * 64, b"\xaa" * 64):
        with JpegImageFile(io.BytesIO(coded + follows + _JPEG_END)) as picture:
            pixels.append(picture.tobytes())
    return coded + _JPEG_END if pixels[0] == pixels[1] == pixels[2] else jpeg


def _bytes_of(source: Path | str | bytes, name: str) -> tuple[bytes, str]:
    """The content, and what it is called."""
    if isinstance(source, bytes):
        return source, name or f"picture of {len(source)} bytes"
    name = name or f"picture {source}"
    with reading(name):
        return Path(source).read_bytes(), name


@contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """A plain picture, not decoded yet."""
    with reading(name), _open(data) as picture:
        check_size(name, picture.width, picture.height, max_pixels)
        # In coded data the byte FF is followed by 00 or a restart marker, so this counts scans and nothing else.
        if picture.format == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
            raise InvalidInput(f"{name} is a JPEG of more than {MAX_SCANS} scans")
        yield picture


def _open(data: bytes) -> Image.Image:
    """By its content: Pillow would take a JPEG for an MPO, a format of several pictures, where it says so."""
    kind = kind_of_picture(data)
    assert kind is not None
    return JpegImageFile(io.BytesIO(data)) if kind == "JPEG" else Image.open(io.BytesIO(data), formats=(kind,))


@contextmanager
def _opened_apart(data: bytes, name: str, max_pixels: int, most_s: float) -> Iterator[Sheets]:
    """The first picture in a file, in a process of its own."""
    kind = kind_of_picture(data)
    if kind is None:
        raise InvalidInput(f"{name} is none of {', '.join(FORMATS)}")
    if kind == "HEIF" and not _can_read_heif():
        raise MissingExtra.of("reading HEIC pictures", "heic")
    if not _processes.acquire(timeout=most_s):
        raise DeadlineExceeded(f"{name} waited for longer than {most_s:g} s to be decoded")
    try:
        with Sheets(data, PROGRAM, name, max_pages=ONLY_THE_FIRST, max_pixels=max_pixels, page_s=most_s) as sheets:
            yield sheets
    finally:
        _processes.release()


def _can_read_heif() -> bool:
    try:
        return importlib.util.find_spec("pillow_heif") is not None
    except ValueError:  # it was made unavailable
        return False
