"""A small RTSP server for tests and benchmarks: loops H.264 clips in real time, and breaks on demand.

RFC 2326 over TCP with interleaved RTP (RFC 3550; RFC 6184: single NAL units and FU-A), Basic or Digest
authentication. A clip is packetised once; per frame and client only sequence numbers and time stamps are
written. Runs on threads within a test, or alone: `python -m tests.rtsp_server /cam1=a.mp4 /cam2=b.mp4`.

    with RtspServer({"/cam1": clip}) as server:
        server.url("/cam1")
        server.fault("/cam1", Fault.STALL)
        server.heal("/cam1")
"""

from __future__ import annotations

import argparse
import base64
import errno
import hashlib
import itertools
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import Self

import av
from av.bitstream import BitStreamFilterContext

_CLOCK_HZ = 90_000
_PAYLOAD_TYPE = 96
_SSRC = 0x504C4154
_MAX_PAYLOAD = 1400
_REALM = "cameras"
_IDR, _SPS, _PPS = 5, 7, 8


class Fault(Enum):
    """What a path can do wrong. All but DROP last until `heal`."""

    STALL = auto()
    """Connections stay, pictures do not come."""
    DROP = auto()
    """Connections of now are cut; new ones are welcome."""
    REFUSE = auto()
    """Connections are cut, requests answered with 503."""
    MUTE = auto()
    """Requests are not answered."""
    MID_GOP = auto()
    """Playing begins between two keyframes."""
    DAMAGE = auto()
    """Packets arrive in order, their video is noise."""
    GARBAGE = auto()
    """Noise instead of packets: the framing itself is lost."""
    ENCRYPT = auto()
    """All payloads are noise, as those of SRTP are without its key."""
    KEYLESS = auto()
    """Keyframes are left out."""
    TYPE = auto()
    """Packets are of a payload type that was not announced."""
    CODEC = auto()
    """HEVC is announced, H.264 is sent."""


@dataclass(frozen=True)
class AccessUnit:
    """One coded picture as RTP packets, ready to send but for sequence numbers and time stamps."""

    time_s: float
    """When to send it, from the start of the clip (decoding order)."""
    stamp: int
    """Presentation time, in units of the RTP clock."""
    keyframe: bool
    nals: Sequence[bytes]
    """Its NAL units, without start codes."""
    wire: bytes
    """All its packets with interleaving headers."""
    packets: tuple[int, ...]
    """Where in `wire` the RTP headers begin."""


@dataclass(frozen=True)
class Play:
    """A client that began to play: what a camera of a moment in media time saw was due so long after `began`."""

    path: str
    began: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Clip:
    """A packetised clip."""

    units: Sequence[AccessUnit]
    duration_s: float
    sps: bytes
    pps: bytes

    @classmethod
    def load(cls, path: Path) -> Clip:
        """Packetise the H.264 stream of a file."""
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
            pictures: list[tuple[float, float, list[bytes]]] = []
            for packet in container.demux(stream):
                if packet.size:
                    dts, pts = (float((stamp or 0) * packet.time_base) for stamp in (packet.dts, packet.pts))
                    pictures += [(dts, pts, _nal_units(bytes(part))) for part in to_annex_b.filter(packet)]
            fps = float(stream.average_rate)
        if not pictures:
            raise ValueError(f"{path} holds no H.264")
        start = pictures[0][0]
        parameters = {nal[0] & 31: nal for _, _, nals in pictures for nal in nals}
        units = [_access_unit(dts - start, pts - start, nals) for dts, pts, nals in pictures]
        return cls(units, units[-1].time_s + 1 / fps, parameters[_SPS], parameters[_PPS])

    @cached_property
    def sdp(self) -> str:
        """The session description (RFC 4566, RFC 6184 section 8.2.1)."""
        sets = ",".join(base64.b64encode(nal).decode() for nal in (self.sps, self.pps))
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
            f"m=video 0 RTP/AVP {_PAYLOAD_TYPE}\r\na=rtpmap:{_PAYLOAD_TYPE} H264/{_CLOCK_HZ}\r\n"
            f"a=fmtp:{_PAYLOAD_TYPE} packetization-mode=1;profile-level-id={self.sps[1:4].hex().upper()};"
            f"sprop-parameter-sets={sets}\r\na=control:track0\r\n"
        )


