"""The morph way out in time: a knob that jumps leaves no step, nothing sounds before its cause, and what fades to
nothing leaves nothing behind.

With the shipped model, for how far its filters reach and how they change is what matters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from realtime.bundle import Bundle, embedded_bundle, load_bundle
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions

RATE = 44100
PARTS = tuple(f"dsp.{name}" for name in ("convolver", "history", "framing", "pitch", "spectrum"))
PARTS += ("hop.model", "outputs.morph", "outputs.mixer", "outputs.base", "outputs.resynth.output")
JUMP = 26001  # within a hop and within a block


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(embedded_bundle())


def session_of(bundle: Bundle, knobs: dict[str, float]) -> Session:
    bank = KnobBank(bundle.manifest)
    for name, value in knobs.items():
        bank.set(name, value)
    return Session(bundle, bank, channels=1, sample_rate=RATE, options=SessionOptions(provider="cpu"))


def play(session: Session, sound: np.ndarray, frames: int, jump: dict[str, float] | None = None) -> np.ndarray:
    """sound : (samples,). In blocks of `frames`, one of them cut where the knobs jump."""
    sound = sound.astype(np.float32)[:, None]
    out, start = np.empty_like(sound), 0
    while start < len(sound):
        if start == JUMP:
            for name, value in (jump or {}).items():
                session.knobs.set(name, value)
        end = min(len(sound), start + frames, JUMP if start < JUMP else len(sound))
        session.process_block(sound[start:end], out[start:end])
        start = end
    return out[:, 0].astype(float)


def steady_tone() -> np.ndarray:
    """Six partials of 196 Hz: nothing above 1.2 kHz, so that a step, which sounds at all frequencies, stands out."""
    time = np.arange(JUMP + RATE // 2) / RATE
    return sum(0.25 / k * np.sin(2 * np.pi * 196 * k * time + k) for k in range(1, 7)) * np.minimum(1, time / 0.05)


def sharpness(sound: np.ndarray) -> np.ndarray:
    """Size of the fourth difference: it takes 1.2 kHz down by 60 dB, a step stays what it is."""
    return np.abs(np.diff(sound, 4))


@pytest.mark.parametrize("frames", [64, 1000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"timbre[0]": -3.0}, {"timbre[0]": 3.0}),
        ({"preset": 2, "preset_amount": 1.0}, {"preset": 7}),
        ({"preset": 3, "preset_amount": 1.0, "mix": 0.0}, {"mix": 1.0}),
        ({"preset": 3, "preset_amount": 1.0, "gain_db": -24.0}, {"gain_db": 0.0}),
    ],
    ids=["timbre", "preset", "mix", "gain"],
)
def test_a_knob_from_end_to_end_leaves_no_step(
    bundle: Bundle, before: dict[str, float], after: dict[str, float], frames: int
) -> None:
    """From sample to sample and from block to block the sound is, while it changes, as smooth as it is before or after,
    within 0.1 % of full scale.

    A filter that was swapped at once would leave a step, and so would one that jumped at every hop, the noise of zips.
    """
    tone = steady_tone()
    out = play(session_of(bundle, before), tone, frames, after)
    there = play(session_of(bundle, before | after), tone, frames)
    around, settled = slice(JUMP - 2000, JUMP + 12000), slice(JUMP + 4000, JUMP + 12000)
    own = max(sharpness(out[JUMP - 8000 : JUMP - 2000]).max(), sharpness(there[settled]).max())
    assert np.abs(out[settled] - out[JUMP - 8000 : JUMP]).max() > 0.01, "the knob must do something"
    assert sharpness(out[around]).max() < own + 1e-3
    at_once = np.where(np.arange(len(out)) < JUMP + 300, out, there)[around]
    if "mix" not in after:  # from the dry sound on, both may meet by chance
        assert sharpness(at_once).max() > 2 * sharpness(out[around]).max(), (
            "the measure must hear a filter that is swapped at once"
        )


@pytest.mark.parametrize(
    "knobs",
    [{"timbre[0]": 3.0}, {"preset": 4, "preset_amount": 1.0}, {"brightness": 3.0}],
    ids=["timbre", "preset", "brightness"],
)
def test_nothing_rings_before_its_cause(bundle: Bundle, knobs: dict[str, float]) -> None:
    """An impulse in the silence that keeps the filter as it is: not a sample comes before it, and then its energy comes
    as early as it can.

    Of all filters of one magnitude the minimum-phase one has given out most of its energy at every moment.
    """
    tone = np.concatenate([steady_tone(), np.zeros(RATE // 4)])
    arrival = len(tone)
    sound = np.concatenate([tone, np.zeros(4096)])
    struck = sound.copy()
    struck[arrival] = 0.5
    with_it, without = (play(session_of(bundle, knobs), played, 128) for played in (struck, sound))
    answer = with_it - without
    assert not answer[:arrival].any()
    response = answer[arrival : arrival + 2048] / 0.5
    earliest = minimum_phase(np.abs(np.fft.rfft(response, 16384)))[:2048]
    assert np.abs(response - earliest).max() < 0.01 * np.abs(response).max()


def minimum_phase(magnitude: np.ndarray) -> np.ndarray:
    """The response of least delay with this magnitude, by its folded cepstrum."""
    samples = 2 * (len(magnitude) - 1)
    cepstrum = np.fft.irfft(np.log(magnitude), samples)
    cepstrum[1 : samples // 2] *= 2
    cepstrum[samples // 2 + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), samples)


def test_a_sound_that_fades_to_nothing_leaves_no_tiny_numbers(bundle: Bundle) -> None:
    """After a decay beyond the smallest float32, analysis, model, filter and histories keep nothing of a size that
    slows the processor down.
    """
    tone = steady_tone()
    seconds = np.arange(len(tone)) / RATE
    faded = np.concatenate([tone * 10.0 ** (-50 * seconds / seconds[-1]), np.zeros(RATE // 4)])
    session = session_of(bundle, {"preset": 2, "preset_amount": 0.7})
    out = play(session, faded, 128)
    assert np.isfinite(out).all()
    assert np.abs(out[:4000]).max() > 0.01
    arrays = list(kept_by(session))
    assert len(arrays) > 40
    found = [name for name, array in arrays if ((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)).any()]
    assert not found


def kept_by(session: Session) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of numbers in these parts of the session."""
    seen: set[int] = set()

    def walk(value: object, path: str) -> Iterator[tuple[str, np.ndarray]]:
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "fc":
                yield path, value.view(value.real.dtype)
        elif isinstance(value, dict | list | tuple):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from walk(item, f"{path}.{key}")
        elif type(value).__module__.removeprefix("realtime.") in PARTS and hasattr(value, "__dict__"):
            yield from walk(vars(value), path)

    for owner in (session, session._step):
        for name, part in vars(owner).items():
            if not isinstance(part, np.ndarray):
                yield from walk(part, name)
