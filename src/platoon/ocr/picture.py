"""Still pictures from files and bytes, refused before they can do harm.

The size that a file declares is checked before a pixel is decoded, so a few bytes cannot ask for gigabytes. A
damaged or truncated file is an error, never a picture that is half grey.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from platoon.errors import InvalidInput, MissingExtra, NotFound, PlatoonError, TooLarge
from platoon.media.frame import Pixels

MAX_PIXELS = 64_000_000
MAX_SIDE = 32_766
"""OpenCV cannot cut regions out of anything wider or higher."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
HEIF = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
"""What HEIC pictures, as phones make them, begin with. They are read where `pillow-heif` is installed."""
MAX_SCANS = 100
"""Of a JPEG. Each scan passes over the whole picture: thousands fit into a small file and take hours. Encoders
write about ten."""


def load_picture(source: Path | str | bytes, *, name: str = "", max_pixels: int = MAX_PIXELS) -> Pixels:
    """The picture in a file or in the bytes of one, upright as its EXIF data say; of several the first.

    Args:
        name: what errors call it; none: they say its path or its length.

    Raises:
        NotFound: there is no such file.
        TooLarge: it declares more than `max_pixels`, or a side longer than `MAX_SIDE`.
        InvalidInput: it is none of `FORMATS`, damaged or truncated.
        MissingExtra: it is HEIC, and what reads that is not installed.
    """
    with opened(source, name, max_pixels) as picture:
        return as_pixels(picture)


def picture_size(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) that a picture declares, before turning it upright; nothing is decoded.

    Raises as `load_picture`, though what is damaged further on goes unnoticed.
    """
    with opened(source, "", max_pixels) as picture:
        return picture.width, picture.height


def density(picture: Image.Image) -> float:
    """Pixels per point (1/72 inch), as its file says; 1 where it says none that scanners and cameras have."""
    dots_per_inch = picture.info.get("dpi", (72,))[0]
    return float(dots_per_inch) / 72 if 50 <= dots_per_inch <= 2400 else 1.0


def as_pixels(picture: Image.Image) -> Pixels:
    """The frame that `picture` is at, upright."""
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge where a picture of this size may not be decoded."""
    if width * height > max_pixels:
        raise TooLarge(f"{name} is {width}x{height}, more than {max_pixels} pixels")
    if max(width, height) > MAX_SIDE:
        raise TooLarge(f"{name} is {width}x{height}, longer than {MAX_SIDE} pixels")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what Pillow raises about a file into Platoon's errors."""
    try:
        yield
    except PlatoonError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"{name} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name} declares too many pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{name} is none of {', '.join(FORMATS)}") from error
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, TypeError, struct.error) as error:
        # What its decoders raise about damaged files.
        raise InvalidInput(f"{name} is damaged: {error}") from error


@contextmanager
def opened(source: Path | str | bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """The picture in a file or in the bytes of one, not decoded yet; raises as `load_picture`."""
    name = name or (f"picture of {len(source)} bytes" if isinstance(source, bytes) else f"picture {source}")
    with reading(name), _open(source) as picture:
        check_size(name, picture.width, picture.height, max_pixels)
        # In coded data the byte FF is followed by 00 or a restart marker, so this counts scans and nothing else.
        if picture.format == "JPEG" and isinstance(source, bytes) and source.count(b"\xff\xda") > MAX_SCANS:
            raise InvalidInput(f"{name} is a JPEG of more than {MAX_SCANS} scans")
        yield picture


def _open(source: Path | str | bytes) -> Image.Image:
    if isinstance(source, bytes):
        begin = source[:12]
    else:
        with Path(source).open("rb") as file:
            begin = file.read(12)
    data = io.BytesIO(source) if isinstance(source, bytes) else source
    if begin[4:8] != b"ftyp" or begin[8:] not in HEIF:
        return Image.open(data, formats=FORMATS)
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise MissingExtra.of("reading HEIC pictures", "heic") from None
    heif: Image.Image = HeifImageFile(data)
    return heif
