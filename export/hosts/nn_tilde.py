"""nn~ (Max, Pure Data): the instrument as a module of its methods and attributes; the contract is nn~'s own (its C++
backend, version 1.6).

    forward   sound in, sound out, as the runtime plays it
    encode    sound in, latents and level out, one value of each per hop
    decode    latents and level in (nn~ takes the last sample of each hop), sound out

The backend reads `<method>_params` = [inputs, their ratio, outputs, their ratio] and the labels of the inlets and
outlets, calls methods with (batch, channels, samples / ratio), and repeats slow outputs. Attributes are knobs:
`<knob>_params` gives the types of the arguments of `set_<knob>` (returns 0, or -1 for what is not a number),
`get_<knob>` returns their values. Values out of range are clamped. The host must run at `sample_rate`; `forward`
answers `latency_samples` late, `decode` `decode_delay_samples`, besides the host's own buffer. The batch is the number
of voices of mc.nn~; when it changes, all begin anew.
"""

import numpy as np
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.hosts.parts import Offered, Parts, offered_knobs, scripted, traced
from export.hosts.verify import verify_halves, verify_play

WHOLE, REAL = 1, 2  # nn~'s numbers for the types of an attribute's arguments
SIGNAL = "(signal) "

# no postponed annotations here: TorchScript reads those of a class


