"""Single notes and phrases from a SoundFont, through FluidSynth, without reverb and chorus."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterable, Iterator
from ctypes import c_char_p, c_int, c_void_p
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import BinaryIO, Literal

import numpy as np

from training.data.manifest import DataError

BLOCK_SAMPLES = 64  # FluidSynth renders in blocks of this size; events take effect between blocks
PERCUSSION_BANK, PERCUSSION_CHANNEL = 128, 9
BEND_SEMITONES, BEND_STEPS = 12, 8192  # reach of the pitch wheel up and down, and its steps each way
_BEND_RANGE = ((101, 0), (100, 0), (6, BEND_SEMITONES), (38, 0))  # registered parameter 0, then its value
# bytes per record
_TABLES = {"phdr": 38, "pbag": 4, "pmod": 10, "pgen": 4, "inst": 22, "ibag": 4, "imod": 10, "igen": 4, "shdr": 46}
_BAGS = {"pmod": "pbag", "imod": "ibag"}  # tables that may be empty, and those that point into them
_SYSTEM_PLACES = (
    "/usr/share/sounds/sf2",  # Debian, Ubuntu
    "/usr/share/soundfonts",  # Fedora, Arch
    "/usr/local/share/sounds/sf2",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
)


def default_soundfont() -> Path:
    """FluidR3 GM where the system has it, else the small SoundFont inside pretty_midi."""
    for place in _SYSTEM_PLACES:
        path = Path(place) / "FluidR3_GM.sf2"
        if path.is_file():
            return path
    embedded = embedded_soundfont()
    if embedded is None:
        raise DataError(
            "no SoundFont on this machine; install one (Debian: apt install fluid-soundfont-gm) or name one with "
            "--soundfont FILE"
        )
    return embedded


def embedded_soundfont() -> Path | None:
    """TimGM6mb inside pretty_midi, if that is installed; found without importing the package."""
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).with_name("TimGM6mb.sf2") if spec and spec.origin else None
    return path if path and path.is_file() else None


def check_soundfont(path: Path) -> None:
    """Refuse what is not a whole SoundFont file, with a sentence. (FluidSynth says only that it failed, and prints
    pages.)
    """
    if not path.is_file():
        raise DataError(f"no SoundFont at {path}; name a .sf2 file with --soundfont FILE")
    try:
        with path.open("rb") as file:
            _check_header(path, file)
            _check_tables(path, file)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name another file with --soundfont FILE") from None


def _check_header(path: Path, file: BinaryIO) -> None:
    size, header = path.stat().st_size, file.read(12)
    if not size:
        raise DataError(f"{path} is empty; fetch the SoundFont again, or name another with --soundfont FILE")
    if len(header) < 12 or header[:4] != b"RIFF" or header[8:] != b"sfbk":
        raise DataError(
            f"{path} is not a SoundFont (it does not begin with a RIFF sfbk header); name a .sf2 file with "
            "--soundfont FILE"
        )
    expected = int.from_bytes(header[4:8], "little") + 8
    if size < expected:
        raise DataError(f"{path} is truncated ({size} of {expected} bytes); fetch the SoundFont again")
    if size > expected:  # FluidSynth does not take it either
        raise DataError(f"{path} is damaged ({size} bytes, its header says {expected}); fetch the SoundFont again")


def _check_tables(path: Path, file: BinaryIO) -> None:
    """The three lists of a SoundFont 2 file, and in the last the nine tables, each a whole number of records (SoundFont
    2.04, section 7). Modulators may be missing where none is used: FluidSynth loads such files.
    """
    lists = []
    for start, end, _ in _chunks(file, 12, path.stat().st_size):
        file.seek(start)
        lists.append((file.read(4), start + 4, end))
    if [name for name, _, _ in lists[:3]] != [b"INFO", b"sdta", b"pdta"]:  # FluidSynth passes over what follows them
        raise DataError(
            f"{path} is damaged (the lists INFO, sdta and pdta are not all there); fetch the SoundFont again"
        )
    tables = {name: (start, end) for start, end, name in _chunks(file, *lists[2][1:])}
    for name, record_bytes in _TABLES.items():
        start, end = tables.get(name, (0, 0))
        used = name not in _BAGS or _uses_modulators(file, tables.get(_BAGS[name], (0, 0)))
        if (end - start) % record_bytes or (start == end and (used or name not in tables)):
            raise DataError(
                f"{path} is damaged ({name} has {end - start} bytes, not records of {record_bytes}); fetch "
                "the SoundFont again"
            )


def _uses_modulators(file: BinaryIO, bags: tuple[int, int]) -> bool:
    """Whether these bags have modulators: the last one, which ends them all, then begins beyond the first modulator."""
    file.seek(max(bags[0], bags[1] - 2))
    return file.read(2) != bytes(2)


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """RIFF chunks in a stretch of the file: start and end of the content, identifier."""
    while start + 8 <= end:
        file.seek(start)
        name, size = struct.unpack("<4sI", file.read(8))
        yield start + 8, min(start + 8 + size, end), name.decode("latin-1")
        start += 8 + size + size % 2


def load_fluidsynth() -> ModuleType:
    """The pyfluidsynth module, with FluidSynth's own messages off; DataError names the missing package."""
    try:
        import fluidsynth
    except ModuleNotFoundError:
        raise DataError(
            "the Python package pyfluidsynth is missing; install it with: pip install pyfluidsynth"
        ) from None
    except (ImportError, OSError):
        raise DataError(
            "FluidSynth's library was not found; install it (Debian, Ubuntu: apt install libfluidsynth3; macOS: brew "
            "install fluid-synth)"
        ) from None
    silence = fluidsynth.cfunc(
        "fluid_set_log_function", c_void_p, ("level", c_int, 1), ("function", c_void_p, 1), ("data", c_void_p, 1)
    )
    for level in range(5):
        silence(level, None, None)
    return fluidsynth


