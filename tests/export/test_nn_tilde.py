"""The file for nn~, in a host that does what the real one does, plays what the runtime plays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from export.errors import ExportError
from export.fallbacks import Wanted
from export.host_file import playable
from export.hosts.nn_tilde import nn_tilde_module
from export.hosts.parts import Parts, loaded, offered_knobs
from export.hosts.plain import plain_module
from export.hosts.verify import verify_play
from export.proof.verify import torch_streaming
from export.streaming_play import live_features
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions
from tests.support.host_files import HOP, LIVE, level_db, sound_of
from tests.support.miniatures import CELLO, PIANO
from tests.support.nn_tilde_host import HostError, NnTildeHost
from training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def live() -> Iterator[Parts]:
    with playable(load_checkpoint(LIVE), "live", None, Wanted()) as parts:
        yield parts


@pytest.fixture(scope="module")
def nn_file(live: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nn") / "live.ts"
    nn_tilde_module(live).save(str(path))
    return path


def on_the_runtime(parts: Parts, sound: np.ndarray, plan: list[tuple[int, dict[str, float]]]) -> np.ndarray:
    """plan : (samples, knobs to set before them)"""
    bank = KnobBank(parts.bundle.manifest)
    session = Session(
        parts.bundle, bank, channels=1, sample_rate=parts.features.sample_rate, options=SessionOptions(provider="cpu")
    )
    answers, start = [], 0
    for samples, knobs in plan:
        for name, value in knobs.items():
            bank.set(name, value)
        block = sound[0, 0, start : start + samples, None]
        answers.append(np.zeros_like(block))
        session.process_block(block, answers[-1])
        start += samples
    return np.concatenate(answers)[:, 0]


def test_nn_tilde_file_says_what_a_host_asks(live: Parts, nn_file: Path) -> None:
    host = NnTildeHost(nn_file)
    assert host.methods == ["forward", "encode", "decode"]
    channels = sum(live.bundle.manifest.latents.values()) + 1
    assert host.params("forward") == (1, 1, 1, 1)
    assert host.params("encode") == (1, 1, channels, HOP)
    assert host.params("decode") == (channels, HOP, 1, 1)
    for method in host.methods:
        inputs, _, outputs, _ = host.params(method)
        ins, outs = host.labels(method)
        assert (len(ins), len(outs)) == (inputs, outputs)
        assert all(label.startswith("(signal) ") for label in ins + outs)
    assert host.smallest_buffer() == HOP
    labelled = [axis.name for axis in live.bundle.manifest.axes if axis.descriptor]
    assert labelled
    assert {*labelled, *(f"timbre_{i}" for i in range(8)), "preset", "preset_amount", "mix", "gain_db"} == set(
        host.attributes
    )
    assert all(name.isidentifier() for name in host.attributes)


def test_forward_plays_what_the_runtime_plays(live: Parts, nn_file: Path) -> None:
    """Buffers of every size, attributes set between them, on a note that begins, sounds and ends."""
    sound = np.concatenate([sound_of(0.5, PIANO, 60), np.zeros((1, 1, 8192), np.float32), sound_of(0.5, CELLO, 55)], 2)
    turns = [
        (512, {}),
        (8192, {"brightness": 2.0, "timbre[0]": -1.5}),
        (4096, {"preset": 5.0, "gain_db": -6.0}),
        (1024, {"mix": 0.4}),
        (2048, {"brightness": 0.0, "timbre[0]": 0.0, "preset": 0.0, "gain_db": 0.0, "mix": 1.0}),
        (512, {"noisiness": 3.0, "preset": 2.0, "preset_amount": 0.5}),
    ]
    plan: list[tuple[int, dict[str, float]]] = []
    left = sound.shape[-1]
    while left >= turns[len(plan) % len(turns)][0]:
        plan.append(turns[len(plan) % len(turns)])
        left -= plan[-1][0]
    host, answers, start = NnTildeHost(nn_file), [], 0
    for samples, knobs in plan:
        for name, value in knobs.items():
            host.set(name.replace("[", "_").replace("]", ""), str(value))
        answers.append(host.perform("forward", sound[..., start : start + samples])[0, 0])
        start += samples
    wanted = on_the_runtime(live, sound, plan)
    assert np.abs(np.concatenate(answers) - wanted).max() < 1e-4
    assert np.abs(wanted - sound[0, 0, : len(wanted)]).max() > 0.05, "the knobs must have done something"


def test_at_rest_sound_comes_out_as_it_went_in(nn_file: Path) -> None:
    sound = sound_of(0.4)
    np.testing.assert_array_equal(NnTildeHost(nn_file).play("forward", sound, [2048]), sound)


def test_buffer_sizes_change_nothing(nn_file: Path) -> None:
    sound = sound_of(0.35)
    answers = {}
    for sizes in ((8192,), (512, 256, 256, 1024, 2048, 4096)):
        host = NnTildeHost(nn_file)
        host.set("brightness", "2")
        latents = host.play("encode", sound, list(sizes))
        answers[sizes] = [
            host.play("forward", sound, list(sizes)),
            latents,
            host.play("decode", latents.transpose(1, 0, 2), list(sizes)),
        ]
    for whole, chunked in zip(*answers.values(), strict=True):
        np.testing.assert_array_equal(chunked, whole)


def test_voices_know_nothing_of_each_other(nn_file: Path) -> None:
    """Four voices of mc.nn~ are four of nn~, and a burst in one leaves the others alone; back to one starts anew."""
    single = sound_of(0.15, key=72)[..., :8192]
    four = np.concatenate([single, sound_of(0.15, CELLO, 55)[..., :8192], 0 * single, 0.3 * single], 1)
    many, one = NnTildeHost(nn_file, batches=4), NnTildeHost(nn_file)
    for host in (many, one):
        host.set("brightness", "2.5")
    together = {method: many.play(method, four, [2048]) for method in ("forward", "encode")}
    alone = {method: one.play(method, four[:, 3:], [2048])[0] for method in ("forward", "encode")}
    for method, answer in alone.items():
        assert np.abs(together[method][3] - answer).max() < (1e-5 if method == "forward" else 1e-3)
    burst = NnTildeHost(nn_file, batches=4)
    burst.set("brightness", "2.5")
    louder = four.copy()
    louder[:, 1] = np.random.default_rng(0).uniform(-1, 1, louder.shape[-1])
    np.testing.assert_array_equal(burst.play("forward", louder, [2048])[[0, 2, 3]], together["forward"][[0, 2, 3]])
    many.batches = 1
    fresh = NnTildeHost(nn_file)
    fresh.set("brightness", "2.5")
    np.testing.assert_array_equal(many.play("forward", single, [2048]), fresh.play("forward", single, [2048]))


def test_attributes_are_clamped_and_refuse_what_is_no_number(nn_file: Path) -> None:
    host = NnTildeHost(nn_file)
    host.set("brightness", "99")
    assert host.get("brightness") == [3.0]
    host.set("mix", "-2")
    assert host.get("mix") == [0.0]
    host.set("preset", "3")
    assert host.get("preset") == [3]
    host.set("preset", "100000")
    assert host.get("preset") == [len(playable_presets(host))]
    for word in ("nan", "inf"):
        with pytest.raises(HostError, match="returned -1"):
            host.set("gain_db", word)
    assert host.get("gain_db") == [0.0]


def playable_presets(host: NnTildeHost) -> range:
    return range(int(host.model.high[-4]))  # preset is the first of the four targets that every bundle has


def test_not_a_number_in_the_sound_does_not_stay(nn_file: Path) -> None:
    host, sound = NnTildeHost(nn_file), sound_of(0.2)[..., :8192]
    host.set("brightness", "2")
    broken = sound.copy()
    broken[..., 1000:1010] = np.nan
    host.play("forward", broken, [2048])
    host.play("encode", broken, [2048])
    assert np.isfinite(host.play("forward", sound, [2048])).all()
    latents = host.play("encode", sound, [2048])
    assert np.isfinite(latents).all()
    host.play("decode", np.full_like(latents, np.nan).transpose(1, 0, 2), [2048])
    assert np.isfinite(host.play("decode", latents.transpose(1, 0, 2), [2048])).all()


def test_buffers_that_cut_a_hop_are_refused_in_words(nn_file: Path) -> None:
    with pytest.raises(torch.jit.Error, match="multiple of the model's hop"):
        torch.jit.load(str(nn_file)).forward(torch.zeros(1, 1, 300))


def test_everything_moves_with_the_module(nn_file: Path) -> None:
    """Unregistered tensors, or those made on a fixed device, would stay behind when the host moves to a GPU."""
    model = torch.jit.load(str(nn_file)).to(torch.float64)  # as with a device: the registered tensors move, no others
    with torch.inference_mode():
        latents = model.encode(torch.zeros(2, 1, 512, dtype=torch.float64))
        assert model(torch.zeros(2, 1, 512, dtype=torch.float64)).dtype == torch.float64
        assert model.decode(latents).dtype == torch.float64
    for method in ("forward", "encode", "decode"):
        graph = str(model.inlined_graph if method == "forward" else getattr(model, method).inlined_graph)
        assert "Device" not in graph


def test_encode_gives_the_runtimes_latents_and_the_level(live: Parts, nn_file: Path) -> None:
    sound = sound_of(0.4)[..., 2 * HOP : 34 * HOP]  # its first hop sounds already
    host = NnTildeHost(nn_file)
    found = host.play("encode", sound, [8192])[0, :, ::HOP]
    spectra = live_features(load_checkpoint(LIVE).features)(torch.from_numpy(sound[0]))
    assert bool(spectra.sounding.all())
    model = load_checkpoint(LIVE).model
    latents, _ = torch_streaming(model, spectra, live.features.hop_seconds / 2.0)
    wanted = torch.cat([value[0] for _, value in latents.items()], 1).numpy().T
    assert np.abs(found[:-1] - wanted).max() < 1e-3
    assert abs(found[-1, -1] - level_db(sound[0, 0, 24 * HOP :])) < 0.01
    silent = host.play("encode", np.zeros((1, 1, 8192), np.float32), [8192])[0]
    assert silent[-1, -1] == -120.0
    np.testing.assert_array_equal(silent[:-1, -1], silent[:-1, -HOP - 1])


def test_decode_is_as_loud_as_the_level_says_and_silent_where_it_says_so(nn_file: Path) -> None:
    host, sound = NnTildeHost(nn_file), sound_of(0.7, CELLO, 55)
    latents = host.play("encode", sound, [8192])
    decoded = host.play("decode", latents.transpose(1, 0, 2), [8192])[0, 0]
    middle = slice(8192, 20000)
    gain_db = 20 * np.log10(np.std(decoded[middle]) / np.std(sound[0, 0, middle]))
    assert abs(gain_db) < 2
    # What a control signal does between hops is not read.
    last_only = np.where(np.arange(latents.shape[-1]) % HOP == HOP - 1, latents, 9.0)
    np.testing.assert_array_equal(
        NnTildeHost(nn_file).play("decode", last_only.transpose(1, 0, 2), [8192])[0, 0], decoded
    )
    softer = latents.copy()
    softer[:, -1] -= 20
    again = NnTildeHost(nn_file).play("decode", softer.transpose(1, 0, 2), [8192])[0, 0]
    np.testing.assert_allclose(again, 0.1 * decoded, atol=1e-4)
    latents[:, -1] = -120
    assert np.abs(NnTildeHost(nn_file).play("decode", latents.transpose(1, 0, 2), [8192])).max() == 0


def test_plain_state_is_an_argument(live: Parts, nn_file: Path) -> None:
    """The same state gives the same answer, the given state does not change, and the whole is what nn~ plays."""
    instrument = plain_module(live)
    sound = sound_of(0.3)[..., :8192]
    knobs, hops = instrument.knobs(1), torch.from_numpy(sound).reshape(-1, 1, HOP)
    knobs[:, instrument.knob_names.index("brightness")] = 2.0
    host = NnTildeHost(nn_file)
    host.set("brightness", "2")
    with torch.no_grad():
        state, answers = instrument.initial_state(1), []
        for hop in hops:
            before = {name: value.clone() for name, value in state.items()}
            latents, following = instrument.encode(hop, state)
            answer, following = instrument.step(hop, knobs, following)
            again, _ = instrument.step(hop, knobs, state)
            assert torch.equal(answer, again)
            assert all(torch.equal(before[name], value) for name, value in state.items())
            assert latents.shape[1] == len(instrument.latent_names)
            state = following
            answers.append(answer[0])
    np.testing.assert_array_equal(torch.cat(answers), host.play("forward", sound, [2048])[0, 0])


def test_export_refuses_what_it_cannot_reproduce(live: Parts) -> None:
    short = dataclasses.replace(live, sound=live.sound[: 64 * HOP])
    knob = offered_knobs(live)[0].index
    with pytest.raises(
        ExportError, match=r"forward: the exported file differs from the model by \S+ over 64 hops \(limit 1e-04\)"
    ):
        verify_play(lambda sound, values: sound * 1.01, short, [knob], "forward")


def test_reading_back_is_quiet(nn_file: Path, recwarn: pytest.WarningsRecorder) -> None:
    loaded(nn_file)
    assert not recwarn.list
