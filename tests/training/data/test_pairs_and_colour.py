"""Pairs of one instrument, whole notes held out, and sounds heard through another room and microphone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.colour import coloured
from training.data.examples import DrawSampler, Groups
from training.data.manifest import DataError, read_dataset
from training.data.sound_options import ExampleOptions, LoadingOptions, SoundSelection
from training.data.sounds import SoundData
from training.dsp.f0 import track_pitch

RATE = 44100
INSTRUMENT = np.array([3, 1, 1, 2, 3, 3, 1, 0, 2, 3])
PITCH = np.array([60, 60, 61, 61, 62, 61, 62, 62, -1, -1])


def test_partners_are_others_of_the_same_instrument_all_of_them() -> None:
    groups, rng = Groups(INSTRUMENT, np.full(10, 60), 2), np.random.default_rng(1)
    for row, instrument in enumerate(INSTRUMENT.tolist()):
        rows = np.array([row, -1] * 200)
        groups.follow(rows, rng)
        others = {other for other in np.flatnonzero(instrument == INSTRUMENT).tolist() if other != row}
        assert set(rows[1::2].tolist()) == (others or {row})
        assert set(rows[::2].tolist()) == {row}


def test_partners_lie_near_in_pitch_where_there_are_some() -> None:
    instrument, pitch = np.repeat([0, 1, 2], 30), np.tile(np.arange(40, 70), 3)
    pitch[-1] = 120  # far from all others
    rows = np.arange(90).repeat(2)
    pairs = rows.reshape(-1, 2)
    seen = []
    for seed in range(40):
        Groups(instrument, pitch, 2).follow(rows, np.random.default_rng(seed))
        assert (instrument[pairs[:, 0]] == instrument[pairs[:, 1]]).all()
        assert (pairs[:, 0] != pairs[:, 1]).all()
        seen.append(pitch[pairs[:, 1]] - pitch[pairs[:, 0]])
    apart = np.abs(seen)
    assert apart[:, :-1].max() == 4
    assert set(apart[:, 15].tolist()) == {1, 2, 3, 4}
    assert apart[:, -1].min() > 40, "it gets any other"


def test_groups_of_four_are_two_pairs_at_one_pitch() -> None:
    rng, rows = np.random.default_rng(1), np.tile(np.arange(10).repeat(4), 50)
    Groups(INSTRUMENT, PITCH, 4).follow(rows, rng)
    quartets = rows.reshape(-1, 4)
    assert (INSTRUMENT[quartets[:, 0]] == INSTRUMENT[quartets[:, 1]]).all()
    assert (INSTRUMENT[quartets[:, 2]] == INSTRUMENT[quartets[:, 3]]).all()
    assert (PITCH[quartets[:, 0]] == PITCH[quartets[:, 2]]).all()
    different = INSTRUMENT[quartets[:, 0]] != INSTRUMENT[quartets[:, 2]]
    possible = np.array(
        [np.any((PITCH[row] == PITCH) & (INSTRUMENT[row] != INSTRUMENT)) for row in quartets[:, 0].tolist()]
    )
    assert different[possible].mean() > 0.98
    assert not different[~possible].any()


@pytest.mark.parametrize(("world", "size"), [(1, 2), (2, 2), (2, 4)])
def test_batches_are_of_groups_in_every_process_and_repeat(world: int, size: int) -> None:
    def epoch(number: int) -> list[list[tuple[int, int]]]:
        found = []
        for rank in range(world):
            sampler = DrawSampler(7, 8, 5, 3, rank, world, (3, 0.3), Groups(INSTRUMENT, PITCH, size))
            sampler.set_epoch(number)
            found += list(sampler)
        return found

    batches = epoch(2)
    assert batches == epoch(2) != epoch(3)
    assert {len(batch) for batch in batches} == {8 // world}
    rows = np.array([[row for row, _ in batch] for batch in batches])
    assert (INSTRUMENT[rows[:, ::2]] == INSTRUMENT[rows[:, 1::2]]).all()
    alone = INSTRUMENT[rows[:, ::2]] == 0
    assert ((rows[:, ::2] == rows[:, 1::2]) == alone).all()
    if size == 4:
        assert (PITCH[rows[:, ::4]] == PITCH[rows[:, 2::4]]).all()
    assert rows.max() > 6  # phrases, too


@pytest.mark.parametrize(
    ("group", "message"), [(2, r"in groups of 2; make it a multiple of 2"), (3, "group=3 is none")]
)
def test_batches_that_do_not_divide_into_groups_are_refused(tiny_data: Path, group: int, message: str) -> None:
    data = SoundData(str(tiny_data), examples=ExampleOptions(group=group), loading=LoadingOptions(batch_size=5))
    with pytest.raises(DataError, match=message):
        data.train_dataloader()


def test_whole_notes_are_held_out_and_with_them_whole_instruments(tiny_data: Path) -> None:
    sounds = read_dataset(tiny_data)
    split = SoundSelection(held_out_notes=(0.2, 0.3)).of(sounds)
    for name in np.unique(split.instrument):
        mine = split.take(split.instrument == name)
        for pitch in np.unique(mine.pitch):
            assert len(np.unique(mine.split[mine.pitch == pitch])) == 1
    assert [float((split.split == part).mean()) for part in ("validation", "test")] == pytest.approx(
        [0.2, 0.3], abs=0.1
    )
    both = SoundSelection(held_out_instruments=(1, 2), held_out_notes=(0.2, 0.3)).of(sounds)
    whole = [name for name in np.unique(both.instrument) if len(np.unique(both.split[both.instrument == name])) == 1]
    assert len(whole) >= 3
    others = ~np.isin(both.instrument, whole)
    assert (both.split[others] == split.split[others]).all()


@pytest.mark.parametrize("shares", [(0.5,), (0.6, 0.4), (-0.1, 0.2)])
def test_shares_that_leave_nothing_are_refused(tiny_data: Path, shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="held_out_notes"):
        SoundSelection(held_out_notes=shares).of(read_dataset(tiny_data))


def test_a_coloured_sound_keeps_its_onset_its_pitch_and_its_peak() -> None:
    time = np.arange(RATE) / RATE
    sound = np.where(time < 0.2, 0, sum(np.sin(2 * np.pi * 330 * h * time) / h for h in range(1, 9)) * 0.1)
    changes = []
    for seed in range(6):
        other = coloured(sound.astype(np.float32), RATE, np.random.default_rng(seed))
        assert other.dtype == np.float32
        assert np.abs(other).max() == pytest.approx(np.abs(sound).max(), rel=1e-4)
        assert np.abs(other[: RATE // 5 - 1]).max() < 0.02 * np.abs(other).max()  # hiss alone
        track = track_pitch(other, RATE, 256)
        assert np.abs(1200 * np.log2(track.f0_hz[70:] / 330)).max() < 10
        changes.append(float(np.std(20 * np.log10(spectrum(other) / spectrum(sound)))))
    assert min(changes) > 0.5  # dB, from harmonic to harmonic
    again = coloured(sound.astype(np.float32), RATE, np.random.default_rng(5))
    assert np.array_equal(other, again)
    silence = np.zeros(1000, np.float32)
    assert np.array_equal(coloured(silence, RATE, np.random.default_rng(0)), silence)


def spectrum(sound: np.ndarray) -> np.ndarray:
    """Of the harmonics."""
    part = sound[RATE // 2 :]
    return np.abs(np.fft.rfft(part * np.hanning(len(part))))[
        (330 * np.arange(1, 9) * len(part) / RATE).round().astype(int)
    ]
