"""Neutone FX: one file with four knobs, written by Neutone's own kit, which must be installed beside Neiro.

The knobs are the axes that do most of what they say; a half is the axis at rest. The plug-in calls the model one hop at
a time, so it adds no delay of its own to buffers of a hop and longer ones that are multiples of it; at other rates than
the model's it resamples.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.hosts.parts import Parts, macro_axes, quiet, scripted, traced
from export.hosts.verify import verify_play
from realtime.bundle import Axis

# no postponed annotations here: TorchScript reads those of a class

MACROS = 4  # that Neutone has room for
MISSING = (
    "--host neutone needs Neutone's kit, which asks for other versions than Neiro is tested with: "
    "make an environment of its own, pip install neutone-sdk and Neiro with its extras cpu and train there, and "
    "export in it"
)


class MacroStep(nn.Module):
    """Sound (1, samples), a whole number of hops, and macros (4,), 0 … 1, to sound of the same shape; it remembers its
    state.
    """

    rest: Tensor
    low: Tensor
    span: Tensor
    places: Tensor
    state: Tensor

    def __init__(self, parts: Parts, axes: list[Axis]) -> None:
        super().__init__()
        step, targets = parts.steps()["step"], parts.targets()
        self.step, self.hop = traced(step), parts.hop
        names = [target.name for target in targets]
        self.register_buffer("rest", torch.tensor([target.default for target in targets], dtype=torch.float32))
        self.register_buffer("low", torch.tensor([axis.low for axis in axes]))
        self.register_buffer("span", torch.tensor([axis.high - axis.low for axis in axes]))
        self.register_buffer("places", torch.tensor([names.index(axis.name) for axis in axes]))
        self.register_buffer("state", torch.zeros(1, sum(step.sizes)))

    def forward(self, sound: Tensor, macros: Tensor) -> Tensor:
        knobs = self.rest.clone()
        knobs[self.places] = self.low + self.span * macros.clamp(0.0, 1.0)
        state, answers = self.state, torch.jit.annotate(list[Tensor], [])
        for start in range(0, sound.shape[1], self.hop):
            answer, state = self.step(sound[:, start : start + self.hop], knobs[None], state)
            answers.append(answer)
        self.state = state
        return torch.cat(answers, 1)

    @torch.jit.export
    def reset(self) -> bool:
        self.state = torch.zeros_like(self.state)
        return True


def neutone_kit() -> Any:
    """The kit itself; raises ExportError with what to do if it is not there, or not whole."""
    try:
        with quiet():
            import neutone_sdk  # only those who export for Neutone have it
            import neutone_sdk.utils
    except (ImportError, OSError) as error:
        reason = (
            ""
            if isinstance(error, ModuleNotFoundError) and error.name == "neutone_sdk"
            else f" (found, but: {' '.join(str(error).split())})"
        )
        raise ExportError(MISSING + reason) from None
    return neutone_sdk


def macros_of(parts: Parts) -> list[Axis]:
    axes = macro_axes(parts.bundle.manifest.axes, MACROS)
    if not axes:
        raise ExportError(
            "this model has no axes, so Neutone would have no knobs; export a checkpoint that carries knobs"
        )
    return axes


def macro_module(parts: Parts) -> torch.jit.ScriptModule:
    """What the file holds, without the kit's wrapping."""
    return scripted(MacroStep(parts, macros_of(parts)))


def neutone_file(parts: Parts) -> bytes:
    """The .nm as the kit writes it."""
    kit, axes = neutone_kit(), macros_of(parts)
    from export.hosts.neutone_wrapper import wrapped  # needs the kit to be imported

    with tempfile.TemporaryDirectory() as folder, quiet():
        try:
            kit.utils.save_neutone_model(
                wrapped(MacroStep(parts, axes), axes, parts),
                Path(folder),
                speed_benchmark=False,
                test_offline_mode=False,
            )
        except Exception as error:  # whatever a kit of another version objects to
            reason = " ".join(str(error).split())[:200]
            raise ExportError(
                f"neutone-sdk {kit.constants.SDK_VERSION} refuses the model ({reason}); this was written for version "
                "1.5.2"
            ) from None
        return (Path(folder) / "model.nm").read_bytes()


class _Macros:
    """Plays a file or a module of this host: knob values become macros."""

    def __init__(self, play: Any, parts: Parts) -> None:
        self.play, self.hop = play, parts.hop
        axes, names = macros_of(parts), [target.name for target in parts.targets()]
        self.places = [names.index(axis.name) for axis in axes]
        self.low, self.span = (np.array([axis.low for axis in axes]), np.array([axis.high - axis.low for axis in axes]))

    def __call__(self, sound: Tensor, values: np.ndarray) -> Tensor:
        macros = torch.from_numpy(((values[self.places] - self.low) / self.span).astype(np.float32))
        return torch.cat([self.play(part[None], macros)[0] for part in sound.split(self.hop)])


def verify_macros(module: torch.jit.ScriptModule, parts: Parts) -> float:
    """Greatest difference of the bare module from the runtime."""
    player = _Macros(module, parts)
    with torch.no_grad():
        return verify_play(player, parts, player.places, "forward")


def verify_neutone(module: torch.jit.ScriptModule, parts: Parts) -> float:
    """The same of the whole file, called as the plug-in calls it, with the delay it reports taken out."""
    module.set_daw_sample_rate_and_buffer_size(parts.features.sample_rate, parts.hop)
    if (delay := module.calc_buffering_delay_samples()) or module.calc_model_delay_samples() != parts.latency_samples:
        raise ExportError(
            f"the file reports {delay} samples of buffering, 0 were expected, or another latency; install another "
            "version of neutone-sdk"
        )

    def play(sound: Tensor, macros: Tensor) -> Tensor:
        filled = torch.nn.functional.pad(macros, (0, MACROS - len(macros)))
        return module.forward(sound, filled[:, None].repeat(1, sound.shape[1])).clone()

    player = _Macros(play, parts)
    with torch.no_grad():
        return verify_play(player, parts, player.places, "the .nm")
