"""Sound devices on a real server: pulled out, chosen by channel, asked for what they cannot do, and resized."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.jack.rig import PERIOD, RATE, JackRig
from benchmarks.jack.server import wait_until
from realtime.live.supervisor import StreamError
from tests.support.control import control

pytestmark = pytest.mark.jack

ALLOWED_SECONDS = 1.0  # from the death to the sound


@pytest.mark.parametrize(("name", "direction"), [("mic", "input"), ("spk", "output")])
def test_a_device_that_is_pulled_out_is_told_and_comes_back_by_itself(
    rig: JackRig, bundle: Path, name: str, direction: str
) -> None:
    with control(bundle) as live:
        live.bank.set("gain_db", -20.0)
        rig.clients.unplug(name)
        wait_until(lambda: live.said, "the loss to be told", 5)
        assert live.said == [f"the sound stopped: the {direction} device {name} went away; starting it again"]
        wait_until(lambda: live.waiting_for, "the new process to wait")
        assert f"no sound device '{name}, JACK" in live.waiting_for
        rig.clients.plug(name)
        rig.clients.play()
        assert live.seconds_until_sound() < 2 * ALLOWED_SECONDS
        wait_until(lambda: rig.clients.level() > 0.003, "sound at the loudspeaker")
        wait_until(lambda: live.said[-1] == "the sound is back", "that to be told")
        assert live.bank.values[live.bank.index["gain_db"]] == -20.0


SLOW_TO_WATCH = """
import time
from realtime.live import player
from realtime.live import audio_process as stream
watch = player.StreamWatchdog
def late(*arguments):
    time.sleep(1)
    return watch(*arguments)
player.StreamWatchdog = late
stream.main()
"""


def test_a_device_that_is_pulled_out_while_the_sound_starts_is_told_too(rig: JackRig, bundle: Path) -> None:
    with control(bundle, program=[sys.executable, "-c", SLOW_TO_WATCH]) as live:
        rig.clients.unplug("mic")
        wait_until(lambda: live.said, "the loss to be told")
        assert live.said == ["the sound stopped: the input device mic went away; starting it again"]


def test_one_channel_of_the_input_can_be_chosen(rig: JackRig, bundle: Path, melody: np.ndarray) -> None:
    rig.clients.plug("duo")  # its first channel is silent
    try:
        with control(bundle, input_device="duo", input_channel=2):
            rig.clients.play()
            wait_until(lambda: rig.clients.elapsed() > RATE // 2, "half a second of sound")
            times, heard = rig.clients.recorded()
            assert np.mean(heard[:, times >= 0] == melody[times[times >= 0] % len(melody)]) > 0.9  # on both outputs
    finally:
        rig.clients.unplug("duo")


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"sample_rate": 48000.0}, r"mic, JACK.* cannot run at 48000 Hz; leave --sample-rate out, or ask for 44100$"),
        ({"input_channel": 2}, "--input-channel 2: mic, JACK.* has 1 input; use --input-channel 1$"),
        ({"channels": 2}, "--channels 2: mic, JACK.* has 1 input; use --channels 1$"),
    ],
)
def test_what_the_devices_cannot_do_is_one_sentence(
    rig: JackRig, bundle: Path, request_: dict[str, object], sentence: str
) -> None:
    with pytest.raises(StreamError, match=sentence), control(bundle, **request_):
        pass


def test_the_server_may_change_its_block_size_while_playing(rig: JackRig, bundle: Path, melody: np.ndarray) -> None:
    with control(bundle) as live:

        def in_blocks_of(samples: int) -> bool:
            return int(live.record["block_samples"]) == samples

        try:
            for samples in (64, 1024, 8192, PERIOD):
                rig.clients.period(samples)
                # PortAudio cuts larger ones.
                wait_until(partial(in_blocks_of, min(samples, 1024)), f"blocks of {samples}")
                rig.clients.play()
                wait_until(lambda: rig.clients.elapsed() > RATE // 2, "half a second of sound")
                times, samples_heard = rig.clients.recorded()
                sung = melody[times[times >= 0] % len(melody)]
                # At rest, whatever gap the change made.
                assert np.mean(samples_heard[0, times >= 0] == sung) > 0.5, samples
        finally:
            rig.clients.period(PERIOD)
        assert live.said == []
