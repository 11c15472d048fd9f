"""Bodies that no honest client sends, each the same for the same number: damaged, oversized, disguised, absurd."""

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from tests.drawn import document, encoded, endless_pdf, one_page_pdf, page, stream

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
WHOLE = {kind: encoded(page(("Ink", 4, 26), size=(64, 32)), kind) for kind in FORMATS}
DOCUMENT = document([page(("Ink", 4, 26), size=(64, 32))] * 2)
ABSURD: Sequence[Any] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, "", "x", "max", "NaN", "\u0000", "\U0001f600",
    [], {}, [1], {"a": 1}, "1", "true", [[]] * 9, "http://127.0.0.1:1/", "A" * 5000,
)  # fmt: skip
SECRET_PLACES = (
    "http://127.0.0.1:22/", "http://localhost/", "http://[::1]:80/", "http://0x7f000001/", "http://2130706433/",
    "http://127.1/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "file:///etc/passwd",
    "gopher://127.0.0.1/", "http://user:pass@127.0.0.1/", "HTTP://127.0.0.1/", "http://[", "https://", "//127.0.0.1/",
    "http://127.0.0.1:99999/", "http://127.0.0.1\\@x/", "http://\u2460/", "http:///x", "http://.", "http://..",
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """One call."""

    content: bytes
    kind: str = "application/json"
    path: str = "/ocr"


def bodies(n: int) -> list[Body]:
    """`n` of them, all families in turn."""
    return [FAMILIES[number % len(FAMILIES)](random.Random(number)) for number in range(n)]


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"edge", path: str = "/ocr") -> Body:
    """A multipart body of (head, content) pairs."""
    content = b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, head, data) for head, data in parts)
    return Body(content + b"--%s--\r\n" % boundary, f"multipart/form-data; boundary={boundary.decode()}", path)


def file(name: bytes, content: bytes) -> tuple[bytes, bytes]:
    """A part that is a file."""
    return b'Content-Disposition: form-data; name="%s"; filename="a"' % name, content


def picture(chance: random.Random, content: bytes) -> Body:
    """A picture in one of the contracts."""
    contract = chance.randrange(4)
    if contract == 0:
        return form(file(b"image", content))
    if contract == 1:
        return form(file(b"file", content))
    if contract == 2:
        return form(*[file(b"images", content)] * chance.randint(1, 3), path="/ocr/batch")
    return call(file=base64.b64encode(content).decode())


def call(**fields: Any) -> Body:
    """A PaddleX call."""
    return Body(json.dumps(fields).encode())


def truncated(chance: random.Random) -> Body:
    whole = WHOLE[chance.choice(FORMATS)]
    return picture(chance, whole[: chance.randrange(len(whole))])


def damaged(chance: random.Random) -> Body:
    whole = bytearray(WHOLE[chance.choice(FORMATS)])
    for _ in range(chance.randint(1, 20)):
        whole[chance.randrange(len(whole))] = chance.randrange(256)
    return picture(chance, bytes(whole))


def damaged_document(chance: random.Random) -> Body:
    whole = bytearray(chance.choice((DOCUMENT, document([page(size=(64, 32))] * 2, "TIFF"))))
    for _ in range(chance.randint(1, 30)):
        whole[chance.randrange(len(whole))] = chance.randrange(256)
    data = bytes(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
    return call(file=base64.b64encode(data).decode(), fileType=chance.choice((0, 1, None)))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb(chance: random.Random) -> Body:
    zeros = zlib.compress(bytes(3_000_000), 9)
    kind = chance.randrange(8)
    if kind == 0:
        return picture(chance, png(chance.choice((2**31 - 1, 60_000, 32_767)), 60_000, zeros))
    if kind == 1:
        return picture(chance, png(1000, 999, zeros))  # within the limits, and nothing but zeros
    if kind == 2:
        return picture(chance, png(64, 32, zeros, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000), 9))))
    if kind == 3:
        return picture(chance, png(64, 32, zeros, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000), 9))))
    if kind == 4:
        return call(file=base64.b64encode(endless_pdf()).decode())
    if kind == 5:
        box = chance.choice(
            (b"[0 0 1e9 1e9]", b"[0 0 90000 1]", b"[0 0 0 0]", b"[1 2]", b"[0 0 -5 5]", b"[/a /b /c /d]")
        )
        return call(file=base64.b64encode(one_page_pdf(box)).decode())
    if kind == 6:
        pages = DOCUMENT.replace(b"/Count 2", b"/Count 999999999")
        return call(file=base64.b64encode(pages).decode())
    size = b"/Type/XObject/Subtype/Image/Width 20000/Height 20000/BitsPerComponent 8/ColorSpace/DeviceRGB"
    image = one_page_pdf(
        b"[0 0 99 99]", b"99 0 0 99 0 0 cm /F Do", b"/XObject<</F 5 0 R>>", stream(zeros, size + b"/Filter/FlateDecode")
    )
    return call(file=base64.b64encode(image).decode())


def polyglot(chance: random.Random) -> Body:
    parts = [
        *WHOLE.values(),
        DOCUMENT,
        b"PK\x03\x04" + bytes(40),
        b"<html><script>1</script>",
        b"GIF89a/*",
        b"#!/bin/sh\n",
    ]
    return picture(chance, b"".join(chance.sample(parts, chance.randint(2, 4))))


def self_referring_tiff(chance: random.Random) -> Body:
    tiff = bytearray(document([page(size=(64, 32))] * 3, "TIFF"))
    (first,) = struct.unpack_from("<I", tiff, 4)
    (entries,) = struct.unpack_from("<H", tiff, first)
    struct.pack_into("<I", tiff, first + 2 + 12 * entries, chance.choice((first, 0, 2**31, len(tiff) - 4)))
    return call(file=base64.b64encode(bytes(tiff)).decode())


