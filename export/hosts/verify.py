"""Proof that a host file plays what the runtime plays: hop by hop on real sound, knobs moved and let go, buffers of
random sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.errors import ExportError
from export.hosts.parts import Parts
from realtime.knobs.bank import KnobBank
from realtime.session import Session, SessionOptions

# Greatest difference, in parts of full scale, or of the loudest sample where knobs take the sound beyond it.
TOLERANCE = 1e-4
LONGEST_BUFFER = 32  # hops
REST_SHARE = 0.3  # of the buffers in which every knob is at its default

Play = Callable[
    [Tensor, np.ndarray], Tensor
]  # (samples,), knob values (targets,) → (samples,); goes on where it stopped
Through = Callable[[Tensor], Tensor]  # the next hops of one half: (samples,) → (D + 1, hops), or the other way round


@dataclass(frozen=True)
class Buffer:
    """One call of a host.  values : (targets,), float32, the knobs during it"""

    hops: int
    values: np.ndarray


def buffers_for(parts: Parts, moved: Sequence[int], seed: int = 0) -> list[Buffer]:
    """Buffers that cover the whole sound.  moved : the targets that the host can move; the others stay at their
    defaults
    """
    random, targets = np.random.default_rng(seed), parts.targets()
    rest = np.array([target.default for target in targets], np.float32)
    left, buffers = len(parts.sound) // parts.hop, []
    while left:
        hops, values = min(left, int(random.integers(1, LONGEST_BUFFER + 1))), rest.copy()
        if random.random() > REST_SHARE:
            for i in random.choice(moved, min(len(moved), 3), replace=False):
                value = random.uniform(targets[i].low, targets[i].high)
                values[i] = round(value) if targets[i].whole else value
        buffers.append(Buffer(hops, values))
        left -= hops
    return buffers


def verify_play(play: Play, parts: Parts, moved: Sequence[int], what: str) -> float:
    """Greatest difference from the runtime's session; raises ExportError beyond the tolerance."""
    bank = KnobBank(parts.bundle.manifest)
    session = Session(
        parts.bundle, bank, channels=1, sample_rate=parts.features.sample_rate, options=SessionOptions(provider="cpu")
    )
    worst, start = 0.0, 0
    for buffer in buffers_for(parts, moved):
        part = parts.sound[start : start + buffer.hops * parts.hop]
        bank.values[: len(buffer.values)] = buffer.values
        wanted = np.zeros((len(part), 1), np.float32)
        session.process_block(part[:, None].numpy(), wanted)
        loudest = max(1.0, float(np.abs(wanted).max()))
        worst = max(worst, _difference(play(part, buffer.values), torch.from_numpy(wanted[:, 0])) / loudest)
        start += len(part)
    return _refused_beyond(worst, what, start // parts.hop)


def verify_halves(encode: Through, decode: Through, parts: Parts) -> float:
    """Greatest difference of latents and of decoded sound from the plain torch modules, fed hop by hop."""
    steps = parts.steps()
    encoder, decoder = steps["encode"], steps["decode"]
    state, following = encoder.example()[-1], decoder.example()[-1]
    worst, start = 0.0, 0
    with torch.no_grad():
        for buffer in buffers_for(parts, range(len(parts.targets())), seed=1):
            part = parts.sound[start : start + buffer.hops * parts.hop]
            found = encode(part)
            latents, sound = [], []
            for i, hop in enumerate(part.reshape(-1, parts.hop)):
                value, state = encoder(hop[None], state)
                answer, following = decoder(found[None, :, i], following)
                latents.append(value[0])
                sound.append(answer[0])
            worst = max(
                worst, _difference(found, torch.stack(latents, 1)), _difference(decode(found), torch.cat(sound))
            )
            start += len(part)
    return _refused_beyond(worst, "encode and decode", start // parts.hop)


def _difference(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    return float(torch.nan_to_num((found - wanted).abs(), nan=float("inf")).max())


def _refused_beyond(worst: float, what: str, hops: int) -> float:
    if not worst <= TOLERANCE:
        raise ExportError(
            f"{what}: the exported file differs from the model by {worst:.1e} over {hops} hops (limit "
            f"{TOLERANCE:.0e}); nothing was written"
        )
    return worst
