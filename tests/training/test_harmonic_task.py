"""What the harmonic model's training adds to the bound: sounds of one instrument exchange their timbre and are drawn
together; a compiled spectrum is the same.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from training.data.manifest import DataError
from training.features import FeatureConfig
from training.models.harmonic import Control, HarmonicConfig, HarmonicVAE, Voice
from training.models.latents import Latents
from training.tasks.harmonic import HarmonicTask, contrast, fast_spectrum

SMALL = HarmonicConfig(
    timbre_dim=6, variation_dim=3, pitch_dim=4, hidden=12, decoder_hidden=16, fine_bands=12, envelope_coefficients=20
)
FEATURES = FeatureConfig(44100, 2048, 512, 1e-2, 100, normalisation="running")


def task(**options: Any) -> HarmonicTask:
    torch.manual_seed(1)
    return HarmonicTask(SMALL, FEATURES, **options)


def batch(count: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    hops = 20
    return {
        "audio": 0.1 * torch.randn(count, hops * 512),
        "f0_hz": torch.full((count, hops), 220.0),
        "confidence": torch.ones(count, hops),
        "instrument": torch.arange(count) // 2,
        "draw": torch.arange(count),
        "pitch": torch.full((count,), 57),
    }


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_so_many_sounds_get_their_neighbours_timbre(share: float) -> None:
    count = 200
    z = Latents(torch.randn(count, 6), torch.randn(count, 9, 3), torch.randn(count, 9, 4))
    counts, chance = torch.ones(count, 9), torch.linspace(0, 0.999, count)[torch.randperm(count)]
    found = task(exchange=share)._exchange(z, counts, chance)
    other = torch.arange(count) ^ 1
    moved = (found.timbre == z.timbre[other]).all(1)
    assert torch.equal(moved, chance < share)
    assert torch.equal(found.timbre[~moved], z.timbre[~moved])
    told = chance < share / 2
    assert torch.allclose(found.pitch[told], z.pitch[other].mean(1, keepdim=True).expand(-1, 9, -1)[told])
    assert torch.equal(found.pitch[~told], z.pitch[~told])
    assert torch.equal(found.variation, z.variation)


def test_contrast_is_chance_for_equal_timbres_and_none_for_well_separated_pairs() -> None:
    names = torch.arange(8) // 2
    assert float(contrast(torch.zeros(8, 6), names)) == pytest.approx(math.log(7))
    apart = 10 * torch.eye(4).repeat_interleave(2, 0)
    assert float(contrast(apart, names)) < 1e-6
    mixed = apart[torch.tensor([0, 2, 1, 4, 3, 6, 5, 7])]
    assert float(contrast(mixed, names)) > 5
    # Two pairs of the same instrument do not push each other away.
    same = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    together = apart.clone()
    together[2:4] = together[0]
    assert float(contrast(together, same)) < 1e-6


def test_validation_is_the_plain_bound_and_odd_batches_are_refused() -> None:
    plain, both = task(), task(exchange=0.5, contrast=0.1)
    both.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert both.terms(batch(4), training=False) == plain.terms(batch(4), training=False)
    with pytest.raises(DataError, match="batch of 3 sounds is not of groups of 2"):
        both.terms(batch(3), training=True)
    with pytest.raises(DataError, match="batch of 6 sounds is not of groups of 4"):
        task(transfer=1.0).terms(batch(6), training=True)


def test_transfer_is_nothing_where_what_is_played_is_the_real_note() -> None:
    """One sound in all four places, decoded by a model that gives back what it hears."""

    class Echo(torch.nn.Module):
        def __call__(self, *_: object) -> torch.Tensor:
            return heard.log_amplitude[:2]

    it, one = task(transfer=1.0), batch(4)
    one["audio"] = one["audio"][:1].expand(4, -1).contiguous()
    heard = it.features(one["audio"])
    z = it.model.encode(heard.envelope, heard.fine, heard.sounding).latents
    plain = it._transfer(heard, one, z)
    assert float(plain.detach()) > 0.01
    plain.backward()
    assert all(torch.isfinite(p.grad).all() for p in it.parameters() if p.grad is not None)
    it._spectrum = Echo()
    assert float(it._transfer(heard, one, z).detach()) < 1e-9
    one["pitch"] = torch.tensor([57, 57, 58, 57])
    assert float(it._transfer(heard, one, z).detach()) == 0
    one["pitch"][:] = -1
    assert float(it._transfer(heard, one, z).detach()) == 0


def test_loudness_told_is_centred_and_its_mean_sees_no_future() -> None:
    config = HarmonicConfig(**(SMALL.__dict__ | {"centred_loudness": True}))
    plain, centred = HarmonicVAE(SMALL), HarmonicVAE(config)
    log_amplitude, sounding = torch.randn(2, 30, SMALL.bins), torch.ones(2, 30)
    f0, sure = torch.full((2, 30), 200.0), torch.ones(2, 30)
    loud = plain.control(log_amplitude, f0, sure, sounding, 512).loudness
    found = centred.control(log_amplitude, f0, sure, sounding, 512).loudness
    mean = loud.cumsum(1) / torch.arange(1, 31)
    torch.testing.assert_close(found, loud - mean)
    louder = centred.control(log_amplitude + 1.0, f0, sure, sounding, 512).loudness
    assert (louder - found).abs().max() < 0.05  # the log floor alone
    later = torch.cat([log_amplitude[:, :20], log_amplitude[:, 20:] * 3], 1)
    assert torch.equal(centred.control(later, f0, sure, sounding, 512).loudness[:, :20], found[:, :20])


def test_a_compiled_spectrum_is_the_spectrum() -> None:
    torch.manual_seed(3)
    model = HarmonicVAE(SMALL)
    voice = Voice(torch.randn(2, 5, 64), torch.randn(2, 5, 32), torch.randn(2, 5, 24), torch.full((2, 5), 1e-4))
    f0 = torch.rand(2, 5) * 800 + 50
    control = Control(f0, f0, torch.rand(2, 5), torch.zeros(2, 5))
    with torch.no_grad():
        torch.testing.assert_close(
            fast_spectrum(model)(voice, control), model.spectrum(voice, control), atol=1e-3, rtol=1e-3
        )


def test_without_a_compiler_it_trains_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> object:
        def call(*_: object) -> None:
            raise RuntimeError("No working C++ compiler found\nand more")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    model = HarmonicVAE(SMALL)
    assert fast_spectrum(model) == model.spectrum
    assert capsys.readouterr().err == (
        "training without compiled parts, several times slower (No working C++ compiler found)\n"
    )
