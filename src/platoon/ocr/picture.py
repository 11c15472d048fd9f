"""Still pictures from files and bytes, refused before they can do harm.

The size that a file declares is checked before a pixel is decoded, so a few bytes cannot ask for gigabytes. A
damaged or truncated file is an error, never a picture that is half grey.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from platoon.errors import InvalidInput, NotFound, TooLarge
from platoon.media.frame import Pixels

MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def load_picture(source: Path | str | bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The picture in a file or in the bytes of one, upright as its EXIF data say; of several the first.

    Raises:
        NotFound: there is no such file.
        TooLarge: it declares more than `max_pixels`.
        InvalidInput: it is none of `FORMATS`, damaged or truncated.
    """
    name = f"picture of {len(source)} bytes" if isinstance(source, bytes) else f"picture {source}"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                raise TooLarge(f"{name} is {picture.width}x{picture.height}, more than {max_pixels} pixels")
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except TooLarge:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"{name} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name} declares more than {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{name} is none of {', '.join(FORMATS)}") from error
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError, EOFError, IndexError, OverflowError) as error:  # what its decoders raise
        raise InvalidInput(f"{name} is damaged: {error}") from error
