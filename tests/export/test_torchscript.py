"""The command that makes files for other hosts: what it writes was played, what it refuses gets one sentence."""

from __future__ import annotations

import dataclasses
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import export.host_file
from export.errors import ExportError
from export.fused.file import proof_sound
from export.host_file import written
from export.torchscript import main
from tests.support.host_files import HOP, level_db, small_checkpoint, sound_of
from tests.support.nn_tilde_host import NnTildeHost
from training.checkpoint import load_checkpoint, save_slim
from training.models.perturbation import PerturbationVAE


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with labelled axes; what export does with it does not depend on training."""
    return small_checkpoint(tmp_path_factory.mktemp("small") / "small.pt", hop=256)


def one_sentence(captured: str) -> str:
    line = captured.strip()
    assert line.startswith("export.torchscript: ")
    assert "\n" not in line
    return line


def test_command_writes_a_file_that_was_played_and_says_nothing_else(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    target = tmp_path / "new" / "small.ts"
    assert main([str(small), "--host", "nn_tilde", "--output", str(target)]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert not recwarn.list
    assert [path.name for path in target.parent.iterdir()] == ["small.ts"]
    found = re.search(r"within (\S+) of the runtime over (\d+) hops", said.out)
    assert found
    assert float(found[1]) <= 1e-4
    assert int(found[2]) * HOP >= 10 * 16000
    assert NnTildeHost(target).perform("forward", np.zeros((1, 1, 512))).shape == (1, 1, 512)


def shorter(monkeypatch: pytest.MonkeyPatch, hops: int) -> None:
    """The command's proof on the beginning of its sound only."""
    monkeypatch.setattr(export.host_file, "proof_sound", lambda manifest, audio: proof_sound(manifest, audio)[:hops])


def test_plain_files_are_two_and_play_the_same(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter(monkeypatch, 100)
    assert main([str(small), "--host", "plain", "--output", str(tmp_path / "small.plain.pt")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.plain.pt", "small.plain.pt2"]


def test_models_that_look_ahead_say_how_late_they_answer(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bidirectional model becomes causal, plays the runtime's sound as late, and the level waits for its latents."""
    shorter(monkeypatch, 100)
    checkpoint = load_checkpoint(small)
    torch.manual_seed(2)
    config = dataclasses.replace(checkpoint.model.config, bidirectional=True, layers=2)
    both = dataclasses.replace(checkpoint, model=PerturbationVAE(config).eval())
    save_slim(both, tmp_path / "both.pt")
    assert (
        main(
            [str(tmp_path / "both.pt"), "--host", "nn_tilde", "--lookahead", "2", "--output", str(tmp_path / "both.ts")]
        )
        == 0
    )
    host = NnTildeHost(tmp_path / "both.ts")
    sound = sound_of(0.1)
    late = host.play("forward", sound, [1024])[0, 0]
    np.testing.assert_array_equal(late[2 * HOP :], sound[0, 0, : -2 * HOP])
    assert not late[: 2 * HOP].any()
    found = host.play("encode", sound, [1024])[0, -1, 20 * HOP]
    assert abs(found - level_db(sound[0, 0, 15 * HOP : 19 * HOP])) < 0.01, "the frame that ended two hops ago"


def test_hops_that_nn_tilde_cannot_work_with_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = small_checkpoint(tmp_path / "odd.pt", hop=441)
    assert main([str(source), "--host", "nn_tilde", "--output", str(tmp_path / "odd.ts")]) == 2
    assert (
        "a hop of 441 samples is not a power of two, nn~ needs one; retrain with hop_samples 256 or 512"
        in one_sentence(capsys.readouterr().err)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["odd.pt"]


def test_without_neutones_kit_it_says_what_to_install(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "neutone_sdk", None)  # as if it were not installed
    assert main([str(small), "--host", "neutone", "--output", str(tmp_path / "x.nm")]) == 2
    sentence = one_sentence(capsys.readouterr().err)
    assert "pip install neutone-sdk" in sentence
    assert "environment of its own" in sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{small}", "--output", "{small}"], "would overwrite the checkpoint"),
        (["{here}/none.pt"], "none.pt"),
        (["{small}", "--host", "plain", "--output", "{here}/x.pt2"], "has the suffix of the second file"),
        (["{small}", "--calibration", "{here}/nothing"], "nothing"),
        (["{small}", "--output", "{small}/file.ts"], "cannot write"),
    ],
)
def test_bad_requests_get_one_sentence(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    before = small.read_bytes()
    filled = [word.format(small=small, here=tmp_path) for word in arguments]
    assert (
        main(["--host", "nn_tilde", *filled, *([] if "--output" in filled else ["--output", str(tmp_path / "x.ts")])])
        == 2
    )
    assert complaint in one_sentence(capsys.readouterr().err)
    assert small.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_a_full_disk_or_a_refusal_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "x.ts"
    target.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with (
            pytest.raises(ExportError, match=r"cannot write .*x\.ts .*free some space"),
            written([target], [bytes(5000)]),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(ExportError, match="refused"), written([target], [bytes(50)]):
        raise ExportError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["x.ts"]
    assert target.read_bytes() == b"before"
    with written([target], [b"after"]) as files:
        assert loaded_bytes(files) == b"after"
    assert target.read_bytes() == b"after"


def loaded_bytes(files: list[Path]) -> bytes:
    return files[0].read_bytes()
