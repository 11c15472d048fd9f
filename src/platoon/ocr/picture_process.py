"""The process that decodes one picture, or the pages of one TIFF; see `confined`. It speaks as `pdf_process` does, and
gives no text.

Whoever imports it gets what is the same for pictures that are decoded here and there.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageSequence, UnidentifiedImageError

from platoon.errors import InvalidInput, NotFound, PlatoonError, TooLarge
from platoon.ocr.confined import allow, confine, reply

PROGRAM = "platoon.ocr.picture_process"
ONLY_THE_FIRST = 0
"""As the number of most pages: however many there are."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MEMORY_BYTES = 3 << 29
"""Enough for 64 megapixels with an alpha channel, and their copy in RGB."""
MAX_SCANS = 100
"""Of a JPEG. Each scan passes over the whole picture: thousands fit into a small file and take hours. Encoders
write about ten."""
ANIMATED = frozenset(("GIF", "PNG", "WEBP"))
"""Formats of `FORMATS` that may hold several pictures in the place of one."""
_DEEP = frozenset(("I", "F", "I;16", "I;16B", "I;16L", "I;16N"))
"""Pillow's modes of one channel with more than eight bits."""
_MOST_GREY = 65535
_ROWS = 256
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def main(arguments: list[str]) -> int:
    """Arguments: descriptor of the file, most pages or `ONLY_THE_FIRST`, most seconds of processor time for each."""
    file, max_pages, page_s = map(int, arguments)
    confine(MEMORY_BYTES)
    Image.MAX_IMAGE_PIXELS = None  # whoever gets the sizes decides
    out = sys.stdout.buffer
    try:
        with open(file, "rb") as picture:  # noqa: PTH123 (a descriptor has no path)
            serve(picture, sys.stdin.buffer, out, max_pages=max_pages, page_s=page_s)
    except PlatoonError as error:
        reply(out, {"error": str(error).strip()})
    except BrokenPipeError:
        return 0  # nobody wants the rest
    return 0


def serve(file: BinaryIO, requests: BinaryIO, out: BinaryIO, *, max_pages: int, page_s: int) -> None:
    """Answer requests for pages of the picture in `file` until there are no more."""
    allow(page_s)
    with reading(""), _open(file) as picture:
        frames = sizes_of(picture, max_pages + 1)
        if len(frames) > max_pages != ONLY_THE_FIRST:
            raise InvalidInput(f"has more than {max_pages} pages")
        reply(out, {"sizes": frames})
        for line in requests:
            index, _ = json.loads(line)
            allow(page_s)
            try:
                with reading(""):
                    if len(frames) > 1:
                        picture.seek(index)
                    drawn = upright(picture)
                    scale = density(picture)
            except PlatoonError as error:
                reply(out, {"error": str(error).strip()})
                continue
            reply(out, {"size": drawn.size, "stride": 3 * drawn.width, "scale": scale})
            out.writelines(
                drawn.crop((0, top, drawn.width, min(top + _ROWS, drawn.height))).tobytes()
                for top in range(0, drawn.height, _ROWS)
            )
            out.flush()


def sizes_of(picture: Image.Image, most: int) -> list[tuple[int, int]]:
    """(width, height) of the first pages of a TIFF, or of the first pictures of an animation, which have one size."""
    if picture.format == "TIFF":
        return [frame.size for frame, _ in zip(ImageSequence.Iterator(picture), range(most), strict=False)]
    return [picture.size] * (min(getattr(picture, "n_frames", 1), most) if picture.format in ANIMATED else 1)


def upright(picture: Image.Image) -> Image.Image:
    """The frame that `picture` is at, in RGB and upright as its EXIF data say."""
    turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
    rgb = (_eight_bits(picture) if picture.mode in _DEEP else picture).convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or of floats, with the whole range that it uses: what would be clipped at 255 else.

    Whole numbers have as many bits as the largest takes, as cameras of 10, 12 or 14 bits write them. Floats are shares
    of 1, or levels up to 255. Whatever lies beyond is spread between its least and its largest value.
    """
    grey = picture if picture.mode in ("I", "F") else picture.convert("I")
    least, largest = (float(end) for end in grey.getextrema())  # type: ignore[arg-type]  # it has one channel
    if not (math.isfinite(least) and math.isfinite(largest)):
        raise InvalidInput("has grey values that are no numbers")
    start, span = min(least, 0.0), 255.0
    if grey.mode == "F" and least >= 0 and largest <= 1:
        span = 1.0
    elif least < 0 or largest > _MOST_GREY or (grey.mode == "F" and largest > span):
        start, span = least, largest - least
    elif largest > span:
        span = 2.0 ** int(largest).bit_length() - 1
    scale = 255.0 / (span or 1.0)
    return grey.convert("F").point(lambda value: value * scale - start * scale).convert("L")


def density(picture: Image.Image) -> float:
    """Pixels per point (1/72 inch), as its file says; 1 where it says none that scanners and cameras have."""
    dots_per_inch = picture.info.get("dpi", (72,))[0]
    return float(dots_per_inch) / 72 if 50 <= dots_per_inch <= 2400 else 1.0


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what Pillow raises about a file into Platoon's errors."""
    try:
        yield
    except (PlatoonError, BrokenPipeError):
        raise
    except FileNotFoundError as error:
        raise NotFound(f"{name} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name} declares too many pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{name} is none of {', '.join(FORMATS)}, or damaged") from error
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InvalidInput(f"{name} takes too much memory") from error
    except (ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, TypeError, struct.error) as error:
        # What its decoders raise about damaged files.
        raise InvalidInput(f"{name} is damaged: {error}") from error


def _open(file: BinaryIO) -> Image.Image:
    begin = file.read(12)
    file.seek(0)
    if begin[4:8] == b"ftyp":
        from pillow_heif import HeifImageFile

        heif: Image.Image = HeifImageFile(file)
        return heif
    return Image.open(file, formats=FORMATS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
