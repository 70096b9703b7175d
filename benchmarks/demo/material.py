"""python -m benchmarks.demo.material: makes the demo's phrases and knob movements anew.

It needs FluidR3 GM, which is MIT-licensed.

The first phrase is a sampled cello. The MIDI file turns knobs and changes presets over it; both begin and end at rest.
A voice and a guitar play the two others, for the synthesizer."""

from __future__ import annotations

from pathlib import Path

import fluidsynth
import mido
import numpy as np
import soundfile

from training.console import run_command

FOLDER = Path(__file__).parent
RATE = 44100
SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
CELLO = 42
LENGTH_SECONDS = 18.0
# start in s, length in s, MIDI note, velocity
MELODY = [
    (0.2, 0.85, 50, 80), (1.1, 0.4, 57, 88), (1.55, 0.4, 62, 92), (2.0, 0.9, 65, 100),
    (3.1, 1.5, 64, 95), (4.7, 0.4, 62, 85), (5.15, 0.4, 60, 85), (5.6, 1.2, 57, 90),
    (7.2, 0.4, 58, 80), (7.65, 0.4, 62, 88), (8.1, 0.4, 65, 95), (8.55, 1.3, 69, 105),
    (10.0, 0.4, 67, 95), (10.45, 0.4, 65, 90), (10.9, 0.9, 64, 92), (11.9, 1.3, 62, 90),
    (13.4, 0.45, 57, 80), (13.9, 0.45, 60, 85), (14.4, 2.4, 62, 88),
]  # fmt: skip
VOICE, GUITAR = 53, 24
SONG_SECONDS = 7.0
SONG = [
    (0.2, 0.9, 62, 90), (1.15, 0.5, 64, 95), (1.7, 0.5, 66, 95), (2.25, 1.2, 69, 105),
    (3.6, 0.5, 67, 95), (4.15, 0.5, 66, 90), (4.7, 1.8, 62, 92),
]  # fmt: skip
SWEEPS = [(3.1, 5.0, (20, 21)), (5.1, 7.0, (22, 23, 24))]  # start, end in s, CCs: from the middle up, down and back
PRESETS = [(7.1, 57), (9.9, 74), (11.8, 20), (13.3, 0)]  # s, program: 0 is one's own timbre


def phrase(program: int, melody: list[tuple[float, float, int, int]], seconds: float) -> np.ndarray:
    """One instrument alone, (samples,), float32."""
    synth = fluidsynth.Synth(samplerate=float(RATE), gain=0.7)
    synth.setting("synth.reverb.active", 0)
    synth.setting("synth.chorus.active", 0)
    synth.program_select(0, synth.sfload(SOUNDFONT), 0, program)
    events = sorted(
        [(start, note, velocity) for start, _, note, velocity in melody]
        + [(start + length, note, 0) for start, length, note, _ in melody]
    )
    parts, now = [], 0
    for at, note, velocity in events:
        parts.append(synth.get_samples(round(at * RATE) - now))
        now = round(at * RATE)
        if velocity:
            synth.noteon(0, note, velocity)
        else:
            synth.noteoff(0, note)
    parts.append(synth.get_samples(round(seconds * RATE) - now))
    synth.delete()
    mono = np.concatenate(parts).reshape(-1, 2).mean(1)
    return (mono * (0.5 / np.abs(mono).max())).astype(np.float32)


def knob_movements() -> mido.MidiFile:
    messages = [(seconds, mido.Message("program_change", program=program)) for seconds, program in PRESETS]
    for start, end, controls in SWEEPS:
        for position in np.linspace(0, 1, 97):
            value = round(64 + 63 * np.sin(2 * np.pi * position))
            now = start + (end - start) * position
            messages += [(now, mido.Message("control_change", control=control, value=value)) for control in controls]
    track, last = mido.MidiTrack(), 0
    for seconds, message in sorted(messages, key=lambda item: item[0]):
        tick = round(mido.second2tick(seconds, 480, 500_000))
        track.append(message.copy(time=tick - last))
        last = tick
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    return file


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    phrases = {
        "phrase": phrase(CELLO, MELODY, LENGTH_SECONDS),
        "voice": phrase(VOICE, SONG, SONG_SECONDS),
        "guitar": phrase(GUITAR, SONG, SONG_SECONDS),
    }
    for name, sound in phrases.items():
        soundfile.write(FOLDER / f"{name}.flac", sound, RATE, subtype="PCM_16")
    knob_movements().save(FOLDER / "knobs.mid")
    return 0


if __name__ == "__main__":
    run_command(main)
