"""Sound files are read to their real end, by runtime and data sources alike, whatever their headers count."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime.files.audio_files import AudioFileError, read_audio
from realtime.run import main
from tests.support.bundles import make_bundle
from tests.support.odd_sounds import (
    RATE,
    decoded,
    encoded,
    frame_count,
    mp3,
    notes_chunk,
    sound,
    sound_bytes,
    with_flac_total,
    with_frame_count,
    with_sizes,
    without_tag,
)
from tests.support.source_code import ROOT
from training.data.build.recordings import RecordingError, read_recording

CHUNKED = [
    ("WAV", "PCM_16", "FILE"),
    ("WAV", "PCM_24", "FILE"),
    ("WAV", "IMA_ADPCM", "FILE"),
    ("WAV", "PCM_16", "BIG"),
    ("WAVEX", "FLOAT", "FILE"),
    ("AIFF", "PCM_24", "FILE"),
    ("AIFF", "PCM_16", "LITTLE"),
    ("AIFF", "FLOAT", "FILE"),
]
MODES = [(mode, rate) for mode in ("CONSTANT", "AVERAGE", "VARIABLE") for rate in (44100, 22050, 11025)]


def read_both(path: Path, content: bytes) -> tuple[np.ndarray, str]:
    """What both readers find, and what is wrong with the header; they must agree."""
    path.write_bytes(content)
    audio, recording = read_audio(path), read_recording(path, None)
    assert (audio.sample_rate, len(audio.samples)) == (recording.source_rate, len(recording.audio))
    assert np.abs(audio.samples.mean(axis=1) - recording.audio).max() < 1e-6
    assert not recording.truncated
    wrong = [warning for warning in audio.warnings if warning.endswith("what is there was read to the end")]
    assert len(wrong) == bool(recording.header)
    assert not wrong or wrong[0].startswith(f"{path}: {recording.header};")
    return audio.samples, recording.header


def refused_as_cut_off(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(AudioFileError, match="is cut off: it ") as caught:
        read_audio(path)
    assert "\n" not in str(caught.value)
    assert read_recording(path, None).truncated
    return str(caught.value)


@pytest.mark.parametrize(("kind", "subtype", "endian"), CHUNKED)
def test_wrong_sizes_with_the_sound_behind_them(tmp_path: Path, kind: str, subtype: str, endian: str) -> None:
    good = encoded(sound(), kind, subtype, endian)
    whole, held, expected = len(good) - 8, sound_bytes(good), decoded(good)
    cases = {
        "a pipe writer's": (with_sizes(good, 0x7FFFF024, 0x7FFFEFFF), ""),
        "sox's of AIFF": (with_sizes(good, 0x7F00002E, 0x7F000000), ""),
        "all ones": (with_sizes(good, 0xFFFFFFFF, 0xFFFFFFFF), ""),
        "none": (with_sizes(good, 0, 0), "declares 0 bytes of sound and it holds"),
        "no sound": (with_sizes(good, None, 0), "declares 0 bytes of sound and it holds"),
        "a larger file": (with_sizes(good, whole + 1000), f"declares {whole + 1008} bytes and it has {whole + 8}"),
        "the file's for the sound": (with_sizes(good, None, held + 40), "bytes of sound and it holds"),
        "an old one": (with_sizes(good, None, 2000), "bytes of sound and it holds"),
    }
    for name, (content, said) in cases.items():
        samples, wrong = read_both(tmp_path / f"x.{kind[:4].lower()}", content)
        assert np.array_equal(samples, expected), name
        assert said in wrong if said else not wrong, name


@pytest.mark.parametrize(("kind", "subtype", "endian"), CHUNKED)
def test_remarks_behind_the_sound_are_not_played(tmp_path: Path, kind: str, subtype: str, endian: str) -> None:
    good = encoded(sound(), kind, subtype, endian)
    notes, held = notes_chunk(good), sound_bytes(good)
    for content in (
        with_sizes(good, len(good) - 8 + len(notes)),
        with_sizes(good, 0, 0),
        with_sizes(good, None, held + 44),
        with_sizes(good, 0xFFFFFFFF, 0xFFFFFFFF),
    ):
        assert np.array_equal(read_both(tmp_path / f"x.{kind[:4].lower()}", content + notes)[0], decoded(good))
    empty = encoded(np.zeros(0, np.float32), kind, subtype, endian)
    (tmp_path / "empty.wav").write_bytes(with_sizes(empty, len(empty) - 8 + len(notes)) + notes)
    with pytest.raises(AudioFileError, match="holds no sound"):
        read_audio(tmp_path / "empty.wav")


@pytest.mark.parametrize(("kind", "subtype", "endian"), CHUNKED)
def test_a_file_that_is_cut_off_is_still_told(tmp_path: Path, kind: str, subtype: str, endian: str) -> None:
    good = encoded(sound(), kind, subtype, endian)
    words = refused_as_cut_off(tmp_path / "x.wav", good[: len(good) // 2])
    assert re.search(rf"it declares {sound_bytes(good) - 8 * (kind == 'AIFF')} bytes of sound and holds \d+;", words)


@pytest.mark.parametrize("size", [0, 1000, 10**7])
def test_an_aiff_files_count_of_samples_is_not_believed(tmp_path: Path, size: int) -> None:
    good = encoded(sound(), "AIFF", "PCM_16")
    place = good.index(b"COMM") + 10
    content = good[:place] + size.to_bytes(4, "big") + good[place + 4 :]
    assert np.array_equal(read_both(tmp_path / "x.aiff", content)[0], decoded(good))


@pytest.mark.parametrize("size", [0, 1000])
def test_an_rf64_file_that_was_never_finished(tmp_path: Path, size: int) -> None:
    good = encoded(sound(), "RF64", "PCM_16")
    place = good.index(b"ds64") + 16
    content = good[:place] + size.to_bytes(8, "little") + good[place + 8 :]
    samples, wrong = read_both(tmp_path / "x.wav", content)
    assert np.array_equal(samples, decoded(good))
    assert f"declares {size} bytes of sound and it holds {2 * len(samples)}" in wrong


@pytest.mark.parametrize(("mode", "rate"), MODES)
def test_mp3_files_whatever_their_frame_count(tmp_path: Path, mode: str, rate: int) -> None:
    good, path = mp3(sound(), mode, rate), tmp_path / "x.mp3"
    samples, wrong = read_both(path, good)
    assert len(samples) == 2 * RATE
    assert not wrong
    frames = frame_count(good)
    tags = b"ID3\3\0\0\0\0\7\x7f" + bytes(1023), b"TAG" + bytes(125)
    assert np.array_equal(read_both(path, tags[0] + good + tags[1])[0], samples)
    for content, said in (
        (without_tag(good), ""),
        (with_frame_count(good, 0), ""),
        (with_frame_count(good, 10), f"counts 10 frames and it holds {frames}"),
    ):
        found, wrong = read_both(path, content)
        assert said in wrong if said else not wrong
        assert 0 <= len(found) - 2 * RATE < 3 * 1152, "the encoder's padding and no more"
        delay = int(np.argmax([found[d : d + RATE, 0] @ samples[:RATE, 0] for d in range(1200)]))
        assert np.abs(found[delay + 2000 : delay + 2 * RATE, 0] - samples[2000:, 0]).max() < 1e-3
    twice, wrong = read_both(path, good + good)
    assert len(twice) > 4 * RATE
    assert "its header counts" in wrong


@pytest.mark.parametrize(("mode", "rate"), MODES)
def test_mp3_files_that_are_cut_off_are_told(tmp_path: Path, mode: str, rate: int) -> None:
    good = mp3(sound(), mode, rate)
    assert f"declares {frame_count(good)} frames and holds " in refused_as_cut_off(
        tmp_path / "x.mp3", good[: len(good) // 2]
    )
    bare = without_tag(good)
    assert "it ends within a frame" in refused_as_cut_off(tmp_path / "x.mp3", bare[:-9])


def test_noise_among_the_frames_of_an_mp3_file_is_passed_over(tmp_path: Path) -> None:
    good = mp3(sound(), "CONSTANT")
    place, noise = good.index(good[:2], 4), np.random.default_rng(1).integers(0, 255, 5000, np.uint8).tobytes()
    samples, wrong = read_both(tmp_path / "x.mp3", good[: 20 * place] + noise + good[20 * place :])
    assert len(samples) == 2 * RATE
    assert "it has 5000 bytes among its frames" in wrong


def test_an_ogg_file_of_several_streams_is_played_whole(tmp_path: Path) -> None:
    first, second = sound(), sound()[::-1].copy()
    streams = [encoded(each, "OGG", "VORBIS") for each in (first, second)]
    samples, wrong = read_both(tmp_path / "x.ogg", b"".join(streams))
    assert np.array_equal(samples, np.concatenate([decoded(stream) for stream in streams]))
    assert not wrong
    refused_as_cut_off(tmp_path / "x.ogg", streams[0] + streams[1][: len(streams[1]) // 2])
    (tmp_path / "x.ogg").write_bytes(streams[0] + encoded(first, "OGG", "VORBIS", rate=44100))
    for read, error in ((read_audio, AudioFileError), (lambda path: read_recording(path, None), RecordingError)):
        with pytest.raises(error, match="several sounds of different rates or channels"):
            read(tmp_path / "x.ogg")


@pytest.mark.parametrize(("total", "said"), [(0, ""), (1000, "declares 1000 samples and it holds 44100")])
def test_flac_whatever_its_count(tmp_path: Path, total: int, said: str) -> None:
    good = encoded(sound(), "FLAC", "PCM_24")
    samples, wrong = read_both(tmp_path / "x.flac", with_flac_total(good, total))
    assert np.array_equal(samples, decoded(good))
    assert said in wrong if said else not wrong
    refused_as_cut_off(tmp_path / "x.flac", good[: len(good) // 2])


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "GSM610"), ("WAV", "G721_32"), ("AU", "G721_32"), ("AU", "G723_24"), ("XI", "DPCM_16"),
     ("AIFF", "DWVW_16"), ("WAV", "NMS_ADPCM_32")],
)  # fmt: skip
def test_formats_that_cannot_seek_are_read(tmp_path: Path, kind: str, subtype: str) -> None:
    tone = sound()[:RATE]
    samples, _ = read_both(tmp_path / f"x.{kind.lower()}", encoded(tone, kind, subtype))
    assert 0 <= len(samples) - len(tone) < 1024, "whole blocks"
    assert np.corrcoef(samples[: len(tone), 0], tone)[0, 1] > 0.9


def test_a_sound_in_such_a_format_is_played_and_gives_a_timbre(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "small.bundle")
    (tmp_path / "gsm.wav").write_bytes(encoded(sound(), "WAV", "GSM610"))
    (tmp_path / "none.wav").write_bytes(with_sizes(encoded(sound(), "WAV", "PCM_16"), 0, 0))
    for name in ("gsm.wav", "none.wav"):
        options = ["--input", str(tmp_path / name), "--output", str(tmp_path / "out.wav"), "--bundle", str(bundle)]
        assert main([*options, "--timbre", str(tmp_path / "gsm.wav")]) == 0
        assert soundfile.info(str(tmp_path / "out.wav")).frames >= 2 * RATE
    said = capsys.readouterr()
    assert "none.wav: its header declares 0 bytes of sound and it holds 88200" in said.out + said.err


@pytest.mark.parametrize("rate", [1, 999, 10**9])
def test_a_rate_that_no_sound_has_is_told_and_takes_no_memory(tmp_path: Path, rate: int) -> None:
    content = bytearray(encoded(sound(), "WAV", "PCM_16"))
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(RecordingError, match=f"its header says {rate} Hz; 1000 … 768000 Hz are possible"):
        read_recording(tmp_path / "x.wav", 44100)


def test_both_readers_are_one() -> None:
    """`realtime` and `training` may not import each other, so each has the package; they may not drift apart."""
    ours, theirs = (ROOT / "realtime/files/decode", ROOT / "training/data/decode")
    assert [path.name for path in sorted(ours.glob("*.py"))] == [path.name for path in sorted(theirs.glob("*.py"))]
    for path in ours.glob("*.py"):
        text = path.read_text(encoding="utf-8").replace("realtime.files.decode", "training.data.decode")
        assert text == (theirs / path.name).read_text(encoding="utf-8"), path.name
