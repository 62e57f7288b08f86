"""How zygote, sealed children and their host speak: a length of four bytes, then JSON.

JSON and not pickle, because whoever reads a pickle runs it. A frame longer than the reader allows
ends the conversation before it is read. Used by both sides; blocking reads and writes are for the
children, the host reads with asyncio (`sealed`).
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from aristobot.core.errors import AristobotError

HEADER = struct.Struct("!I")
#: 1000 candles of seven numbers and 256 KiB of code fit well.
MAX_REQUEST_BYTES = 2 * 1024 * 1024
#: What a strategy may answer, its printed lines included.
MAX_ANSWER_BYTES = 256 * 1024


class BadFrame(AristobotError):
    """What came is no frame of ours."""


class Closed(AristobotError):
    """The other side is gone."""


def pack(content: dict[str, Any], limit: int) -> bytes:
    """One frame. Raises `BadFrame` when it is longer than `limit` bytes."""
    body = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > limit:
        raise BadFrame(f"a message of {len(body)} bytes is longer than {limit}")
    return HEADER.pack(len(body)) + body


def length_of(header: bytes, limit: int) -> int:
    """How long the body is. Raises `BadFrame` when it is longer than `limit` bytes."""
    length: int = HEADER.unpack(header)[0]
    if length > limit:
        raise BadFrame(f"a message of {length} bytes is announced, at most {limit} are read")
    return length


def unpack(body: bytes) -> dict[str, Any]:
    """The frame's content. Raises `BadFrame`."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame("the message is not JSON") from error
    if not isinstance(content, dict):
        raise BadFrame("the message is not a JSON object")
    return content


def read_blocking(descriptor: int, limit: int) -> dict[str, Any]:
    """Wait for one frame. Raises `Closed` and `BadFrame`."""
    length = length_of(_read_exactly(descriptor, HEADER.size), limit)
    return unpack(_read_exactly(descriptor, length))


def write_blocking(descriptor: int, content: dict[str, Any], limit: int) -> None:
    """Send one frame whole. Raises `Closed` and `BadFrame`."""
    rest = memoryview(pack(content, limit))
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except (BrokenPipeError, ConnectionResetError):
            raise Closed("the other side is gone") from None


def _read_exactly(descriptor: int, count: int) -> bytes:
    parts = []
    while count:
        try:
            part = os.read(descriptor, min(count, 1 << 16))
        except ConnectionResetError:
            part = b""
        if not part:
            raise Closed("the other side is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