def _nal_units(annex_b: bytes) -> list[bytes]:
    return [nal.rstrip(b"\0") for nal in re.split(rb"\x00\x00\x00?\x01", annex_b) if nal]


def _access_unit(time_s: float, presented_s: float, nals: Sequence[bytes]) -> AccessUnit:
    payloads = [payload for nal in nals for payload in _payloads(nal)]
    wire, offsets = bytearray(), []
    for i, payload in enumerate(payloads):
        marker = 0x80 if i == len(payloads) - 1 else 0
        wire += struct.pack(">cBH", b"$", 0, 12 + len(payload))
        offsets.append(len(wire))
        wire += struct.pack(">BBHII", 0x80, marker | _PAYLOAD_TYPE, 0, 0, _SSRC) + payload
    return AccessUnit(
        time_s=time_s,
        stamp=round(presented_s * _CLOCK_HZ),
        keyframe=any(nal[0] & 31 == _IDR for nal in nals),
        nals=nals,
        wire=bytes(wire),
        packets=tuple(offsets),
    )


def _payloads(nal: bytes) -> Iterator[bytes]:
    """A NAL unit as one RTP payload, or as fragments (FU-A) where it is too long."""
    if len(nal) <= _MAX_PAYLOAD:
        yield nal
        return
    indicator, kind = (nal[0] & 0xE0) | 28, nal[0] & 31
    pieces = [nal[i : i + _MAX_PAYLOAD - 2] for i in range(1, len(nal), _MAX_PAYLOAD - 2)]
    for i, piece in enumerate(pieces):
        edge = 0x80 if i == 0 else 0x40 if i == len(pieces) - 1 else 0
        yield bytes([indicator, edge | kind]) + piece


class _Path:
    """A stream as its clients share it: the clip, and what is wrong with it."""

    def __init__(self, name: str, clip: Clip) -> None:
        self.name, self.clip = name, clip
        self.restamp: Callable[[int], int] = lambda stamp: stamp
        self.faults: set[Fault] = set()
        self.clients: set[_Client] = set()


