"""S2's evaluation: denseness and divergence where the answer is known, and the whole report on real notes of unseen
instruments.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.checkpoint import Checkpoint
from training.data.manifest import DataError, read_dataset
from training.evaluation.figures import ZERO_INSIDE
from training.evaluation.metric.classes import Classes, normalised
from training.evaluation.metric.evaluate import evaluate_metric
from training.evaluation.metric.measures import FRAMES, first_frames
from training.features import FeatureConfig, FeatureExtractor
from training.models.metric import MetricConfig, MetricVAE

FEATURES = FeatureConfig(44100, 512, 512, 1e-2, 40, "sound", level="power")
MODEL = MetricConfig(257, 6, 12, 2, 12, 10, 0.1, True, log_floor=1e-2)
SELECTION: dict[str, Any] = {"held_out_instruments": [2, 3], "pitches": [62, 76]}


def test_clusters_placed_by_hand() -> None:
    """Three centres 3, 4 and 5 apart; every frame of a class 1, 2 or 0 from its centre, on both sides."""
    centres = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
    frames = np.stack(
        [centres[k] + sign * radius * np.eye(3)[2] for k, radius in enumerate((1, 2, 0)) for sign in (1, -1)]
    )
    classes = Classes(frames[:, None].repeat(FRAMES, 1), np.repeat([0, 1, 2], 2), ("a", "b", "c"))
    np.testing.assert_allclose(classes.means, centres, atol=1e-12)
    np.testing.assert_allclose(classes.per_class, [1, 2, 0])
    assert classes.denseness == pytest.approx(1)
    assert classes.divergence == pytest.approx((3 + 4 + 5) / 3)
    assert classes.figures_of(np.array([0, 1, 4, 5])) == pytest.approx((0.5, 4))
    assert np.isnan(classes.figures_of(np.array([0, 1]))[1])


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=2, max_size=25), size=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_figures_are_equations_12_to_14(labels: list[int], size: int, seed: int) -> None:
    """Any clusters, of any sizes, by the paper's sums."""
    z = np.random.default_rng(seed).standard_normal((len(labels), FRAMES, size))
    groups = [z[[i for i, label in enumerate(labels) if label == m]] for m in sorted(set(labels))]
    eta = [sum(frame for sound in group for frame in sound) / (FRAMES * len(group)) for group in groups]
    dense = [
        sum(np.linalg.norm(frame - mean) for sound in group for frame in sound) / (FRAMES * len(group))
        for group, mean in zip(groups, eta, strict=True)
    ]
    found = Classes(z, np.array(labels), ("a", "b", "c", "d"))
    assert found.denseness == pytest.approx(sum(dense) / len(groups))
    if len(groups) > 1:
        pairs = [np.linalg.norm(a - b) for i, a in enumerate(eta) for b in eta[i + 1 :]]
        assert found.divergence == pytest.approx(2 / (len(groups) * (len(groups) - 1)) * sum(pairs))
        np.testing.assert_allclose(found.distances[np.triu_indices(len(groups), 1)], pairs)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=25), seed=st.integers(0, 2**31))
def test_figures_of_drawn_sounds_are_those_of_a_set_with_these_sounds(labels: list[int], seed: int) -> None:
    """Drawn with replacement, as the bootstrap does: some sounds twice, some not, whole classes missing."""
    rng = np.random.default_rng(seed)
    label, z = np.array(labels), rng.standard_normal((len(labels), FRAMES, 3))
    rows = rng.integers(0, len(labels), len(labels))
    whole, drawn = Classes(z, label, ("a", "b", "c", "d")), Classes(z[rows], label[rows], ("a", "b", "c", "d"))
    assert whole.figures_of(rows) == pytest.approx((drawn.denseness, drawn.divergence), nan_ok=True)
    assert whole.figures_of(np.arange(len(label))) == pytest.approx((whole.denseness, whole.divergence), nan_ok=True)


def test_the_size_of_a_space_does_not_count() -> None:
    z = np.random.default_rng(3).standard_normal((20, FRAMES, 4))
    stretched = normalised(5 + z * np.array([0.01, 1, 30, 0]))
    np.testing.assert_allclose(stretched[..., :3], normalised(z)[..., :3], atol=1e-10)
    np.testing.assert_allclose(stretched[..., :3].std((0, 1)), 1)
    assert not stretched[..., 3].any()


