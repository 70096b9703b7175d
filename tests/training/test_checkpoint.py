"""Checkpoints: whole whenever the process dies, never code, damage told in a sentence."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from training.checkpoint import CheckpointError, load_checkpoint
from training.train import WholeFiles


def test_a_checkpoint_is_whole_whenever_the_process_dies(smoke_checkpoint: Path, tmp_path: Path) -> None:
    """kill -9 at random moments of a process that does nothing but save: what is there reads, and is the last that was
    saved.
    """
    content, path, rng = torch.load(smoke_checkpoint, weights_only=True), tmp_path / "last.pt", random.Random(5)
    for _ in range(25):
        reports, told = os.pipe()
        child = os.fork()
        if not child:
            for step in itertools.count():
                WholeFiles().save_checkpoint(content | {"global_step": step}, path)
                os.write(told, b"*")
        os.close(told)
        finished = len(os.read(reports, 1))
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reports, 65536):
            finished += len(more)
        os.close(reports)
        assert finished - 1 <= torch.load(path, weights_only=True)["global_step"] <= finished
        load_checkpoint(path)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_checkpoint_never_runs_code(tmp_path: Path) -> None:
    bomb, sign = tmp_path / "bomb.pt", tmp_path / "exploded"
    torch.save({"neiro": _Bomb(sign), "state_dict": {}}, bomb)
    with pytest.raises(CheckpointError, match="may run code"):
        load_checkpoint(bomb)
    bomb.write_bytes(pickle.dumps(_Bomb(sign)))
    with pytest.raises(CheckpointError):
        load_checkpoint(bomb)
    assert not sign.exists()


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "truncated", "text", "foreign", "newer", "shape", "folder", "pointer", "nan"]
)
def test_damaged_checkpoints_are_refused_in_a_sentence(smoke_checkpoint: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ckpt.pt"
    good = torch.load(smoke_checkpoint, weights_only=True)
    if damage == "empty":
        path.touch()
    elif damage == "truncated":
        path.write_bytes(smoke_checkpoint.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    elif damage == "newer":
        torch.save(good | {"neiro": good["neiro"] | {"format": 99}}, path)
    elif damage == "shape":
        torch.save(good | {"state_dict": {name: value[..., :1] for name, value in good["state_dict"].items()}}, path)
    elif damage == "folder":
        path.mkdir()
    elif damage == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    elif damage == "nan":
        weights = {name: value.clone() for name, value in good["state_dict"].items()}
        next(iter(weights.values())).view(-1)[3] = float("nan")
        torch.save(good | {"state_dict": weights}, path)
    with pytest.raises(CheckpointError, match={"pointer": "LFS pointer", "nan": "not finite"}.get(damage)) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
