"""Refining the decoder: a knob turned while playing does what it would have done from the start, and nothing but the
decoder changes.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import refine, release
from training.checkpoint import Checkpoint, load_checkpoint, save_slim
from training.features import FeatureConfig
from training.models.latents import Latents
from training.models.perturbation import PerturbationConfig, PerturbationVAE

FEATURES = FeatureConfig(window_samples=512, hop_samples=512, cutoff_quefrency=60, normalisation="running")
SMALL = PerturbationConfig(FEATURES.bins, 6, 6, 4, 12, 32, 2, False, envelope_coefficients=40)
SLOW = 2.0  # bias of the update gate: each layer's state then changes by an eighth a frame


def reluctant(config: PerturbationConfig = SMALL) -> PerturbationVAE:
    """A model whose decoder takes long to follow."""
    torch.manual_seed(5)
    model = PerturbationVAE(config).eval()
    with torch.no_grad():
        for layer in (model.decoder_stack.body, model.decoder_stack.head):
            for name, bias in layer.named_parameters():
                if name.startswith("bias_ih"):
                    bias[model.decoder_stack.hidden : 2 * model.decoder_stack.hidden] = SLOW
        model.output.weight.mul_(3)
        model.head("timbre").mean.weight.mul_(4)  # so that the timbres of these few sounds differ audibly
    return model


@torch.no_grad()
def reached(model: PerturbationVAE, frames: int) -> float:
    """Share of a new timbre's effect so many frames after it was asked for."""
    generator = torch.Generator().manual_seed(1)
    old, new, variation, pitch = (
        torch.randn(8, 1, size, generator=generator).expand(-1, 200, -1) for size in (6, 6, 6, 4)
    )

    def draw(timbre: torch.Tensor) -> torch.Tensor:
        return model.stream_decode(Latents(timbre, variation, pitch), model.decoder_state(8))[0]

    was, will, now = draw(old), draw(new), draw(torch.cat([old[:, :100], new[:, 100:]], 1))
    way, come = (will - was)[:, 100 + frames], (now - was)[:, 100 + frames]
    return float((come * way).sum() / way.square().sum())


def test_decoder_follows_and_the_encoders_stay_to_the_bit(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "slow.pt", tmp_path / "quick.pt"
    save_slim(Checkpoint(FEATURES, reluctant(), {"command": "as said"}), source)
    assert (
        refine.main(
            [
                str(source),
                "--data",
                str(tiny_data),
                "--out",
                str(out),
                "--steps",
                "60",
                "--seed",
                "3",
                "--learning-rate",
                "0.02",
            ]
        )
        == 0
    )
    assert "--keep-knobs" in capsys.readouterr().out
    before, after = (load_checkpoint(path) for path in (source, out))
    assert isinstance(before.model, PerturbationVAE)
    assert isinstance(after.model, PerturbationVAE)
    assert reached(before.model, 10) < 0.4
    assert reached(after.model, 10) > reached(before.model, 10) + 0.08
    changed = {
        name
        for name, value in before.model.state_dict().items()
        if not torch.equal(value, after.model.state_dict()[name])
    }
    assert changed
    assert all(name.startswith(("decoder_stack.", "output.")) for name in changed)
    assert after.info["command"] == "as said"
    assert after.info["refinement"]["seed"] == 3
    assert after.info["refinement"]["steps"] == 60


def test_kept_knobs_keep_directions_and_presets_and_are_heard_anew(tiny_data: Path, tmp_path: Path) -> None:
    source, first, out = (tmp_path / f"{name}.pt" for name in ("source", "first", "again"))
    save_slim(Checkpoint(FEATURES, reluctant(), {}), source)
    sizes: dict[str, Any] = {
        "command": None,
        "train_sounds": 112,
        "test_sounds": 40,
        "seconds": 0.3,
        "seed": 0,
        "tuning_steps": 1,
    }
    release.release(source, tiny_data, first, **sizes)
    old = load_checkpoint(first)
    assert old.knobs is not None
    with torch.no_grad():
        old.model.output.weight.mul_(2)  # type: ignore[attr-defined]
    save_slim(old, source)
    release.release(source, tiny_data, out, **sizes, keep_knobs=True)
    new = load_checkpoint(out).knobs
    assert new is not None
    assert new["presets"] == old.knobs["presets"]
    for kind in ("axes", "variation_axes", "pitch_axes"):
        assert old.knobs[kind]
        plain, again = (
            [{key: value for key, value in axis.items() if key != "effect_db"} for axis in knobs[kind]]
            for knobs in (old.knobs, new)
        )
        assert plain == again
        louder = np.array([axis["effect_db"] for axis in new[kind]]) - [
            2 * axis["effect_db"] for axis in old.knobs[kind]
        ]
        assert np.abs(louder).max() < 0.002
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in (first, out)]
    assert cards[1]["held_out"]["mse"] > cards[0]["held_out"]["mse"]
    assert cards[1]["held_out"]["instrument from timbre"] == cards[0]["held_out"]["instrument from timbre"]


def test_what_cannot_be_refined_is_told_in_one_sentence(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both_ways, plain = tmp_path / "both.pt", tmp_path / "plain.pt"
    save_slim(
        Checkpoint(FEATURES, PerturbationVAE(dataclasses.replace(SMALL, bidirectional=True)).eval(), {}), both_ways
    )
    save_slim(Checkpoint(dataclasses.replace(FEATURES, sample_rate=22050), PerturbationVAE(SMALL).eval(), {}), plain)
    out = tmp_path / "out.pt"
    for checkpoint, sentence in (
        (both_ways, "no causal"),
        (tmp_path / "none.pt", "no checkpoint at"),
        (plain, "the model at 22050 Hz"),
    ):
        assert refine.main([str(checkpoint), "--data", str(tiny_data), "--out", str(out)]) == 2
        told = capsys.readouterr().err.strip()
        assert sentence in told
        assert "\n" not in told
    assert release.main([str(plain), "--data", str(tiny_data), "--out", str(out), "--keep-knobs"]) == 2
    assert "carries no knobs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        refine.main([str(plain), "--data", str(tiny_data), "--out", str(out), "--minutes", "0"])
    assert not out.exists()
