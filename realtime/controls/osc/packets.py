"""OSC datagrams → messages, for bytes that strangers send: checked before python-osc sees them.

python-osc's bundle reader goes backwards on a negative size, for ever; it logs a line per unknown type tag, and reads
numbers that were cut off as 0. So bundles are taken apart here, and arguments are measured first (Open Sound Control
1.0 specification, "OSC Packets").
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

BUNDLE, BUNDLE_HEAD = b"#bundle\0", 16  # bytes: the word and a time tag
# Bytes of an argument by its type tag; of texts and blobs at least.
TAG_BYTES = {ord(tag): size for tags, size in (("ifrm", 4), ("hdt", 8), ("TFN[]", 0), ("sb", 4)) for tag in tags}
MOST_MESSAGES = 1024  # of one datagram
DEEPEST = 8  # bundles in bundles
MOST_BYTES = 1400  # of what we send: one Ethernet frame
Argument = int | float | str
NOW = struct.pack(">Q", 1)  # the time tag for "immediately"


class OscPacketError(Exception):
    """Bytes that are no OSC."""


@dataclass(frozen=True)
class Received:
    """One message: its address, and its arguments as python-osc gives them."""

    address: str
    arguments: tuple[object, ...]


def read_packet(data: bytes) -> list[Received]:
    """All messages of a datagram; time tags are not waited for.

    Raises
    ------
    OscPacketError
        Malformed, too deep or too long: none of it is used.
    """
    elements: list[tuple[bytes, int]] = [(data, 0)]
    found: list[Received] = []
    while elements:
        element, depth = elements.pop()
        if element.startswith(BUNDLE) and depth < DEEPEST:
            elements += [(part, depth + 1) for part in reversed(_parts(element))]
        elif element.startswith(b"/"):
            found.append(_read_message(element))
        else:
            raise OscPacketError("neither a message nor a bundle")
        if len(found) + len(elements) > MOST_MESSAGES:
            raise OscPacketError("too many messages")
    return found


def _parts(bundle: bytes) -> list[bytes]:
    parts, place = [], BUNDLE_HEAD
    while place < len(bundle):
        if place + 4 > len(bundle):
            raise OscPacketError("bundle cut short")
        size = int.from_bytes(bundle[place : place + 4], "big")
        if size == 0 or size % 4 or place + 4 + size > len(bundle):
            raise OscPacketError("bundle element of an impossible size")
        parts.append(bundle[place + 4 : place + 4 + size])
        place += 4 + size
    return parts


def _read_message(data: bytes) -> Received:
    start = _after_text(data, 0)
    if start < len(data):
        _check_arguments(data, start)
    try:
        message = OscMessage(data)
        return Received(message.address, tuple(message.params))
    except Exception as error:  # python-osc raises whatever the bytes lead it to
        raise OscPacketError(str(error)) from None


def _check_arguments(data: bytes, start: int) -> None:
    place = _after_text(data, start)
    for tag in data[start:place].rstrip(b"\0").removeprefix(b","):
        if tag not in TAG_BYTES:
            raise OscPacketError("unknown type tag")
        if tag == ord("s"):
            place = _after_text(data, place)
        elif tag == ord("b"):
            place += 4 + (int.from_bytes(data[place : place + 4], "big") + 3) // 4 * 4
        else:
            place += TAG_BYTES[tag]
        if place > len(data):
            raise OscPacketError("argument cut short")


def _after_text(data: bytes, start: int) -> int:
    """Where a text's padding to a multiple of four bytes ends."""
    end = data.find(b"\0", start)
    if end < 0:
        raise OscPacketError("text without an end")
    return start + ((end - start) // 4 + 1) * 4


def write_message(address: str, arguments: Sequence[Argument]) -> bytes:
    builder = OscMessageBuilder(address)
    for argument in arguments:
        builder.add_arg(argument)
    return bytes(builder.build().dgram)


def write_bundles(messages: Sequence[bytes]) -> list[bytes]:
    """Messages in as few datagrams as fit; one alone travels without a bundle."""
    datagrams: list[bytes] = []
    batch: list[bytes] = []
    for message in messages:
        if batch and sum(4 + len(other) for other in batch) + 4 + len(message) + BUNDLE_HEAD > MOST_BYTES:
            datagrams.append(_bundle(batch))
            batch = []
        batch.append(message)
    return [*datagrams, _bundle(batch)] if batch else datagrams


def _bundle(messages: Sequence[bytes]) -> bytes:
    if len(messages) == 1:
        return messages[0]
    return BUNDLE + NOW + b"".join(struct.pack(">i", len(message)) + message for message in messages)
