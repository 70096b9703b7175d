"""Steps made beside the audio thread: the same answers a hop later, and nothing waits for them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from realtime.bundle import Bundle, load_bundle
from realtime.hop.meters import new_meters
from realtime.hop.published import new_published
from realtime.hop.step import HopStep
from realtime.hop.worker import Worker
from realtime.outputs.base import Answer
from realtime.outputs.morph import Morph, MorphPart
from realtime.session import SessionOptions
from tests.support.bundles import make_bundle
from tests.support.sessions import EDIT, HOP, bank_of, cello_and_clarinet, difference_db, play, session_of
from tests.support.tricky_model import plug_in


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("worker") / "small.bundle"))


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return cello_and_clarinet()


def step_of(bundle: Bundle) -> HopStep:
    features, knobs = bundle.manifest.features, bank_of(bundle, EDIT)
    morph = Morph(features, 1, 44100, fade_samples=64, most=64)
    return HopStep(bundle, knobs, [morph], "cpu", new_meters(), new_published(bundle.manifest))


def response_in(answer: Answer) -> np.ndarray | None:
    """The filter of a hop, if it has one."""
    morph = answer.parts[0]
    assert isinstance(morph, MorphPart)
    return morph.response.copy() if morph.filtered else None


def test_the_worker_gives_the_same_filters_a_hop_later(bundle: Bundle, sound: np.ndarray) -> None:
    hops = sound[:12032].astype(np.float64).reshape(-1, 1, HOP)
    step = step_of(bundle)
    answer, wanted = step.new_answer(), []
    for hop in hops:
        step.run(hop, answer)
        wanted.append(response_in(answer))
    worker, found = Worker(step_of(bundle), HOP), []
    for hop in hops:
        newest = worker.fetch()
        if newest is not None:
            found.append(response_in(newest))
        assert worker.give(hop)
        worker.settle()
    worker.close()
    assert len(found) == len(wanted) - 1 > 100
    assert sum(response is not None for response in found) > 100
    for a, b in zip(wanted, found, strict=False):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert np.array_equal(a, b)


def test_a_worker_that_is_stuck_never_holds_the_sound_up(
    bundle: Bundle, sound: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model does not answer at all until it is let go; every block comes all the same, dry after a few hops, no
    louder than asked for.
    """
    hook, go_on = plug_in(monkeypatch), threading.Event()
    knobs, options = EDIT | {"gain_db": -20.0}, SessionOptions(provider="cpu", worker=True, live=True)
    session = session_of(bundle, knobs, options=options)

    def stuck() -> None:
        go_on.wait()

    hook.before = stuck
    out = play(session, sound[:20000], [HOP])
    assert np.allclose(out[1000:], 0.1 * sound[1000:20000], atol=1e-7)
    assert session.meters["bypassed_hops"] > 200
    go_on.set()
    session.settle()
    at = dict.fromkeys(range(HOP, 20000, HOP), session.settle)
    out = play(session, sound[20000:40000], [HOP], at)
    session.close()
    assert difference_db(10 * out[10000:19000], sound[30000:39000]) > -20


def test_a_closed_session_leaves_no_thread(bundle: Bundle) -> None:
    before = threading.active_count()
    session = session_of(bundle, {}, options=SessionOptions(provider="cpu", worker=True))
    assert threading.active_count() == before + 1
    session.close()
    assert threading.active_count() == before
