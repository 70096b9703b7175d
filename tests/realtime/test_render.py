"""Offline: events on the sample, every kind of file, and one sentence for everything that cannot be read or written."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime.bundle import Bundle, load_bundle
from realtime.files.audio_files import AudioFileError, output_format, read_audio, write_audio
from realtime.knobs.bank import KnobBank
from realtime.render import render
from realtime.session import Session, SessionOptions
from tests.support.bundles import make_bundle
from training.data.manifest import read_dataset
from training.data.store import SoundStore

RATE = 44100
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("render") / "small.bundle"))


@pytest.fixture(scope="module")
def stereo(tiny_data: Path) -> np.ndarray:
    """A clarinet left, a violin right, one second."""
    dataset = read_dataset(tiny_data)
    store = SoundStore(dataset)
    return np.stack(
        [store.read(int(np.flatnonzero(dataset.program == program)[2]), 0, RATE) for program in (71, 40)], axis=1
    )


def make_session(bundle: Bundle, channels: int = 2, rate: int = RATE) -> Session:
    return Session(
        bundle, KnobBank(bundle.manifest), channels=channels, sample_rate=rate, options=SessionOptions(provider="cpu")
    )


# Rendering
# --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [1, 100, 512, 10**6])
def test_events_act_on_their_sample_at_any_block_size(bundle: Bundle, stereo: np.ndarray, block_size: int) -> None:
    sound = stereo[:12000]
    session = make_session(bundle)
    positions: list[int] = []

    def note_position() -> None:
        positions.append(int(session.meters["frames"]))

    moves = [
        (0, note_position),
        (4321, lambda: session.knobs.set("timbre[0]", 2.0)),
        (4321, note_position),
        (9999, note_position),
    ]
    out = render(session, sound, RATE, [*moves[::-1], (50000, note_position)], block_size)
    assert positions == [0, 4321, 9999]
    assert out.dtype == np.float32
    assert np.array_equal(out[:4321], sound[:4321])
    assert np.abs(out[4700:] - sound[4700:]).max() > 0.01
    other = make_session(bundle)
    reference = render(other, sound, RATE, [(4321, lambda: other.knobs.set("timbre[0]", 2.0))], 333)
    assert np.abs(out - reference).max() < 1e-6


def test_events_of_one_sample_keep_their_order(bundle: Bundle, stereo: np.ndarray) -> None:
    session = make_session(bundle)
    seen: list[int] = []
    render(session, stereo[:500], RATE, [(100, partial(seen.append, k)) for k in range(5)], 64)
    assert seen == [0, 1, 2, 3, 4]


def test_a_sound_of_another_shape_or_rate_is_refused(bundle: Bundle, stereo: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the session is for 2 channels at 44100 Hz"):
        render(make_session(bundle), stereo[:, :1], RATE)
    with pytest.raises(ValueError, match="at 48000 Hz"):
        render(make_session(bundle), stereo, 48000)


# Reading
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("x.wav", "FLOAT", 0.0),
        ("x.wav", "PCM_16", 1e-4),
        ("x.flac", "PCM_24", 1e-6),
        ("x.aiff", "PCM_16", 1e-4),
        ("x.ogg", "VORBIS", 0.3),
    ],
)
@pytest.mark.parametrize("rate", [22050, 96000])
def test_any_format_rate_and_channel_count_is_read(
    stereo: np.ndarray, tmp_path: Path, name: str, subtype: str, tolerance: float, rate: int
) -> None:
    for sound in (stereo[:, :1], stereo, np.tile(stereo, 3)):
        soundfile.write(tmp_path / name, sound, rate, subtype=subtype)
        audio = read_audio(tmp_path / name)
        assert (audio.sample_rate, audio.samples.shape, audio.samples.dtype) == (
            rate,
            sound.shape,
            np.dtype(np.float32),
        )
        assert np.abs(audio.samples - sound).max() <= tolerance
        assert audio.warnings == ()


def test_a_wav_written_into_a_pipe_is_not_taken_for_cut_off(stereo: np.ndarray, tmp_path: Path) -> None:
    """Such a file declares the largest length there is."""
    soundfile.write(tmp_path / "x.wav", stereo, RATE, subtype="PCM_16")
    content = bytearray((tmp_path / "x.wav").read_bytes())
    content[4:8] = content[content.index(b"data") + 4 : content.index(b"data") + 8] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "x.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "x.wav").samples) == len(stereo)


def test_samples_that_are_no_numbers_become_silence_and_are_told(stereo: np.ndarray, tmp_path: Path) -> None:
    broken = stereo.copy()
    broken[100:110, 0], broken[200, 1] = np.nan, np.inf
    soundfile.write(tmp_path / "x.wav", broken, RATE, subtype="FLOAT")
    audio = read_audio(tmp_path / "x.wav")
    assert np.isfinite(audio.samples).all()
    assert not audio.samples[100:110, 0].any()
    assert "11 of 88200 samples are not numbers" in audio.warnings[0]


def test_clipping_is_told_and_a_normalised_note_is_not_clipped(stereo: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", 4 * stereo, RATE, subtype="PCM_16")
    (warning,) = read_audio(tmp_path / "loud.wav").warnings
    assert "clipped, at least" in warning
    soundfile.write(tmp_path / "full.wav", stereo / np.abs(stereo).max(), RATE, subtype="PCM_16")
    assert read_audio(tmp_path / "full.wav").warnings == ()


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.aiff", "x.ogg", "x.w64", "x.au"])
def test_a_truncated_file_is_refused(stereo: np.ndarray, tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, stereo, RATE)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioFileError, match=r"is cut off|not a sound file that can be read") as caught:
        read_audio(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_is_no_sound_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("dear diary\n" * 100)
    soundfile.write(tmp_path / "short.wav", np.zeros((0, 1)), RATE)
    for name, words in (
        ("none.wav", "there is no file"),
        (".", "is a folder"),
        ("empty.wav", "is empty"),
        ("text.wav", "is not a sound file"),
        ("short.wav", "holds no sound"),
    ):
        with pytest.raises(AudioFileError, match=words) as caught:
            read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


# Writing
# ----------------------------------------------------------------------------------------------------------------


def test_wav_is_float_and_never_clips(stereo: np.ndarray, tmp_path: Path) -> None:
    assert write_audio(tmp_path / "x.wav", 3 * stereo, RATE) == ()
    assert np.array_equal(soundfile.read(tmp_path / "x.wav", dtype="float32")[0], 3 * stereo)
    assert soundfile.info(tmp_path / "x.wav").subtype == "FLOAT"


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("x.flac", "PCM_24"), ("x.ogg", "VORBIS"), ("x.aif", "FLOAT"), ("x.caf", "FLOAT"), ("X.WAV", "FLOAT")],
)
def test_the_extension_chooses_the_format(stereo: np.ndarray, tmp_path: Path, name: str, subtype: str) -> None:
    write_audio(tmp_path / name, stereo, RATE)
    assert soundfile.info(tmp_path / name).subtype == subtype
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert np.abs(read_audio(tmp_path / name).samples - stereo).max() < (0.3 if subtype == "VORBIS" else 1e-6)


def test_whole_numbers_clip_and_it_is_told(stereo: np.ndarray, tmp_path: Path) -> None:
    (warning,) = write_audio(tmp_path / "x.flac", 3 * stereo, RATE)
    assert "samples beyond full scale were cut off; lower gain_db" in warning
    found = read_audio(tmp_path / "x.flac").samples
    assert np.abs(found - np.clip(3 * stereo, -1, 1)).max() < 1e-6  # cut off, not wrapped round


def test_what_cannot_be_written_is_told_and_the_old_file_stays(stereo: np.ndarray, tmp_path: Path) -> None:
    old = tmp_path / "old.flac"
    old.write_bytes(b"old")
    with pytest.raises(AudioFileError, match="FLAC cannot hold 10 channels"):
        write_audio(old, np.tile(stereo, 5), RATE)
    with pytest.raises(AudioFileError, match="No such file or directory"):
        write_audio(tmp_path / "none" / "x.wav", stereo, RATE)
    with pytest.raises(AudioFileError, match="cannot write"):
        write_audio(old / "x.wav", stereo, RATE)
    for name in ("x.xyz", "x", "x.raw"):
        with pytest.raises(AudioFileError, match=r"end it with \.wav or \.flac"):
            output_format(Path(name))
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path: Path) -> None:
    old = tmp_path / "take.wav"
    old.write_bytes(b"old")
    script = f"""
import sys, numpy as np
from realtime.files.audio_files import AudioFileError, write_audio
try:
    write_audio({str(old)!r}, np.zeros((44100, 2), np.float32), 44100)
except AudioFileError as error:
    sys.exit(str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot write {old}: ")
    assert done.stderr.count("\n") == 1
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]