class NnTilde(nn.Module):
    """The methods that do not depend on the model. Every state is a registered buffer, so the module moves to any
    device.
    """

    knobs: Tensor
    low: Tensor
    high: Tensor
    forward_state: Tensor
    encode_state: Tensor
    decode_state: Tensor

    def __init__(self, parts: Parts, knobs: list[Offered]) -> None:
        super().__init__()
        steps = parts.steps()
        self.step, self.encoder, self.decoder = (traced(steps[name]) for name in ("step", "encode", "decode"))
        self.hop: int = parts.hop
        self.sample_rate, self.latency_samples = parts.features.sample_rate, parts.latency_samples
        self.decode_delay_samples = int(steps["decode"].step.delay_samples)
        targets = parts.targets()
        for name, values in {
            "knobs": [t.default for t in targets],
            "low": [t.low for t in targets],
            "high": [t.high for t in targets],
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))
        for method, step in {"forward": "step", "encode": "encode", "decode": "decode"}.items():
            self.register_buffer(f"{method}_state", torch.zeros(1, sum(steps[step].sizes)))
        latents = [SIGNAL + name for name in parts.latent_names()]
        self.forward_input_labels, self.forward_output_labels = [f"{SIGNAL}sound"], [f"{SIGNAL}reshaped sound"]
        self.encode_input_labels, self.encode_output_labels = [f"{SIGNAL}sound"], latents
        self.decode_input_labels, self.decode_output_labels = latents, [f"{SIGNAL}sound"]
        channels = len(latents)
        for method, numbers in {
            "forward": [1, 1, 1, 1],
            "encode": [1, 1, channels, self.hop],
            "decode": [channels, self.hop, 1, 1],
        }.items():
            self.register_buffer(f"{method}_params", torch.tensor(numbers))
        for knob in knobs:
            self.register_buffer(f"{knob.name}_params", torch.tensor([WHOLE if knob.target.whole else REAL]))
        self.methods = ["forward", "encode", "decode"]
        self.attributes = [knob.name for knob in knobs]

    def forward(self, audio: Tensor) -> Tensor:
        """audio : (batch, 1, samples);  returns the same shape."""
        sound = self.hops_of(audio)
        state = self.fitting(self.forward_state, sound.shape[0])
        knobs = self.knobs.unsqueeze(0).expand(sound.shape[0], -1)
        answers = torch.jit.annotate(list[Tensor], [])
        for i in range(sound.shape[1]):
            answer, state = self.step(sound[:, i], knobs, state)
            answers.append(answer)
        self.forward_state = state
        return torch.cat(answers, 1).unsqueeze(1)

    @torch.jit.export
    def encode(self, audio: Tensor) -> Tensor:
        """audio : (batch, 1, samples);  returns (batch, D + 1, hops)."""
        sound = self.hops_of(audio)
        state = self.fitting(self.encode_state, sound.shape[0])
        answers = torch.jit.annotate(list[Tensor], [])
        for i in range(sound.shape[1]):
            answer, state = self.encoder(sound[:, i], state)
            answers.append(answer)
        self.encode_state = state
        return torch.stack(answers, 2)

    @torch.jit.export
    def decode(self, latents: Tensor) -> Tensor:
        """latents : (batch, D + 1, hops);  returns (batch, 1, samples)."""
        latents = torch.nan_to_num(latents)
        state = self.fitting(self.decode_state, latents.shape[0])
        answers = torch.jit.annotate(list[Tensor], [])
        for i in range(latents.shape[2]):
            answer, state = self.decoder(latents[:, :, i], state)
            answers.append(answer)
        self.decode_state = state
        return torch.cat(answers, 1).unsqueeze(1)

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return self.methods

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return self.attributes

    @torch.jit.export
    def turn(self, index: int, value: float) -> int:
        if value != value or value - value != 0.0:  # not a number, or not finite
            return -1
        self.knobs[index] = min(max(value, float(self.low[index])), float(self.high[index]))
        return 0

    def hops_of(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) → (batch, hops, hop samples); what is not a number counts as silence."""
        if audio.shape[2] % self.hop != 0 or audio.shape[2] == 0:
            raise RuntimeError("the buffer must be a multiple of the model's hop; give nn~ a larger buffer")
        return torch.nan_to_num(audio[:, 0], 0.0, 0.0, 0.0).reshape(audio.shape[0], -1, self.hop)

    def fitting(self, state: Tensor, batch: int) -> Tensor:
        """The state, or a new one for another number of voices."""
        return state if state.shape[0] == batch else state.new_zeros((batch, state.shape[1]))


def check_hop(hop: int) -> None:
    """Raises ExportError for a hop that nn~ cannot work with: its buffers are powers of two."""
    if hop & (hop - 1):
        below = 1 << (hop.bit_length() - 1)
        raise ExportError(
            f"a hop of {hop} samples is not a power of two, nn~ needs one; retrain with hop_samples {below} or "
            f"{2 * below}"
        )


def nn_tilde_module(parts: Parts) -> torch.jit.ScriptModule:
    check_hop(parts.hop)
    knobs = offered_knobs(parts)
    return scripted(NnTilde(parts, knobs), "\n".join(_accessors(knob) for knob in knobs))


def _accessors(knob: Offered) -> str:
    kind, cast = ("int", "int(round({}))") if knob.target.whole else ("float", "{}")
    value = cast.format(f"float(self.knobs[{knob.index}])")
    return (
        f"def get_{knob.name}(self) -> Tuple[{kind}]:\n    return ({value},)\n"
        f"def set_{knob.name}(self, value: {kind}) -> int:\n    return self.turn({knob.index}, float(value))\n"
    )


def verify_nn_tilde(module: torch.jit.ScriptModule, parts: Parts) -> float:
    """As the backend calls it; returns the greatest difference from the runtime and from torch."""
    knobs = offered_knobs(parts)

    def play(sound: Tensor, values: np.ndarray) -> Tensor:
        for knob in knobs:
            value = float(values[knob.index])
            getattr(module, f"set_{knob.name}")(int(value) if knob.target.whole else value)
        return module(sound[None, None])[0, 0]

    with torch.inference_mode():
        worst = verify_play(play, parts, [knob.index for knob in knobs], "forward")
        halves = verify_halves(
            lambda sound: module.encode(sound[None, None])[0], lambda z: module.decode(z[None])[0, 0], parts
        )
    return max(worst, halves)
