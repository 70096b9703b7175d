"""Plain TorchScript and `torch.export`: the instrument for hosts of one's own, state explicit, one hop per call, any
batch size.

    instrument = torch.jit.load("live.plain.pt")
    state = instrument.initial_state(1)                                  # zeros, by name
    sound, state = instrument.step(sound, instrument.knobs(1), state)    # sound to reshaped sound, as the runtime plays
    it latents, state = instrument.encode(sound, state)                     # to latents, and the level in dB as the
    last channel sound, state = instrument.decode(latents, state)                     # and back, `decode_delay_samples`
    later

Sound is (batch, hop_samples) at `sample_rate`, full scale 1; knobs are (batch, len(knob_names)) in the order of
`knob_names`, between `knob_low` and `knob_high`; latents are (batch, len(latent_names)). The three methods have states
of their own in the one dict (step.…, encode.…, decode.…): each renews its own and hands on the rest. `latency_samples`
is how much later `step` answers.

The `.pt2` beside it holds `step` alone, as torch.export writes it: torch.export.load(path).module()(sound, knobs,
state) → (sound, state) with a state of names without "step.", for a batch of one.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.hosts.parts import Parts, quiet, scripted, traced
from export.hosts.steps import Packed
from export.hosts.verify import verify_halves, verify_play

# no postponed annotations here: TorchScript reads those of a class

PROGRAM_HOPS = 150  # of the .pt2 that are compared: it runs operator by operator in Python, ten times slower


class Plain(nn.Module):
    """Three traced steps whose packed states are given names again."""

    knob_defaults: Tensor
    knob_low: Tensor
    knob_high: Tensor

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        steps, targets = parts.steps(), parts.targets()
        self.whole, self.encoder, self.decoder = (traced(steps[name]) for name in ("step", "encode", "decode"))
        self.names = [f"{part}.{name}" for part, step in steps.items() for name in step.names]
        self.shapes = [list(shape) for step in steps.values() for shape in step.shapes]
        self.sizes = [size for step in steps.values() for size in step.sizes]
        counts = [len(step.names) for step in steps.values()]
        self.first_encode, self.first_decode = counts[0], counts[0] + counts[1]
        self.sample_rate, self.hop_samples = parts.features.sample_rate, parts.hop
        self.latency_samples, self.decode_delay_samples = parts.latency_samples, int(steps["decode"].step.delay_samples)
        self.latent_names, self.knob_names = parts.latent_names(), [target.name for target in targets]
        for name, values in {
            "defaults": [t.default for t in targets],
            "low": [t.low for t in targets],
            "high": [t.high for t in targets],
        }.items():
            self.register_buffer(f"knob_{name}", torch.tensor(values, dtype=torch.float32))

    def forward(self, sound: Tensor, knobs: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as `step`."""
        return self.step(sound, knobs, state)

    @torch.jit.export
    def initial_state(self, batch: int) -> dict[str, Tensor]:
        state = torch.jit.annotate(dict[str, Tensor], {})
        for name, shape in zip(self.names, self.shapes):  # noqa: B905  TorchScript's zip takes no strict
            state[name] = self.knob_low.new_zeros([batch] + shape[1:])  # noqa: RUF005  nor has it unpacking
        return state

    @torch.jit.export
    def knobs(self, batch: int) -> Tensor:
        """Every knob at its default: at rest."""
        return self.knob_defaults.repeat(batch, 1)

    @torch.jit.export
    def step(self, sound: Tensor, knobs: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        answer, packed = self.whole(sound, knobs, self.packed(state, 0, self.first_encode))
        return answer, self.renewed(state, packed, 0, self.first_encode)

    @torch.jit.export
    def encode(self, sound: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        latents, packed = self.encoder(sound, self.packed(state, self.first_encode, self.first_decode))
        return latents, self.renewed(state, packed, self.first_encode, self.first_decode)

    @torch.jit.export
    def decode(self, latents: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        sound, packed = self.decoder(latents, self.packed(state, self.first_decode, len(self.names)))
        return sound, self.renewed(state, packed, self.first_decode, len(self.names))

    def packed(self, state: dict[str, Tensor], first: int, last: int) -> Tensor:
        return torch.cat([state[self.names[i]].flatten(1) for i in range(first, last)], 1)

    def renewed(self, state: dict[str, Tensor], packed: Tensor, first: int, last: int) -> dict[str, Tensor]:
        following, start = state.copy(), 0
        for i in range(first, last):
            shape = [packed.shape[0]] + self.shapes[i][1:]  # noqa: RUF005  TorchScript has no unpacking
            following[self.names[i]] = packed[:, start : start + self.sizes[i]].reshape(shape)
            start += self.sizes[i]
        return following


class NamedStep(nn.Module):
    """(sound, knobs, state by name) → (sound, next state by name), for torch.export."""

    def __init__(self, packed: Packed) -> None:
        super().__init__()
        self.step, self.names, self.shapes = packed.step, packed.names, packed.shapes

    def forward(self, sound: Tensor, knobs: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        answer, *following = self.step(sound, knobs, *(state[name] for name in self.names))
        return answer, dict(zip(self.names, following, strict=True))


def plain_module(parts: Parts) -> torch.jit.ScriptModule:
    return scripted(Plain(parts))


def plain_program(parts: Parts) -> torch.export.ExportedProgram:
    packed = parts.steps()["step"]
    sound, knobs, _ = packed.example()
    state = {name: torch.zeros(shape) for name, shape in zip(packed.names, packed.shapes, strict=True)}
    with quiet():
        return torch.export.export(NamedStep(packed).eval(), (sound, knobs, state))


class _Player:
    """A sound through `step`, a hop at a time, the state kept between calls."""

    def __init__(self, step: Any, state: dict[str, Tensor], hop: int) -> None:
        self.step, self.state, self.hop = step, state, hop

    def __call__(self, sound: Tensor, values: np.ndarray) -> Tensor:
        knobs, answers = torch.from_numpy(values)[None], []
        for part in sound.reshape(-1, 1, self.hop):
            answer, self.state = self.step(part, knobs, self.state)
            answers.append(answer[0])
        return torch.cat(answers)


class _Half:
    """The same through `encode` or `decode`."""

    def __init__(self, method: Any, state: dict[str, Tensor]) -> None:
        self.method, self.state = method, state

    def __call__(self, hops: Tensor) -> list[Tensor]:
        answers = []
        for part in hops:
            answer, self.state = self.method(part[None], self.state)
            answers.append(answer[0])
        return answers


def verify_plain(module: torch.jit.ScriptModule, program: Any, parts: Parts) -> float:
    """module : loaded from the .pt;  program : the .pt2's module.  Returns the greatest difference from the runtime and
    from torch.
    """
    everything = range(len(parts.targets()))
    state = {
        name: torch.zeros(shape)
        for name, shape in zip(*(getattr(parts.steps()["step"], key) for key in ("names", "shapes")), strict=True)
    }
    with torch.no_grad():
        worst = verify_play(_Player(module.step, module.initial_state(1), parts.hop), parts, everything, "step")
        short = replace(parts, sound=parts.sound[: PROGRAM_HOPS * parts.hop])
        exported = verify_play(_Player(program, state, parts.hop), short, everything, "the .pt2's step")
        encode, decode = _Half(module.encode, module.initial_state(1)), _Half(module.decode, module.initial_state(1))
        halves = verify_halves(
            lambda sound: torch.stack(encode(sound.reshape(-1, parts.hop)), 1), lambda z: torch.cat(decode(z.T)), parts
        )
    return max(worst, exported, halves)