def checkpoint(seed: int, alpha: float, **selection: object) -> Checkpoint:
    """A model that has learnt nothing: enough to see whether the report says what was measured."""
    torch.manual_seed(seed)
    info = {
        "alpha": alpha,
        "beta": alpha,
        "epoch": 3,
        "segment_seconds": 0.4,
        "selection": SELECTION | selection,
        "data": "/nowhere/of/mine",
    }
    return Checkpoint(FEATURES, MetricVAE(MODEL).eval(), info)


def test_the_report_says_what_was_measured(tiny_data: Path, tmp_path: Path) -> None:
    models = {"plain": checkpoint(1, 0.0), "metric": checkpoint(2, 0.2), "same as plain": checkpoint(1, 0.2)}
    text, content = evaluate_metric(models, tiny_data, tmp_path, seed=4, test_sounds=1000)
    sounds = read_dataset(tiny_data).select(split="test", **SELECTION)
    assert content["test_instruments"] == sorted(np.unique(sounds.instrument).tolist())
    assert len(content["test_instruments"]) == 3
    assert content["test_sounds"] == len(sounds) == 3 * 8 * 2
    for name, model in models.items():
        figures = content["rows"][name]["figures"]
        z = first_frames(model, FeatureExtractor(FEATURES), sounds, 0.4)
        for space, labels in (("pitch", sounds.pitch), ("timbre", sounds.instrument)):
            assert z[space].shape == (len(sounds), FRAMES, 6)
            classes = Classes(normalised(z[space]), np.unique(labels, return_inverse=True)[1], ())
            for figure in ("denseness", "divergence"):
                entry = figures[f"{space} {figure}"]
                assert entry["value"] == pytest.approx(getattr(classes, figure), abs=1e-5)
                assert f"{entry['value']:.3f}" in text
                assert entry["low"] < entry["high"]
            assert len(content["rows"][name]["denseness per class"][space]) == len(np.unique(labels))
        assert (
            figures["authority of timbre"]["low"]
            <= figures["authority of timbre"]["value"]
            <= figures["authority of timbre"]["high"]
        )
    assert all(figure in text for figure in ("3.334", "2.279", "3.640", "1.541", "2.891", "3.551", "3.420", "2.654"))
    twins = [claim for claim in content["orderings"] if claim["models"] == ["same as plain", "plain"]]
    assert [claim["verdict"] for claim in twins] == [ZERO_INSIDE] * 4
    assert len(content["orderings"]) == 8
    assert "none heard in training" in text
    assert "nowhere" not in json.dumps(content, allow_nan=False) + text
    for name in ("s2_tsne.png", "s2_denseness.png", "s2_distances.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert name in text


def test_instruments_heard_in_training_are_named(tiny_data: Path, tmp_path: Path) -> None:
    split_by_sound = checkpoint(1, 0.0, held_out_instruments=None)
    text, content = evaluate_metric({"plain": split_by_sound}, tiny_data, tmp_path, seed=0, test_sounds=12)
    assert content["test_sounds"] == 12
    assert content["rows"]["plain"]["test instruments heard in training"] == content["test_instruments"]
    assert "plain was trained on" in text


def test_wrong_data_ends_in_a_sentence(tiny_data: Path, tmp_path: Path) -> None:
    whole, other = checkpoint(1, 0.0), checkpoint(1, 0.0, held_out_instruments=[3, 2])
    slow = dataclasses.replace(whole, features=dataclasses.replace(FEATURES, sample_rate=22050))
    cases = {
        "other test sounds": {"a": whole, "b": other},
        "is at 44100 Hz, the model at 22050 Hz": {"a": slow},
        "of 1 instruments": {"a": checkpoint(1, 0.0, held_out_instruments=[1, 1])},
        "of 1 pitches": {"a": checkpoint(1, 0.0, pitches=[62, 62])},
    }
    for words, models in cases.items():
        with pytest.raises(DataError, match=words):
            evaluate_metric(models, tiny_data, tmp_path, seed=0, test_sounds=100)