def fluidsynth_version() -> str:
    return load_fluidsynth().cfunc("fluid_version_str", c_char_p)().decode()


@dataclass(frozen=True)
class Event:
    """A MIDI message at the start of a block: the synthesizer's method and what it takes after the channel."""

    block: int
    channel: int
    message: Literal["noteon", "noteoff", "pitch_bend", "cc", "all_sounds_off"]
    values: tuple[int, ...] = ()


class NoteRenderer:
    """A fresh synthesizer for one program. The same sequence of calls gives the same samples, bit for bit.

    (A synthesizer used for other notes before does not: FluidSynth's voices remember. So: one renderer per program.)

    bank, program : percussion is bank 128, program 0
    channels : how many channels play the program, from 0, the pitch wheel reaching `BEND_SEMITONES`; 9 at most, then
        comes percussion's
    """

    def __init__(self, soundfont: Path, *, bank: int, program: int, sample_rate: int, channels: int = 1) -> None:
        fluidsynth = load_fluidsynth()
        options = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}
        self._synth = fluidsynth.Synth(gain=1.0, samplerate=float(sample_rate), channels=16, **options)
        # pyfluidsynth offers 16-bit samples only (dithered, clipped); the library itself writes floats.
        left = (("left", c_void_p, 1), ("left_offset", c_int, 1), ("left_step", c_int, 1))
        right = (("right", c_void_p, 1), ("right_offset", c_int, 1), ("right_step", c_int, 1))
        self._write = fluidsynth.cfunc(
            "fluid_synth_write_float", c_int, ("synth", c_void_p, 1), ("samples", c_int, 1), *left, *right
        )
        self._channel = PERCUSSION_CHANNEL if bank == PERCUSSION_BANK else 0
        font = self._synth.sfload(str(soundfont))
        if font < 0:
            self._synth.delete()
            raise DataError(f"FluidSynth cannot load {soundfont}, the file is damaged; fetch the SoundFont again")
        self.has_program: bool = self._synth.program_select(self._channel, font, bank, program) == 0
        self._channels = range(channels)
        for channel in self._channels[1:]:
            self._synth.program_select(channel, font, bank, program)
        for channel in self._channels if channels > 1 else ():
            for control, value in _BEND_RANGE:
                self._synth.cc(channel, control, value)

    def __enter__(self) -> NoteRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._synth.delete()

    def note(self, key: int, velocity: int, *, held_samples: int, samples: int) -> np.ndarray:
        """The sound of one key, held, then released; both lengths are rounded up to whole blocks.

        Returns
        -------
        ndarray, (samples,), float32, mean of left and right, unclipped
        """
        held, total = (-(-count // BLOCK_SAMPLES) * BLOCK_SAMPLES for count in (held_samples, samples))
        stereo = np.empty((2, total), np.float32)
        self._synth.noteon(self._channel, key, velocity)
        self._render(stereo, 0, held)
        self._synth.noteoff(self._channel, key)
        self._render(stereo, held, total)
        self._synth.all_sounds_off(self._channel)
        # the voices end in this block, not in the next note
        self._render(np.empty((2, BLOCK_SAMPLES), np.float32), 0, BLOCK_SAMPLES)
        return stereo.mean(axis=0)

    def play(self, events: Iterable[Event], *, blocks: int) -> np.ndarray:
        """What is heard of these events, ascending in time; all ends with the last block.

        Returns
        -------
        ndarray, (blocks · BLOCK_SAMPLES,), float32, mean of left and right, unclipped
        """
        stereo, done = np.empty((2, blocks * BLOCK_SAMPLES), np.float32), 0
        for event in events:
            self._render(stereo, done * BLOCK_SAMPLES, event.block * BLOCK_SAMPLES)
            done = event.block
            getattr(self._synth, event.message)(event.channel, *event.values)
        self._render(stereo, done * BLOCK_SAMPLES, blocks * BLOCK_SAMPLES)
        for channel in self._channels:
            self._synth.all_sounds_off(channel)
        self._render(np.empty((2, BLOCK_SAMPLES), np.float32), 0, BLOCK_SAMPLES)
        return stereo.mean(axis=0)

    def _render(self, stereo: np.ndarray, start: int, end: int) -> None:
        left, right = stereo[0].ctypes.data, stereo[1].ctypes.data
        self._write(self._synth.synth, end - start, left, start, 1, right, start, 1)
