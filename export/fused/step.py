"""The whole runtime as one graph: a hop of sound and the knobs in, a hop of sound out, everything it remembers as
ports.

`FusedStep` is `realtime.session.Session` for one channel at the model's rate, fed hop by hop, as a pure function. What
the session decides hop by hop is decided here by masks, for every sound of a batch on its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.fused.analysis import Analysis, Frame, FrameDelay, State
from export.fused.edits import Edits, Knobs
from export.fused.morph import Filters, Morph
from export.fused.pitch import Pitch
from realtime.bundle import Manifest
from realtime.hop.smoothing import timbre_rate
from realtime.hop.step import settling
from realtime.knobs.targets import TIMBRE_SECONDS, morph_targets

LARGEST = float(torch.finfo(torch.float32).max)
LOUDEST = 1e6  # of what the analysis hears: its square must not leave float32


class FusedStep(nn.Module):
    """(audio (batch, hop), knobs (batch, targets), *states) → (audio (batch, hop), *next states), float32, in the order
    of `state_shapes`.

    knobs : in the order of `realtime.knobs.targets.morph_targets`;  states : zeros = as new

    Parameters
    ----------
    encoder, decoder : streaming graphs (see `export.graphs.perturbation`)
    timbre_seconds : time constant of the running timbre
    """

    rate: Tensor
    single: Tensor

    def __init__(
        self, manifest: Manifest, encoder: Any, decoder: Any, *, timbre_seconds: float = TIMBRE_SECONDS
    ) -> None:
        super().__init__()
        features = manifest.features
        self.encoder, self.decoder = encoder, decoder
        self.hop, self.window = features.hop_samples, features.window_samples
        self.register_buffer(
            "rate", torch.tensor([timbre_rate(features.hop_seconds, timbre_seconds)]), persistent=False
        )
        self.settle_share = settling(features)[1]
        self.analysis, self.late = Analysis(features), FrameDelay(features, manifest.lookahead_hops)
        self.pitch, self.edits, self.morph = Pitch(features), Edits(manifest), Morph(features)
        self.filters = Filters(self.morph.taps, self.hop)
        self.register_buffer(
            "single", nn.functional.one_hot(torch.tensor(0), self.morph.taps).float(), persistent=False
        )
        self.latency_samples = latency = manifest.lookahead_hops * self.hop
        self.past = max(self.window - self.hop, latency + self.filters.past)
        self.dry = slice(
            self.past - latency - self.filters.past, self.past - latency + self.hop
        )  # of past and hop, what the filters read
        self.parts: dict[str, dict[str, tuple[int, ...]]] = {"sound": {"past": (1, self.past)}}
        for name in ("analysis", "late", "pitch", "edits", "morph", "filters"):
            self.parts[name] = getattr(self, name).state_shapes
        self.parts["latent"] = {name: (1, manifest.latents[name]) for name in encoder.output_shapes}
        self.parts["encoder"] = encoder.state_shapes
        self.parts["decoder"] = {name: (1, *shape) for name, shape in decoder.state_shapes.items()}
        self.state_shapes = {
            f"{part}.{name}": tuple(shape) for part, shapes in self.parts.items() for name, shape in shapes.items()
        }
        self.input_shapes = {"audio": (1, self.hop), "knobs": (1, len(morph_targets(manifest)))}
        self.output_shapes = {"audio": (1, self.hop)}

    def forward(self, audio: Tensor, knobs: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        given = iter(states)
        old: dict[str, State] = {part: {name: next(given) for name in shapes} for part, shapes in self.parts.items()}
        new: dict[str, State] = {}
        audio = torch.where(audio.abs() <= LARGEST, audio, 0.0)  # what is not a number counts as silence
        samples = torch.cat([old["sound"]["past"], audio], 1)
        new["sound"] = {"past": samples[:, self.hop :]}
        sound = self.filters(samples[:, self.dry], old["filters"])
        window = torch.clamp(samples[:, self.past + self.hop - self.window :], -LOUDEST, LOUDEST)
        frame, new["analysis"] = self.analysis(window, old["analysis"])
        heard, new["late"] = self.late(frame, old["late"])
        turned, new["edits"] = self.edits.follow(knobs, old["edits"])
        note, period, new["pitch"] = self.pitch(heard.amplitude, heard.sounding & ~turned.at_rest, old["pitch"])
        new["latent"], new["encoder"] = self._encode(frame, old)
        edited, new["edits"]["preset"] = self.edits(new["latent"]["timbre"], note, turned, old["edits"]["preset"])
        decoded, new["decoder"] = self._decode(new["latent"], edited, old["decoder"])
        answered = (decoded * decoded).sum((1, 2))[:, None] <= LARGEST  # a failed answer is not finite
        for part in ("latent", "encoder", "decoder"):  # and after it the model starts anew
            new[part] = {name: torch.where(_beside(answered, value), value, 0.0) for name, value in new[part].items()}
        active = answered & ~turned.settled & (turned.mix != 0)
        response, new["morph"] = self.morph(decoded, heard, period, active, old["morph"])
        active = active & (new["morph"]["count"] > 0)  # before the first sound, what is decoded says nothing of it
        new["filters"] = self.filters.next(self._mixed(response, turned, active), old["filters"])
        new["decoder"] = {name: self._merged(value, turned) for name, value in new["decoder"].items()}
        return (sound, *(new[part][name] for part, shapes in self.parts.items() for name in shapes))

    def _encode(self, frame: Frame, old: dict[str, State]) -> tuple[State, State]:
        """Latents and states; in silence they stay as they were."""
        answer = self.encoder(frame.envelope, frame.fine, self.rate, *old["encoder"].values())
        before = old["latent"] | old["encoder"]
        kept = [torch.where(frame.sounding, value, was) for value, was in zip(answer, before.values(), strict=True)]
        count = len(old["latent"])
        return dict(zip(old["latent"], kept[:count], strict=True)), dict(zip(old["encoder"], kept[count:], strict=True))

    def _decode(self, latents: State, edited: Tensor, old: State) -> tuple[Tensor, State]:
        """Both rows of every sound, (batch, 2, bins), and states."""
        second = latents | {"timbre": edited}
        rows = [
            torch.cat([latents[name], second[name]], 1).reshape(-1, shape[1])
            for name, shape in self.decoder.input_shapes.items()
        ]
        shapes = self.decoder.state_shapes
        decoded, *after = self.decoder(*rows, *(old[name].reshape(-1, *shape[1:]) for name, shape in shapes.items()))
        following = {name: value.reshape(-1, *shapes[name]) for name, value in zip(shapes, after, strict=True)}
        return decoded.reshape(-1, *self.decoder.output_shapes["log_amplitude"]), following

    def _merged(self, state: Tensor, turned: Knobs) -> Tensor:
        """At rest the decoder's edited row is drawn to the other one, and at last set there.  state : (batch, 2, …)"""
        heard, edited = state[:, :1], state[:, 1:]
        drawn = torch.where(_beside(turned.at_rest, state), edited + self.settle_share * (heard - edited), edited)
        return torch.cat([heard, torch.where(_beside(turned.settled, state), heard, drawn)], 1)

    def _mixed(self, response: Tensor, turned: Knobs, active: Tensor) -> Tensor:
        """With the dry sound and the gain; less a single 1, for that is how `Filters` keeps them."""
        dry = torch.where(active, 1 - turned.mix, 1.0) * turned.gain - 1
        return torch.where(active, turned.mix * turned.gain * response, 0.0) + dry * self.single


def _beside(mask: Tensor, value: Tensor) -> Tensor:
    """The mask (batch, 1) with as many axes as the value."""
    return mask.reshape(-1, *(1,) * (value.dim() - 1))
