"""Recording what is heard: from the callback's ring to a file, however the writer is treated."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from realtime.bundle import load_bundle
from realtime.devices.devices import Device
from realtime.devices.stream_config import StreamConfig
from realtime.files.audio_files import AudioFileError
from realtime.files.recording import RecordingFile
from realtime.knobs.bank import KnobBank
from realtime.live.callback import Callback
from realtime.live.recorder import Recorder
from realtime.live.shared import RING_FRAMES, BlockSizes, SharedBlock
from realtime.session import Session
from tests.support.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[3]
RATE = 44100
# No flag raised.
QUIET = SimpleNamespace(input_overflow=False, input_underflow=False, output_overflow=False, output_underflow=False)


class CallbackRig:
    """A real session behind the real callback, driven by hand."""

    def __init__(self, bundle: Path, outputs: int = 2) -> None:
        loaded = load_bundle(bundle)
        self.block = SharedBlock(BlockSizes.of(loaded.manifest, 2))
        device = Device(0, "hands", "tests", 1, outputs, RATE, True, True)
        session = Session(loaded, KnobBank(loaded.manifest), channels=1, sample_rate=RATE)
        self.outputs = outputs
        self.callback = Callback(
            session, StreamConfig(device, device, 1, 1, outputs, RATE), self.block.record, recording=True
        )
        self.block.record["sample_rate"] = RATE

    def play(self, sound: np.ndarray, block: int = 512) -> np.ndarray:
        """sound : (samples,).  Returns what was heard, (samples, outputs)."""
        heard = np.zeros((len(sound), self.outputs), np.float32)
        for start in range(0, len(sound), block):
            piece = sound[start : start + block, None]
            self.callback(piece, heard[start : start + block], len(piece), None, QUIET)
        return heard


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("recorder") / "small.bundle")


@pytest.fixture
def rig(bundle: Path) -> Iterator[CallbackRig]:
    made = CallbackRig(bundle)
    yield made
    made.block.close()


def noise(samples: int) -> np.ndarray:
    return (0.2 * np.random.default_rng(3).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_the_file_is_what_was_heard_sample_by_sample(rig: CallbackRig, tmp_path: Path, extension: str) -> None:
    rig.play(noise(1000))  # before the recording
    path = tmp_path / f"take.{extension}"
    recorder = Recorder(rig.block, path, pytest.fail)
    heard = rig.play(noise(RATE), block=731)
    assert not path.exists()
    recorded = recorder.close()
    assert (recorded.frames, recorded.lost, recorded.seconds, recorded.path) == (RATE, 0, 1.0, path)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    assert np.abs(samples - heard).max() <= (0.0 if extension == "wav" else 2.0**-23)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_one_output_is_recorded_on_both_channels(bundle: Path, tmp_path: Path) -> None:
    rig = CallbackRig(bundle, outputs=1)
    recorder = Recorder(rig.block, tmp_path / "take.wav", pytest.fail)
    heard = rig.play(noise(5000))
    recorder.close()
    samples, _ = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert np.array_equal(samples, np.repeat(heard, 2, axis=1))


def test_what_the_ring_lost_is_silence_of_the_same_length(rig: CallbackRig, tmp_path: Path) -> None:
    never = 3600.0  # a writer that is never given time
    recorder = Recorder(rig.block, tmp_path / "take.wav", pytest.fail, drain_seconds=never)
    heard = rig.play(noise(RING_FRAMES + 100000), block=8192)
    recorded = recorder.close()
    samples, _ = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert len(samples) == len(heard) == recorded.frames
    assert 100000 <= recorded.lost < 120000
    assert np.array_equal(samples[recorded.lost :], heard[recorded.lost :])
    assert not samples[: recorded.lost].any()


def test_a_device_that_comes_back_at_another_rate_goes_on_in_the_same_file(rig: CallbackRig, tmp_path: Path) -> None:
    recorder = Recorder(rig.block, tmp_path / "take.wav", pytest.fail)
    rig.play(noise(RATE))
    recorder.drain()
    rig.block.record["sample_rate"] = 2 * RATE
    rig.play(np.sin(2 * np.pi * 1000 / (2 * RATE) * np.arange(4 * RATE)).astype(np.float32))
    recorded = recorder.close()
    samples, _ = soundfile.read(tmp_path / "take.wav")
    assert abs(recorded.frames - 3 * RATE) < RATE // 50
    tail = samples[-RATE:, 0] * np.hanning(RATE)
    assert abs(int(np.argmax(np.abs(np.fft.rfft(tail)))) - 1000) <= 1  # the same 1000 Hz


def test_a_full_disk_is_one_sentence_and_what_was_written_stays(rig: CallbackRig, tmp_path: Path) -> None:
    said: list[str] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    recorder = Recorder(rig.block, tmp_path / "take.wav", said.append)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200000, limits[1]))
    try:
        rig.play(noise(2 * RATE))
        recorder.drain()
        heard = rig.play(noise(RATE))  # the sound goes on
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert heard.any()
    assert len(said) == 1
    assert "cannot record to" in said[0]
    assert "the sound goes on" in said[0]
    samples, _ = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert 10000 < len(samples) < 30000


def test_a_killed_program_leaves_a_file_that_opens(tmp_path: Path) -> None:
    code = (
        "import numpy as np, os, sys; from pathlib import Path; from realtime.files.recording import RecordingFile\n"
        "file = RecordingFile(Path(sys.argv[1]), 44100, 2)\n"
        "for k in range(10): file.write(np.full((4410, 2), k / 10, np.float32)); file.save_header()\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "take.wav")], cwd=ROOT, check=False)
    samples, rate = soundfile.read(tmp_path / "take.wav.part")
    assert (len(samples), rate) == (44100, 44100)
    assert np.allclose(samples[-1], 0.9)


def test_a_recording_may_exceed_four_gigabytes(tmp_path: Path) -> None:
    """In a file with a hole, so that the disk holds only both ends of it."""
    file = RecordingFile(tmp_path / "take.wav", RATE, 2)
    long = 2**32 // 8 + 1000
    file.write(np.full((100, 2), 0.25, np.float32))
    file.save_header()
    file._file.seek(long)
    file.write(np.full((100, 2), 0.5, np.float32))
    file.save_header()
    file.finish()
    with soundfile.SoundFile(str(tmp_path / "take.wav")) as found:
        assert (found.format, found.frames) == ("RF64", long + 100)
        found.seek(long)
        assert np.array_equal(found.read(100), np.full((100, 2), 0.5))


def test_what_cannot_be_recorded_is_told_before_the_music(rig: CallbackRig, tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"end it with \.wav or \.flac"):
        Recorder(rig.block, tmp_path / "take.xyz", pytest.fail)
    with pytest.raises(AudioFileError, match="there is no folder"):
        Recorder(rig.block, tmp_path / "nowhere" / "take.wav", pytest.fail)


def test_without_a_sound_there_is_no_file(rig: CallbackRig, tmp_path: Path) -> None:
    recorded = Recorder(rig.block, tmp_path / "take.wav", pytest.fail).close()
    assert recorded.path is None
    assert not list(tmp_path.iterdir())
