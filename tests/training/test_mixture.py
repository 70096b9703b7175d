"""S3: the mel scale, every loss against direct computation, the labels that count, the sliding window, training and
drawing as a user runs them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from tests.support.mixture_models import FRAMES, SMALL, model_of, spectra
from training import evaluate, sample
from training.checkpoint import load_checkpoint
from training.data.manifest import DataError, read_dataset
from training.data.sounds import SoundData
from training.evaluation.mixture.measures import (
    correlation,
    f_score,
    holm,
    read_notes,
    scores,
    train_classifiers,
    traversal,
)
from training.features import FeatureConfig, FeatureExtractor, RecipeError
from training.losses import kl_between, kl_to_mixture, kl_to_uniform, log_responsibilities
from training.models.latents import Latents, seeded_noise
from training.models.mel import DB, MelScale
from training.models.mixture import MixtureVAE
from training.tasks.mixture import MixtureTask, begun_late, check_labels, labelled_rows
from training.train import recipe

# The mel scale
# ----------------------------------------------------------------------------------------------------------


def scale(**changes: float) -> MelScale:
    sizes = {
        "bins": 1025,
        "sample_rate": 22050,
        "log_floor": 1e-4,
        "bands": 128,
        "low_hz": 27.0,
        "high_hz": 11000.0,
        "floor_db": -80.0,
    }
    return MelScale(**{**sizes, "ceiling_db": 40.0, **changes})  # type: ignore[arg-type]


def test_a_band_reads_the_mean_power_of_its_bins() -> None:
    mel = scale()
    power = torch.rand(3, 1025, dtype=torch.float64)
    expected = 10 * torch.log10(power @ mel.bank.double().T)
    found = mel.double()(torch.log(power.sqrt() + 1e-4))
    torch.testing.assert_close(found, 2 * (expected + 80) / 120 - 1, atol=1e-6, rtol=0)
    torch.testing.assert_close(mel.bank.sum(1), torch.ones(128, dtype=torch.float64), atol=1e-6, rtol=0)


@given(level_db=st.floats(-50, 35))
@settings(max_examples=20, deadline=None)
def test_a_flat_spectrum_comes_back_as_it_was(level_db: float) -> None:
    mel = scale()
    flat = torch.full((1, 1, 1025), np.log(10 ** (level_db / 20) + 1e-4), dtype=torch.float32)
    torch.testing.assert_close(mel(flat), torch.full((1, 1, 128), 2 * (level_db + 80) / 120 - 1), atol=1e-4, rtol=0)
    torch.testing.assert_close(mel.log_amplitude(mel(flat)), flat, atol=2e-3, rtol=0)


def test_silence_and_what_is_too_loud_are_clipped() -> None:
    mel = scale()
    silence, loud = torch.full((1, 1025), np.log(1e-4)), torch.full((1, 1025), 9.0)
    assert (mel(silence) == -1).all()
    assert (mel(loud) == 1).all()
    torch.testing.assert_close(mel.log_amplitude(torch.full((1, 128), -1.0)), silence, atol=1e-2, rtol=0)


def test_a_partial_stays_where_it_was() -> None:
    """The loudest bin of a spectrum and of what comes back from mel are within a band of each other, as a level in dB
    shows.
    """
    mel = scale()
    for bin_ in (30, 100, 400):
        partial = torch.full((1, 1025), np.log(1e-4))
        partial[0, bin_] = np.log(10)
        back = mel.log_amplitude(mel(partial))[0]
        assert abs(int(back.argmax()) - bin_) <= 0.03 * bin_ + 1
        assert float(back.max()) * DB < 20 + 1e-3


# The losses
# -----------------------------------------------------------------------------------------------------------------


def gaussians(batch: int = 6, size: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, size).double(), torch.rand(batch, size).double() + 0.1, torch.randn(3, size).double()


def test_kl_of_two_gaussians() -> None:
    mean, variance, others = gaussians()
    for other, sigma in itertools.product(others, (0.3, 1.0)):
        wanted = kl_divergence(Independent(Normal(mean, variance.sqrt()), 1), Independent(Normal(other, sigma), 1))
        torch.testing.assert_close(kl_between(mean, variance, other, sigma**2), wanted)


def test_responsibilities_are_bayes_rule() -> None:
    z, _, means = gaussians()
    for sigma in (0.5, 1.0):
        likelihood = torch.stack([Independent(Normal(mean, sigma), 1).log_prob(z).exp() for mean in means], 1)
        torch.testing.assert_close(
            log_responsibilities(z, means, sigma**2).exp(), likelihood / likelihood.sum(1, keepdim=True)
        )


def test_kl_to_the_mixture_is_the_expected_one() -> None:
    mean, variance, means = gaussians()
    shares = log_responsibilities(mean, means, 1.0)
    found = kl_to_mixture(mean, variance, shares, means, 0.49)
    for i in range(len(mean)):
        each = [
            float(kl_divergence(Normal(mean[i], variance[i].sqrt()), Normal(means[k], 0.7)).sum()) for k in range(3)
        ]
        assert float(found[i]) == pytest.approx(sum(float(shares[i, k].exp()) * each[k] for k in range(3)))


def test_kl_to_equal_shares() -> None:
    _, _, means = gaussians()
    logits = torch.log_softmax(means, -1)
    wanted = kl_divergence(Categorical(logits=logits), Categorical(logits=torch.zeros_like(logits)))
    torch.testing.assert_close(kl_to_uniform(logits), wanted)
    assert float(kl_to_uniform(torch.full((1, 5), -np.log(5.0)))[0]) == pytest.approx(0, abs=1e-6)


def task_of(**options: object) -> MixtureTask:
    task = MixtureTask(SMALL, FeatureConfig(22050, 256, 128, 1e-3, 20), **options)  # type: ignore[arg-type]
    task.build()
    return task


@torch.no_grad()
def test_every_term_of_the_bound_is_as_computed_sound_by_sound() -> None:
    task, model = task_of(), model_of()
    task.model = model
    mel = model.mel(spectra(4))
    encoding = model.encode_mel(mel, seeded_noise(model, [1, 2, 3, 4], 11, torch.device("cpu")))
    label, pitch = torch.tensor([0, -1, 2, 1]), torch.tensor([3, 0, 6, 6])
    terms = {name: float(value) for name, value in task.bound(mel, encoding, label, pitch).items()}
    rebuilt, z = model.decode_mel(encoding.latents), encoding.latents
    assert terms["squared_error"] == pytest.approx(
        float(np.mean([(rebuilt[i] - mel[i]).square().sum().item() for i in range(4)])), rel=1e-5
    )
    likelihood = torch.stack(
        [Independent(Normal(mean, SMALL.timbre_sigma), 1).log_prob(z.timbre) for mean in model.timbre_means], 1
    )
    shares = Categorical(logits=likelihood)
    known = [0, 2, 3]
    assert terms["instrument_cross_entropy"] == pytest.approx(
        float(-shares.log_prob(label.clamp_min(0))[known].mean()), rel=1e-5
    )
    assert terms["kl_responsibilities"] == pytest.approx(float((np.log(3) - shares.entropy()).mean()), rel=1e-4)
    own = model.pitch_means[pitch]
    pitch_kl = (
        kl_divergence(Normal(encoding.pitch.mean, encoding.pitch.variance.sqrt()), Normal(own, SMALL.pitch_sigma))
        .sum(-1)
        .mean()
    )
    assert terms["kl_pitch"] == pytest.approx(float(pitch_kl), rel=1e-5)
    classes = Categorical(logits=model.pitch_classifier(z.pitch))
    assert terms["pitch_cross_entropy"] == pytest.approx(float(-classes.log_prob(pitch).mean()), rel=1e-5)
    posterior = Normal(encoding.timbre.mean, encoding.timbre.variance.sqrt())
    each = torch.stack(
        [kl_divergence(posterior, Normal(mean, SMALL.timbre_sigma)).sum(-1) for mean in model.timbre_means], 1
    )
    assert terms["kl_timbre"] == pytest.approx(float((shares.probs * each).sum(1).mean()), rel=1e-5)


def test_without_labels_there_is_no_cross_entropy_of_the_instrument() -> None:
    task, mel = task_of(), model_of().mel(spectra(3))
    none, pitch = torch.tensor([-1, -1, -1]), torch.tensor([0, 1, 2])
    terms = task.bound(mel, task.model.encode_mel(mel), none, pitch)
    assert float(terms["instrument_cross_entropy"]) == 0.0
    assert all(bool(torch.isfinite(value)) for value in terms.values())


# The labels that count
# ----------------------------------------------------------------------------------------------------------


@given(portion=st.floats(0, 1), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_label_portion_is_exact_spread_over_instruments_and_stable(portion: float, seed: int) -> None:
    instrument = np.repeat(["a", "b", "c"], (100, 40, 17))[np.random.default_rng(1).permutation(157)]
    chosen = labelled_rows(instrument, portion, seed)
    assert chosen.sum() == int(portion * 157 + 1e-9)
    for name in "abc":
        assert abs(chosen[instrument == name].mean() - portion) <= 1.5 / (instrument == name).sum() + 1 / 157
    assert np.array_equal(chosen, labelled_rows(instrument, portion, seed))
    assert not (labelled_rows(instrument, portion / 2, seed) & ~chosen).any()


def test_held_back_and_missing_labels_do_not_reach_the_loss() -> None:
    task = task_of()
    task.component_of = torch.tensor([2, -1, 0])  # the data set's second instrument is none of the model's
    task.labelled = torch.tensor([True, True, False, True, True])
    batch = {"instrument": torch.tensor([0, 1, 2, -1, 2]), "row": torch.arange(5)}
    assert task.instruments(batch, training=True).tolist() == [2, -1, -1, -1, 0]
    assert task.instruments(batch, training=False).tolist() == [2, -1, 0, -1, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instrument": "Violin"}, "1 labelled instrument"),
        ({"pitch": np.nan}, "have no pitch"),
        ({"pitch": 20.0}, "set data.pitches to"),
        ({"batch_size": 1}, "batch normalisation"),
        ({"sequences": "phrases"}, "leave data.sequences out"),
    ],
)
def test_data_it_cannot_be_trained_on_is_refused(tiny_data: Path, change: dict[str, object], words: str) -> None:
    data = SoundData(str(tiny_data))
    config = dataclasses.replace(SMALL, instruments=(), pitches=30)
    check_labels(data, config)
    for name, value in change.items():
        if name in ("instrument", "pitch"):
            column = getattr(data.every_sound, name).copy()
            column[slice(None) if name == "instrument" else slice(1)] = value
            data.__dict__["every_sound"] = dataclasses.replace(data.every_sound, **{name: column})
            data.__dict__.pop("instruments", None)
        else:
            setattr(data, name, value)
    with pytest.raises(DataError, match=words):
        check_labels(data, config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 4}, "must exceed 4"),
        ({"high_hz": 20000.0}, "half the rate"),
        ({"floor_db": 70.0}, "must lie below"),
        ({"filters": 0}, "at least 1"),
        ({"pitches": 90}, "MIDI notes"),
        ({"pitch_sigma": 0.0}, "above 0"),
    ],
)
def test_sizes_that_make_no_model_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]


def test_a_mixture_needs_two_components_and_a_portion_is_a_share() -> None:
    with pytest.raises(RecipeError, match="at least 2"):
        MixtureVAE(dataclasses.replace(SMALL, instruments=("alone",)))
    with pytest.raises(RecipeError, match="label_portion"):
        task_of(label_portion=1.2)


def test_windows_begun_late_are_silence_and_then_the_beginning() -> None:
    mel, noise = torch.rand(400, 11, 3), torch.randn(400, 5)
    moved = begun_late(mel, 0.5, noise)
    late = (moved == -1).all(-1).sum(1)
    for row, found, count in zip(mel, moved, late.tolist(), strict=True):
        assert torch.equal(found[count:], row[: 11 - count])
    assert 0.35 < float((late > 0).float().mean()) < 0.55
    assert int(late.max()) == 10
    assert torch.equal(begun_late(mel, 0.0, noise), mel)


# Whole sounds and the sliding window
# ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_short_sounds_end_in_silence_and_long_ones_are_cropped() -> None:
    model, x = model_of(), spectra()
    nothing = torch.zeros_like(x)
    counts = torch.ones(x.shape[:2])
    whole = model.encode(x, nothing, counts).latents
    assert torch.equal(whole.timbre, model.encode(x[:, :11], nothing[:, :11], counts).latents.timbre)
    silence = torch.full_like(x[:, :5], np.log(SMALL.log_floor))
    short = model.encode(x[:, :6], nothing[:, :6], counts).latents
    padded = model.encode(torch.cat([x[:, :6], silence], 1), nothing[:, :11], counts).latents
    torch.testing.assert_close(short.pitch, padded.pitch)
    assert model.decode(whole).shape == (2, 11, SMALL.bins)


@torch.no_grad()
def stream(model: MixtureVAE, x: Tensor, sizes: list[int]) -> tuple[Latents, Tensor]:
    """Latents and newest frames, in chunks of the given sizes."""
    state, parts, decoded, start = model.encoder_state(len(x)), [], [], 0
    for size in sizes:
        chunk = x[:, start : start + size]
        z, state = model.stream_encode(chunk, torch.zeros_like(chunk), torch.tensor(0.1), state)
        decoded.append(model.stream_decode(z, model.decoder_state(len(x)))[0])
        parts.append(z)
        start += size
    return Latents(**{name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}), torch.cat(decoded, 1)


@given(cuts=st.lists(st.integers(1, FRAMES - 1), max_size=6, unique=True))
@settings(max_examples=15, deadline=None)
def test_streaming_in_chunks_is_encoding_every_window(cuts: list[int]) -> None:
    """Frame n answers with the latents of its last 11 frames, silence before the start; the decoder with that window's
    last frame.
    """
    model, x, edges = model_of(), spectra(), [0, *sorted(cuts), FRAMES]
    z, decoded = stream(model, x, [b - a for a, b in itertools.pairwise(edges)])
    before = torch.cat([torch.full_like(x[:, :10], np.log(SMALL.log_floor)), x], 1)
    for frame in (0, 4, 10, 11, FRAMES - 1):
        window = before[:, frame : frame + 11]
        with torch.no_grad():
            wanted = model.encode(window, torch.zeros_like(window), torch.ones(2, 11)).latents
            newest = model.decode(wanted)[:, -1]
        for name in model.latent_sizes:
            torch.testing.assert_close(z[name][:, frame], wanted[name], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(decoded[:, frame], newest, atol=1e-4, rtol=1e-4)


def test_the_future_cannot_leak_and_a_fresh_state_forgets() -> None:
    model, x = model_of(), spectra()
    before, before_decoded = stream(model, x, [FRAMES])
    changed = x.clone()
    changed[:, 20:] = 1.0
    after, after_decoded = stream(model, changed, [FRAMES])
    for name in model.latent_sizes:
        torch.testing.assert_close(after[name][:, :20], before[name][:, :20], atol=1e-6, rtol=1e-5)
        assert not torch.allclose(after[name][:, 20], before[name][:, 20])
    torch.testing.assert_close(after_decoded[:, :20], before_decoded[:, :20], atol=1e-5, rtol=1e-5)
    again, _ = stream(model, x, [FRAMES])
    assert torch.equal(again.timbre, before.timbre)


# Training and drawing, as a user runs them
# ------------------------------------------------------------------------------------------

OVERRIDES = {
    "model.features.sample_rate": 44100,
    "model.features.window_samples": 2048,
    "model.features.hop_samples": 1024,
    "model.model.mel_bands": 96,
    "model.model.filters": 48,
    "model.model.hidden": 64,
    "model.model.frames": 20,
    "model.preview_epochs": 1,
    "data.instruments": "null",
    "data.segment_seconds": 0.5,
    "data.start_fraction": 1.0,
    "data.batch_size": 16,
    "data.steps_per_epoch": 75,
    "data.validation_sounds": 32,
    "trainer.max_epochs": 2,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 5,
}


def train(data: Path, root: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    options = [f"--{name}={value}" for name, value in OVERRIDES.items()]
    arguments = [
        f"--config={recipe('luo2019-small')}",
        f"--data.directory={data}",
        f"--trainer.default_root_dir={root}",
        *options,
        *extra,
    ]
    command = [sys.executable, "-m", "training.train", "fit", *arguments]
    return subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixture")
    done = train(tiny_data, root)
    assert done.returncode == 0, done.stderr
    return root / "lightning_logs/version_0"


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Path:
    return run / "checkpoints/last.pt"


def test_it_learns_on_real_notes_and_shows_what_it_draws(run: Path, checkpoint: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run))
    log.Reload()
    losses = [point.value for point in log.Scalars("train/loss")]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    accuracy = [point.value for point in log.Scalars("train/instrument_accuracy")]
    assert np.mean(accuracy[-5:]) > np.mean(accuracy[:5])
    assert {"spectrograms", "drawn"} <= set(log.Tags()["images"])
    assert any(tag.startswith("drawn_") for tag in log.Tags()["audio"])
    loaded = load_checkpoint(checkpoint)
    assert isinstance(loaded.model, MixtureVAE)
    assert loaded.model.config.instruments[0] == "Acoustic Grand Piano"
    assert len(loaded.model.config.instruments) == 8
    assert loaded.info["label_portion"] == 1.0


def test_resuming_and_label_portion_from_the_command_line(tiny_data: Path, tmp_path: Path, checkpoint: Path) -> None:
    short = [
        "--data.steps_per_epoch=2",
        "--trainer.max_epochs=3",
        "--model.preview_epochs=0",
        "--model.label_portion=0.25",
    ]
    done = train(tiny_data, tmp_path, *short, f"--ckpt_path={checkpoint}")
    assert done.returncode == 0, done.stderr
    [last] = tmp_path.glob("lightning_logs/version_*/checkpoints/last.pt")
    assert load_checkpoint(last).info["label_portion"] == 0.25
    assert load_checkpoint(last).info["epoch"] == 2


def test_one_instrument_is_refused_in_one_sentence(tiny_data: Path, tmp_path: Path) -> None:
    done = train(tiny_data, tmp_path, "--data.instruments=[Violin]")
    assert done.returncode == 2
    assert "1 labelled instrument" in done.stderr
    assert "Traceback" not in done.stderr


def test_typical_notes_have_the_pitch_and_the_instrument_that_were_asked_for(checkpoint: Path, tiny_data: Path) -> None:
    """After 150 steps: what classifiers trained on the real notes hear in the means of the components is well above
    chance (1/10 and 1/8).
    """
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    assert isinstance(model, MixtureVAE)
    notes = read_notes(loaded, read_dataset(tiny_data).select(split="train"))
    classifiers = train_classifiers(notes, seed=0)
    asked = [(i, pitch) for i in range(8) for pitch in range(60, 79, 2)]
    instruments, pitches = [i for i, _ in asked], [pitch for _, pitch in asked]
    with torch.no_grad():
        mel = model.decode_mel(sample.draw_latents(model, instruments, pitches, seed=0, spread=0.0))
    found = scores(classifiers, mel, {"instrument": np.array(instruments), "pitch": np.array(pitches)}, seed=0)
    assert found["pitch"].low > 0.15
    assert found["instrument"].low > 0.18


def test_a_drawn_note_is_written_and_follows_from_its_seed(checkpoint: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.wav" for i in range(3)]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        assert (
            sample.main(
                [str(checkpoint), "--instrument", "Violin", "--pitch", "64", "--out", str(file), "--seed", str(seed)]
            )
            == 0
        )
    sounds = [soundfile.read(file)[0] for file in files]
    assert np.isfinite(sounds[0]).all()
    assert np.abs(sounds[0]).max() == pytest.approx(sample.PEAK, abs=1e-3)
    assert len(sounds[0]) == pytest.approx(20 * 1024, abs=2048)
    assert np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(sounds[0], sounds[2])


def test_what_cannot_be_drawn_is_said_in_one_sentence(
    checkpoint: Path, smoke_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.wav")
    assert sample.main([str(checkpoint), "--instrument", "Kazoo", "--pitch", "60", "--out", out]) == 2
    assert sample.main([str(checkpoint), "--instrument", "Violin", "--pitch", "12", "--out", out]) == 2
    assert sample.main([str(smoke_checkpoint), "--instrument", "Violin", "--pitch", "60", "--out", out]) == 2
    assert (
        sample.main(
            [str(checkpoint), "--instrument", "Violin", "--pitch", "60", "--out", str(tmp_path / "no" / "x.wav")]
        )
        == 2
    )
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 4
    assert "it knows Acoustic Grand Piano, " in lines[0]
    assert "24 … 105" in lines[1]
    assert "perturbation_vae" in lines[2]
    assert not Path(out).exists()


# Evaluation
# ----------------------------------------------------------------------------------------------------------------------


def test_f_score_by_hand() -> None:
    wanted, found = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    by_hand = [2 * 0.5 * 0.5 / 1.0, 2 * (2 / 3) * 1 / (2 / 3 + 1), 0.0]
    assert f_score(wanted, found) == pytest.approx(np.mean(by_hand))
    assert f_score(wanted, wanted) == 1.0


def test_holm_by_hand_and_correlation() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    x = np.random.default_rng(0).standard_normal(200)
    r, p = correlation(x, 2 * x + 1)
    assert r == pytest.approx(1.0)
    assert p < 1e-30
    assert correlation(np.ones(5), np.arange(5.0)) == (0.0, 1.0)


def test_a_traversal_moves_one_dimension_only() -> None:
    model = model_of()
    start = model.component(1, 62)
    moved = traversal(model, start, 3)
    difference = moved.timbre - start.timbre
    assert torch.equal(difference[:, [0, 1, 2, 4]], torch.zeros(7, 4))
    torch.testing.assert_close(difference[:, 3], torch.arange(-3.0, 4.0))
    assert torch.equal(moved.pitch, start.pitch.expand(7, -1))


def test_evaluation_writes_tables_figures_and_sounds(checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert evaluate.main([str(checkpoint), "--data", str(tiny_data), "--out", str(out), "--test-sounds", "40"]) == 0
    text, content = (out / "report.md").read_text(), json.loads((out / "report.json").read_text())
    [row] = content["results"]["mixture_vae"].values()
    assert row["f_scores"]["originals"]["instrument"]["value"] > 0.7
    assert (
        row["f_scores"]["drawn"]["pitch"]["low"]
        <= row["f_scores"]["drawn"]["pitch"]["value"]
        <= row["f_scores"]["drawn"]["pitch"]["high"]
    )
    assert len(row["transfer"]) == 56
    assert len(row["dimensions"]) == 16
    assert sum(row["figures"][f"authority of {name}"]["value"] for name in ("timbre", "pitch")) > 0.5
    for name in ("transfer", "traversal", "spaces"):
        assert (out / f"last-{name}.png").stat().st_size > 20_000
        assert f"last-{name}.png" in text
    for file in out.glob("*.ogg"):
        assert np.isfinite(soundfile.read(file)[0]).all()
        assert file.name in text
    assert len(list(out.glob("last-dimension-*.ogg"))) == 4


def test_features_and_model_agree_on_a_real_note(checkpoint: Path, tiny_data: Path) -> None:
    """`encode` from envelope and fine structure is what training makes from the log-amplitude."""
    loaded = load_checkpoint(checkpoint)
    notes = read_notes(loaded, read_dataset(tiny_data).select(split="validation"))
    features = FeatureExtractor(loaded.features)
    sounds = read_dataset(tiny_data).select(split="validation")
    from training.evaluation.probes import batches

    _, audio = next(iter(batches(sounds, 20 * 1024 / 44100)))
    found = features(audio)
    with torch.no_grad():
        z = loaded.model.encode(found.envelope, found.fine, found.sounding).latents
    torch.testing.assert_close(z.timbre, notes.latents.timbre[: len(audio)], atol=1e-3, rtol=1e-3)
