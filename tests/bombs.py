"""Small files that unpack to gigabytes or keep a decoder busy for minutes, made in no time."""

import io
import struct
import zlib

from PIL import Image

GIGABYTE = 1 << 30


def deflated(begin: bytes, n_zeros: int) -> bytes:
    """A zlib stream of `begin` and about so many zeros, which are never held unpacked."""
    block = 1 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    n_blocks = n_zeros // block
    low, high = (part % 65_521 for part in (zlib.adler32(begin) & 0xFFFF, zlib.adler32(begin) >> 16))
    high = (high + low * n_blocks * block) % 65_521
    return b"\x78\xda" + first + zeros * n_blocks + b"\x03\x00" + struct.pack(">I", high << 16 | low)


def pdf_of_objects_deflated_twice(n_bytes: int = 3 * GIGABYTE) -> bytes:
    """A few kilobytes of PDF, whose catalogue, pages and page stand in an object stream of so many bytes."""
    objects = (
        b"<</Type/Catalog/Pages 3 0 R>>",
        b"<</Type/Pages/Kids[5 0 R]/Count 1/MediaBox[0 0 99 99]>>",
        b"<</Type/Page/Parent 3 0 R>>",
    )
    places = [sum(map(len, objects[:index])) for index in range(len(objects))]
    index = b"2 %d 3 %d 5 %d " % tuple(places)
    packed = zlib.compress(deflated(index + b"".join(objects), n_bytes), 9)
    head = b"%PDF-1.5\n"
    keys = b"/Type/ObjStm/N 3/First %d/Length %d/Filter[/FlateDecode/FlateDecode]" % (len(index), len(packed))
    body = head + b"1 0 obj\n<<" + keys + b">>stream\n" + packed + b"\nendstream\nendobj\n"
    rows = [(0, 0, 65535), (1, len(head), 0), (2, 1, 0), (2, 1, 1), (1, len(body), 0), (2, 1, 2)]
    table = zlib.compress(b"".join(struct.pack(">BIH", *row) for row in rows))
    xref = b"4 0 obj\n<</Type/XRef/Size 6/W[1 4 2]/Root 2 0 R/Length %d/Filter/FlateDecode>>stream\n" % len(table)
    return body + xref + table + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF" % len(body)


def tags_that_overlap(n_tags: int, n_bytes: int, order: str = "<") -> bytes:
    """TIFF data of a picture of 4 x 4, each of whose further tags claims the same `n_bytes` as its value."""
    entries = [
        (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0), (277, 3, 1, 1),
        (278, 3, 1, 4), (279, 4, 1, 16),
    ]  # fmt: skip
    start = 8 + 2 + 12 * (len(entries) + n_tags) + 4
    entries += [(1000 + number, 1, n_bytes, start) for number in range(n_tags)]
    rows = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count) + struct.pack(f"{order}I" if kind != 3 else f"{order}Hxx", value)
        for tag, kind, count, value in sorted(entries)
    )
    directory = struct.pack(f"{order}H", len(entries)) + rows + bytes(4)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + directory + bytes(n_bytes)


def exif_of(tiff: bytes, jpeg: bytes) -> bytes:
    """A JPEG with these EXIF data, in as many segments as they need, which Pillow joins."""
    parts = [tiff[at : at + 65_000] for at in range(0, len(tiff), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)
    return jpeg[:2] + segments + jpeg[2:]


def jpeg_of_scans(n_scans: int, side: int) -> bytes:
    """A progressive JPEG with so many scans more than it needs."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * n_scans + whole[-2:]


def as_mpo(jpeg: bytes) -> bytes:
    """The same, with the head of a format of several pictures, in which it is the first of two."""
    entry = struct.pack("<IIIHH", 0x030000, len(jpeg), 0, 0, 0)
    tags = (
        struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
        + struct.pack("<HHII", 0xB001, 4, 1, 2)
        + struct.pack("<HHII", 0xB002, 7, 32, 50)
    )
    index = b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + tags + bytes(4) + entry * 2
    return jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(index) + 2) + index + jpeg[2:]


def tiff_of_jpeg(jpeg: bytes, side: int) -> bytes:
    """A TIFF whose only strip is this JPEG."""
    entries = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, 134), (259, 3, 1, 7), (262, 3, 1, 6), (273, 4, 1, 140),
        (277, 3, 1, 3), (278, 4, 1, side), (279, 4, 1, len(jpeg)), (530, 3, 2, 2 | 2 << 16),
    ]  # fmt: skip
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + struct.pack("<HHH", 8, 8, 8) + jpeg


def gif_of_frames(n_frames: int) -> bytes:
    """So many frames of one pixel."""
    frame = b"!\xf9\x04\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * n_frames + b";"


def tiff_in_a_circle(n_pages: int) -> bytes:
    """Directories that follow each other, the last followed by the first."""
    head, size = b"II*\0" + struct.pack("<I", 8), 2 + 12 * 9 + 4
    entries = [
        (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8 + size * n_pages), (277, 3, 1, 1), (278, 3, 1, 4), (279, 4, 1, 16),
    ]  # fmt: skip
    rows = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    following = [8 + size * ((page + 1) % n_pages) for page in range(n_pages)]
    return head + b"".join(rows + struct.pack("<I", at) for at in following) + bytes(16)


def chunks_of(kind: bytes, n_chunks: int, n_bytes: int) -> bytes:
    """A PNG without pixels, but with so many chunks."""
    chunk = struct.pack(">I", n_bytes) + kind + bytes(n_bytes) + bytes(4)
    return b"\x89PNG\r\n\x1a\n" + chunk * n_chunks + struct.pack(">I", 0) + b"IEND" + bytes(4)
