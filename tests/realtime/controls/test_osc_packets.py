"""Datagrams of strangers: whatever their bytes are, they change nothing and raise nothing but our error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.controls.osc.packets import OscPacketError, Received, read_packet, write_bundles, write_message
from tests.support.desks import value
from tests.support.osc_rig import OscRig


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"/neiro/mix",
        b"/neiro/mix\0\0,f\0\0",
        b"/neiro/mix\0\0,d\0\0" + bytes(4),
        b"/neiro/midi\0,b\0\0" + struct.pack(">i", 9) + bytes(4),
        b"/neiro/preset\0\0\0,s\0\0gong",
        b"/neiro/mix\0\0,q\0\0\0\0\0\0",
        b"#bundle\0"
        + bytes(8)
        + struct.pack(">i", -4)
        + b"/neiro/mix\0\0,i\0\0\0\0\0\1",  # python-osc alone would read it for ever
        b"#bundle\0" + bytes(8) + struct.pack(">i", 0),
        b"#bundle\0" + bytes(8) + struct.pack(">i", 1000) + b"/a\0\0",
        b"#bundle\0" + bytes(8) + (struct.pack(">i", 4) + b"/a\0\0") * 5000,
        b"\xff" * 60_000,
        b"/\xff\xfe\0,\0\0\0",
        b"/a\0\0," + b"[" * 2000 + b"\0\0\0",
    ],
)
def test_a_malformed_datagram_is_counted_and_changes_nothing(rig: OscRig, data: bytes) -> None:
    before = rig.desk.bank.values.copy()
    rig.send_bytes(data)
    assert rig.server.counts.malformed == 1
    assert (rig.desk.bank.values == before).all()
    assert rig.heard() == []
    rig.send("/neiro/mix", 0.5)
    assert value(rig.desk, "mix") == 0.5


def test_bundles_in_bundles_are_opened_down_to_a_depth(rig: OscRig) -> None:
    for depth in (1, 8, 9, 3000):
        data = write_message("/neiro/mix", [depth / 1024])
        for _ in range(depth):
            data = b"#bundle\0" + bytes(8) + struct.pack(">i", len(data)) + data
        rig.send_bytes(data[:65_000])
        assert value(rig.desk, "mix") == (depth if depth <= 8 else 8) / 1024


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/neiro/timbre/12", "/x" * 300]), st.floats(width=32, allow_nan=False)),
        max_size=40,
    )
)
def test_what_is_written_is_read_again_and_fits_a_frame(messages: list[tuple[str, float]]) -> None:
    datagrams = write_bundles([write_message(address, [number]) for address, number in messages])
    assert [received for data in datagrams for received in read_packet(data)] == [
        Received(address, (number,)) for address, number in messages
    ]
    assert all(len(data) <= 1400 for data in datagrams)


@given(st.binary(max_size=300))
def test_bytes_raise_only_our_error(data: bytes) -> None:
    try:
        assert all(isinstance(message, Received) for message in read_packet(b"#bundle\0" + data))
    except OscPacketError:
        return