class RtspServer:
    """Serves clips on a port of 127.0.0.1, while used as a context.

    Args:
        clips: path of the URL ("/cam1") → file or packetised clip.
        user: with `password`, what all paths ask for; empty: nothing.
        digest: ask for Digest authentication (RFC 2617) instead of Basic.
        on_play: called with every client that begins to play, on its thread.
    """

    def __init__(
        self,
        clips: Mapping[str, Path | Clip],
        *,
        port: int = 0,
        user: str = "",
        password: str = "",
        digest: bool = False,
        on_play: Callable[[Play], object] = lambda _play: None,
    ) -> None:
        loaded: dict[Path, Clip] = {}
        self._paths = {}
        for name, clip in clips.items():
            if isinstance(clip, Path):
                clip = loaded.setdefault(clip, loaded.get(clip) or Clip.load(clip))
            self._paths[name] = _Path(name, clip)
        self.on_play = on_play
        self.port = port
        self._user, self._password, self._digest = user, password, digest
        self._listener: socket.socket | None = None
        self._connected: set[_Client] = set()
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()

    def url(self, path: str, *, user: str = "", password: str = "") -> str:
        """Where `path` is found."""
        credentials = f"{user}:{password}@" if user else ""
        return f"rtsp://{credentials}127.0.0.1:{self.port}{path}"

    def listen(self) -> None:
        """Accept connections; after `shut`, on the same port again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Close the port and cut all connections, as a switched-off camera does."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._changed:
            clients = list(self._connected)
        for client in clients:
            client.cut()

    def fault(self, path: str, fault: Fault) -> None:
        """Let `path` do this wrong from now on."""
        state = self._paths[path]
        if fault is not Fault.DROP:
            state.faults.add(fault)
        if fault in (Fault.DROP, Fault.REFUSE):
            with self._changed:
                clients = list(state.clients)
            for client in clients:
                client.cut()

    def heal(self, path: str) -> None:
        """End all faults of `path`."""
        self._paths[path].faults.clear()

    def restamp(self, path: str, stamps: Callable[[int], int]) -> None:
        """Send other time stamps than those that would be right, in units of the RTP clock (90 kHz)."""
        self._paths[path].restamp = stamps

    def switch(self, path: str, clip: Path | Clip) -> None:
        """Go on with another clip, in the same connections, from its first keyframe."""
        self._paths[path].clip = clip if isinstance(clip, Clip) else Clip.load(clip)

    def wait_for_players(self, path: str, count: int, *, timeout_s: float = 10.0) -> bool:
        """Wait until `path` has at least so many playing clients; whether it has."""
        clients = self._paths[path].clients
        with self._changed:
            return self._changed.wait_for(lambda: len(clients) >= count, timeout_s)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):  # as tests have it
                    time.sleep(0.01)
                    continue
                return
            client = _Client(self, connection)
            with self._changed:
                self._connected.add(client)
            threading.Thread(target=client.serve, daemon=True).start()

    def _path(self, url: str) -> _Path | None:
        name = re.sub(r"^rtsp://[^/]*", "", url).removesuffix("/track0").rstrip("/")
        return self._paths.get(name)

    def _authorised(self, method: str, header: str) -> bool:
        if not self._user:
            return True
        kind, _, value = header.partition(" ")
        if not self._digest:
            return kind == "Basic" and value == _b64(f"{self._user}:{self._password}")
        given = dict(re.findall(r'(\w+)="([^"]*)"', value))
        secret = _md5(f"{self._user}:{_REALM}:{self._password}")
        action = _md5(f"{method}:{given.get('uri', '')}")
        return given.get("response") == _md5(f"{secret}:{given.get('nonce', '')}:{action}")

    @property
    def _challenge(self) -> str:
        return f'Digest realm="{_REALM}", nonce="{_md5(str(id(self)))}"' if self._digest else f'Basic realm="{_REALM}"'


class _Client:
    """A connection: its requests on one thread and, once it plays, its pictures on another."""

    def __init__(self, server: RtspServer, connection: socket.socket) -> None:
        self._server, self._connection = server, connection
        self._sending = threading.Lock()
        self._over = threading.Event()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self) -> None:
        """Close the connection under the client's feet."""
        self._over.set()
        with suppress(OSError):  # it may be gone already
            self._connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        try:
            with self._connection, self._connection.makefile("rb") as incoming:
                while not self._over.is_set():
                    first = incoming.read(1)
                    if not first:
                        break
                    if first == b"$":  # receiver reports, which nobody here reads
                        _, size = struct.unpack(">BH", incoming.read(3))
                        incoming.read(size)
                        continue
                    method, url, headers = _request(first + incoming.readline(), incoming)
                    if not self._answer(method, url, headers):
                        break
        except (OSError, ValueError, struct.error):
            pass  # a client that hangs up or talks nonsense ends its own connection
        finally:
            self._over.set()
            with self._server._changed:
                self._server._connected.discard(self)

    def _answer(self, method: str, url: str, headers: Mapping[str, str]) -> bool:
        """Reply to one request; False where the connection ends with it."""
        path = self._server._path(url)
        sequence = headers.get("cseq", "0")
        if path is not None and Fault.MUTE in path.faults:
            return True
        if method == "OPTIONS":
            self._reply(200, sequence, Public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif not self._server._authorised(method, headers.get("authorization", "")):
            self._reply(401, sequence, **{"WWW-Authenticate": self._server._challenge})
        elif path is None:
            self._reply(404, sequence)
        elif Fault.REFUSE in path.faults:
            self._reply(503, sequence)
        elif method == "DESCRIBE":
            sdp = path.clip.sdp.replace(" H264/", " H265/") if Fault.CODEC in path.faults else path.clip.sdp
            self._reply(200, sequence, sdp, **{"Content-Base": url.rstrip("/") + "/"})
        elif method == "SETUP":
            if "TCP" not in headers.get("transport", ""):
                self._reply(461, sequence)
            else:
                transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
                self._reply(200, sequence, Transport=transport, Session="1;timeout=60")
        elif method == "PLAY":
            self._reply(200, sequence, Session="1", Range="npt=0.000-")
            threading.Thread(target=self._play, args=(path,), daemon=True).start()
        elif method == "TEARDOWN":
            self._reply(200, sequence, Session="1")
            return False
        elif method == "GET_PARAMETER":
            self._reply(200, sequence, Session="1")
        else:
            self._reply(405, sequence)
        return True

    def _reply(self, status: int, sequence: str, body: str = "", **headers: str) -> None:
        reasons = {200: "OK", 401: "Unauthorized", 404: "Not Found", 461: "Unsupported Transport"}
        lines = [f"RTSP/1.0 {status} {reasons.get(status, 'Error')}", f"CSeq: {sequence}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        self._send("\r\n".join([*lines, "", body]).encode())

    def _send(self, data: bytes | bytearray) -> None:
        with self._sending:
            self._connection.sendall(data)

    def _play(self, path: _Path) -> None:
        with self._server._changed:
            path.clients.add(self)
            self._server._changed.notify_all()
        noise = random.Random(1)
        sequence = itertools.count()
        try:
            for unit, stamp in self._paced(path):
                if Fault.STALL in path.faults or (unit.keyframe and Fault.KEYLESS in path.faults):
                    continue
                data = bytearray(unit.wire)
                if Fault.GARBAGE in path.faults:
                    data[:] = noise.randbytes(len(data))
                else:
                    for at in unit.packets:
                        struct.pack_into(">HI", data, at + 2, next(sequence) & 0xFFFF, stamp & 0xFFFFFFFF)
                        if Fault.TYPE in path.faults:
                            data[at + 1] ^= 1
                        if path.faults & {Fault.DAMAGE, Fault.ENCRYPT}:
                            end = at + struct.unpack_from(">H", data, at - 2)[0]
                            kept = 12 if Fault.ENCRYPT in path.faults else 14
                            data[at + kept : end] = noise.randbytes(max(0, end - at - kept))
                self._send(data)
        except OSError:
            pass  # the client has gone
        finally:
            with self._server._changed:
                path.clients.discard(self)

    def _paced(self, path: _Path) -> Iterator[tuple[AccessUnit, int]]:
        """The units of the path's clip, round and round, each when it is due, with its RTP time stamp."""
        begin, played_s = time.monotonic(), 0.0
        self._server.on_play(Play(path.name, time.time()))
        skipping = Fault.MID_GOP in path.faults
        while True:
            clip = path.clip
            for i, unit in enumerate(clip.units):
                if skipping and (i == 0 or unit.keyframe):
                    continue
                if skipping:
                    skipping, played_s = False, -unit.time_s
                if self._over.wait(max(0.0, begin + played_s + unit.time_s - time.monotonic())):
                    return
                if path.clip is not clip:
                    played_s += unit.time_s
                    break
                yield unit, path.restamp(round(played_s * _CLOCK_HZ) + unit.stamp)
            else:
                played_s += clip.duration_s


def _request(line: bytes, incoming: Iterator[bytes]) -> tuple[str, str, dict[str, str]]:
    method, url, _ = line.decode().split()
    headers = {}
    for raw in incoming:
        name, separator, value = raw.decode().strip().partition(":")
        if not separator:
            break
        headers[name.lower()] = value.strip()
    return method, url, headers


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def main() -> None:
    """Serve the clips given as PATH=FILE until standard input closes; prints one URL a line.

    With --plays FILE, a line of JSON there tells of every client that begins to play: `{path, began}`.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("clips", nargs="+", metavar="PATH=FILE")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plays", type=Path, default=Path(os.devnull))
    given = parser.parse_args()
    clips = {path: Path(file) for path, _, file in (clip.partition("=") for clip in given.clips)}
    with (
        given.plays.open("a", encoding="utf-8", buffering=1) as plays,
        RtspServer(clips, port=given.port, on_play=lambda play: plays.write(json.dumps(asdict(play)) + "\n")) as server,
    ):
        for path in clips:
            sys.stdout.write(server.url(path) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