def odd_modes(chance: random.Random) -> Body:
    mode = chance.choice(("1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16", "RGBX"))
    size = chance.choice(((1, 1), (1, 3000), (3000, 1), (2, 2), (33, 7)))
    for kind in chance.sample(FORMATS, len(FORMATS)):
        buffer = io.BytesIO()
        try:
            Image.new(mode, size).save(buffer, kind)
        except (OSError, KeyError, ValueError):
            continue
        return picture(chance, buffer.getvalue())
    return picture(chance, b"")


def absurd_options(chance: random.Random) -> Body:
    names = (
        "file", "fileType", "useDocOrientationClassify", "useDocUnwarping", "useTextlineOrientation",
        "textDetLimitSideLen", "textDetLimitType", "textDetThresh", "textDetBoxThresh", "textDetUnclipRatio",
        "textRecScoreThresh", "returnWordBox", "visualize", "logId", "__proto__", "",
    )  # fmt: skip
    fields = {name: chance.choice(ABSURD) for name in chance.sample(names, chance.randint(1, 8))}
    if chance.random() < 0.7:
        fields["file"] = base64.b64encode(WHOLE["PNG"]).decode()
    return call(**fields)


def no_json(chance: random.Random) -> Body:
    file_field = b'"file":"%s"' % base64.b64encode(WHOLE["PNG"])
    return Body(
        chance.choice(
            (
                b"", b"{", b"null", b"[]", b'"a"', b"\xff\xfe{}", b"\x00", b"{" + file_field, b"{%s,}" % file_field,
                b'{%s,"textDetThresh":NaN}' % file_field, b'{%s,"textDetThresh":-Infinity}' % file_field,
                b'{%s,"textDetThresh":1e99999}' % file_field, b'{%s,"logId":"\\ud800"}' % file_field,
                b"[" * 200_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000,
                b'{"file":' + b"9" * 100_000 + b"}",
                b'{%s,"x":"%s"}' % (file_field, b"\\u0000" * 1000), b"{%s}" % b",".join([file_field] * 50),
                b'{"file":"' + b"A" * 3_000_000 + b'"}', b'{"file":"%s"}' % base64.b64encode(bytes(2_000_000)),
                b'{"file":"' + b"=" * 99 + b'"}', b"\xef\xbb\xbf{%s}" % file_field,
            )
        ),
        chance.choice(("application/json", "application/JSON; charset=utf-16", "application/vnd.api+json")),
    )  # fmt: skip


def no_form(chance: random.Random) -> Body:
    image = file(b"image", WHOLE["PNG"])
    whole = form(image).content
    kind = "multipart/form-data; boundary=edge"
    variants = (
        Body(whole, "multipart/form-data"),
        Body(whole, "multipart/form-data; boundary="),
        Body(whole, "multipart/form-data; boundary=other"),
        Body(whole, 'multipart/form-data; boundary="ed\\"ge"'),
        Body(whole, "multipart/form-data; boundary=" + "x" * 5000),
        Body(whole, "multipart/form-data; charset=none; boundary=edge"),
        Body(whole, "multipart/mixed; boundary=edge"),
        Body(whole[: chance.randrange(len(whole))], kind),
        Body(whole.replace(b"--edge--", b""), kind),
        Body(whole.replace(b"\r\n", b"\n"), kind),
        Body(whole + whole, kind),
        Body(b"\r\n" * 5000, kind),
        Body(b"--edge\r\n" * 5000, kind),
        Body(b"--edge\r\n" + b"X: y\r\n" * 5000 + b"\r\n", kind),
        Body(b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--", kind),
        Body(b"", kind),
        form(*[image] * 200),
        form(*[(b'Content-Disposition: form-data; name="a%d"' % n, b"x") for n in range(500)]),
        form((b'Content-Disposition: form-data; name="image"', WHOLE["PNG"])),
        form((b'Content-Disposition: form-data; name="image"', b"x" * 200_000)),
        form(image, (b'Content-Disposition: form-data; name="mode"', b"\xff\x00plate")),
        form(image, file(b"mode", b"plate")),
        form(image, file(b"lang", b"en"), path="/ocr/batch"),
        form(file(b"images", b""), file(b"image", b""), path="/ocr/batch"),
        form((b'Content-Disposition: form-data; name="image\x00"; filename="../../etc/passwd"', WHOLE["PNG"])),
        form((b"Content-Disposition: form-data; name=image; filename*=UTF-8''%ff%00", WHOLE["PNG"])),
        form(
            (b'Content-Disposition: form-data; name="image"; filename="a"\r\nContent-Transfer-Encoding: base64', b"AA")
        ),
        Body(whole, "image/png"),
        Body(whole, "application/x-www-form-urlencoded"),
        Body(whole, "\u00e4".encode().decode("latin-1")),
    )
    return chance.choice(variants)


def server_side_requests(chance: random.Random) -> Body:
    return call(file=chance.choice(SECRET_PLACES), fileType=chance.choice((0, 1, None)))


def noise(chance: random.Random) -> Body:
    return Body(
        chance.randbytes(chance.randrange(5000)),
        chance.choice(("application/json", "multipart/form-data; boundary=edge", "text/plain", "")),
        chance.choice(("/ocr", "/ocr/batch")),
    )


FAMILIES: Sequence[Callable[[random.Random], Body]] = (
    truncated, damaged, damaged_document, bomb, polyglot, self_referring_tiff, odd_modes, absurd_options, no_json,
    no_form, server_side_requests, noise,
)  # fmt: skip
