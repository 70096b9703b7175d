"""Forms that stream, looking ahead or over a window of the original: ONNX equals torch at every size and chunking, and
what is said of a frame depends on the lookahead and no further.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph_file import write_streaming
from export.graphs.windowed import WindowedVAE
from export.proof.verify import random_chunks, torch_streaming, verify_streaming
from export.systems import streaming_graphs, system_of
from tests.support.spectra import noise
from training.features import RecipeError, Spectra
from training.models.metric import MetricConfig, MetricVAE
from training.models.perturbation import PerturbationConfig, PerturbationVAE

RATE = 0.02


def small(
    seed: int, kind: str, hidden: int, layers: int, lookahead: int, bidirectional: bool
) -> PerturbationVAE | MetricVAE:
    torch.manual_seed(seed)
    if kind == "metric":
        config = MetricConfig(17, 3, hidden, layers, hidden, 5, 0.0, bidirectional, 1e-2, lookahead)
        return MetricVAE(config).eval()
    encoder = "conditional" if seed % 2 else "independent"
    centred = seed % 3 == 0
    factors = (17, 4, 3, 2, hidden, None, max(2, layers), bidirectional, encoder, centred, 0)
    return PerturbationVAE(PerturbationConfig(*factors, lookahead=lookahead)).eval()  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    kind=st.sampled_from(["perturbation", "metric"]),
    hidden=st.integers(1, 20),
    layers=st.integers(1, 3),
    lookahead=st.integers(0, 5),
    window=st.integers(0, 9),
)
def test_graphs_equal_torch_at_random_sizes_and_chunkings(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    kind: str,
    hidden: int,
    layers: int,
    lookahead: int,
    window: int,
) -> None:
    """ONNX hop by hop, torch in chunks of random sizes and torch at once agree, whether they look ahead or stream a
    window of the original.
    """
    original = small(seed, kind, hidden, layers, 0 if window else lookahead, bool(window))
    model = WindowedVAE(original, lookahead + 2 + window, lookahead).eval() if window else original
    x, folder = noise(40, seed, 17), tmp_path_factory.mktemp("graphs")
    write_streaming(folder, *streaming_graphs(system_of(original), model))
    differences, _ = verify_streaming(folder, model, x, RATE)
    assert max(differences.values()) < 1e-3
    whole, chunked = (torch_streaming(model, x, RATE, chunks) for chunks in ((), random_chunks(40, seed)))
    for name, value in whole[0].items():
        torch.testing.assert_close(chunked[0][name], value, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(chunked[1], whole[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["perturbation", "metric"])
@pytest.mark.parametrize("window", [0, 7])
@torch.no_grad()
def test_what_is_said_of_a_frame_depends_on_the_lookahead_and_no_further(kind: str, window: int) -> None:
    """Of frame n: the answer at n + k changes with frame n + k, and not with frame n + k + 1."""
    k, at = 3, 20
    original = small(1, kind, 8, 2, 0 if window else k, bool(window))
    model = WindowedVAE(original, window, k).eval() if window else original
    x = noise(40, 0, 17)
    before, _ = torch_streaming(model, x, RATE)
    for first, same in ((at + k + 1, True), (at + k, False)):
        envelope, fine = x.envelope.clone(), x.fine.clone()
        envelope[:, first:] += 1.0
        fine[:, first:] -= 0.5
        after, _ = torch_streaming(model, Spectra(envelope + fine, envelope, fine, x.sounding), RATE)
        for name in before:
            assert torch.equal(before[name][:, at + k], after[name][:, at + k]) == same


@torch.no_grad()
def test_a_window_longer_than_the_sound_says_what_the_original_says_of_what_was_heard() -> None:
    original = small(5, "perturbation", 8, 2, 0, True)
    model, x = WindowedVAE(original, 60).eval(), noise(30, 1, 17)
    z, _ = torch_streaming(model, x, RATE)
    for frame in (0, 11, 29):
        heard_so_far = original.encode(
            x.envelope[:, : frame + 1], x.fine[:, : frame + 1], x.sounding[:, : frame + 1]
        ).latents
        torch.testing.assert_close(z.timbre[:, frame], heard_so_far.timbre)
        torch.testing.assert_close(z.pitch[:, frame], heard_so_far.pitch[:, -1])


def test_only_causal_models_look_ahead() -> None:
    with pytest.raises(RecipeError, match="lookahead=2 is for causal models"):
        PerturbationConfig(lookahead=2)
    with pytest.raises(RecipeError, match="lookahead=99 must lie in"):
        MetricConfig(bidirectional=False, lookahead=99)
