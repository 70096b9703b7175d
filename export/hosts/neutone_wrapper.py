"""The model as Neutone's kit wants it. Only imported where that kit is installed (see `export.hosts.neutone`)."""

from typing import Any

import torch
from neutone_sdk import ContinuousNeutoneParameter, WaveformToWaveformBase
from torch import Tensor, nn

from export.hosts.parts import Parts
from realtime.bundle import Axis

# no postponed annotations here: TorchScript reads those of a class

NAME_LETTERS = 30  # that Neutone shows


class NeiroFx(WaveformToWaveformBase):
    """step : `export.hosts.neutone.MacroStep`
    shown : its macros, in order.  Mono, at the model's rate, one hop per call.
    """

    def __init__(
        self, step: nn.Module, shown: list[Any], title: str, rate: int, hop: int, latency_samples: int
    ) -> None:
        # the kit asks for them as it begins
        self.shown = tuple(shown)
        self.titles = [parameter.name for parameter in shown]
        self.title, self.rate, self.hop, self.latency_samples = title, rate, hop, latency_samples
        super().__init__(step)

    @torch.jit.unused
    def get_neutone_parameters(self) -> list[Any]:
        return list(self.shown)

    def get_model_name(self) -> str:
        return self.title

    def get_model_authors(self) -> list[str]:
        return ["Neiro"]

    def get_model_short_description(self) -> str:
        return "Reshapes the timbre of the instrument you play."

    def get_model_long_description(self) -> str:
        return (
            "A disentangling VAE hears timbre, pitch and variation apart. The knobs move the timbre; a filter that "
            "follows every hop applies it."
        )

    def get_technical_description(self) -> str:
        return (
            "VAE on causal log-spectra; the difference of two decoded spectra becomes a minimum-phase filter of the "
            "dry sound."
        )

    def get_tags(self) -> list[str]:
        return ["timbre", "morph", "VAE"]

    def get_model_version(self) -> str:
        return "1.0.0"

    def is_experimental(self) -> bool:
        return True

    def is_input_mono(self) -> bool:
        return True

    def is_output_mono(self) -> bool:
        return True

    def get_native_sample_rates(self) -> list[int]:
        return [self.rate]

    def get_native_buffer_sizes(self) -> list[int]:
        return [self.hop]

    @torch.jit.export
    def calc_model_delay_samples(self) -> int:
        return self.latency_samples

    def reset_model(self) -> bool:
        return self.model.reset()

    def do_forward_pass(self, x: Tensor, params: dict[str, Tensor]) -> Tensor:
        return self.model(x, torch.cat([params[title] for title in self.titles]))


def wrapped(step: nn.Module, axes: list[Axis], parts: Parts) -> NeiroFx:
    shown = [
        ContinuousNeutoneParameter(_title(axis), axis.label, default_value=-axis.low / (axis.high - axis.low))
        for axis in axes
    ]
    return NeiroFx(
        step, shown, f"Neiro {parts.name}"[:NAME_LETTERS], parts.features.sample_rate, parts.hop, parts.latency_samples
    )


def _title(axis: Axis) -> str:
    return axis.name.replace("[", " ").replace("]", "").replace("_", " ")
