"""What fewer bits cost: the same sound through the fp32 graphs and the quantised ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.graph_file import StreamingRun
from realtime.dsp.decibels import DB_PER_NEPER


@dataclass(frozen=True)
class PrecisionCost:
    """Of a quantised run against the fp32 run of the same sound.

    relative_rms : output → RMS difference over RMS value
    cosine : output → cosine of the angle between both answers, mean over hops (of those that are not zero)
    distance_db : log-spectral distance between both decoded spectra: RMS over bins, mean over hops
    mse_fp32, mse : mean square error of the decoded log-amplitude against the data
    """

    relative_rms: dict[str, float]
    cosine: dict[str, float]
    distance_db: float
    mse_fp32: float
    mse: float

    @property
    def mse_change(self) -> float:
        """Relative; above 0 is worse."""
        return self.mse / self.mse_fp32 - 1


def precision_cost(
    exact: StreamingRun, quantized: StreamingRun, log_amplitude: np.ndarray, lookahead: int = 0
) -> PrecisionCost:
    """Compare two runs of the same sound.

    log_amplitude : (hops, bins), of the data
    lookahead : hops that the answers come late
    """
    wanted = exact.latents | {"log_amplitude": exact.log_amplitude}
    found = quantized.latents | {"log_amplitude": quantized.log_amplitude}
    difference = DB_PER_NEPER * (quantized.log_amplitude - exact.log_amplitude)
    heard = log_amplitude[: len(log_amplitude) - lookahead]

    def mse(run: StreamingRun) -> float:
        return float(np.mean(np.square(run.log_amplitude[lookahead:] - heard)))

    return PrecisionCost(
        relative_rms={name: _relative_rms(found[name], value) for name, value in wanted.items()},
        cosine={name: _mean_cosine(found[name], value) for name, value in wanted.items()},
        distance_db=float(np.sqrt(np.square(difference).mean(1)).mean()),
        mse_fp32=mse(exact),
        mse=mse(quantized),
    )


def _relative_rms(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(found - wanted)) / max(1e-12, float(np.mean(np.square(wanted))))))


def _mean_cosine(found: np.ndarray, wanted: np.ndarray) -> float:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    some = lengths > 1e-9
    return float(np.mean((found * wanted).sum(1)[some] / lengths[some])) if some.any() else 1.0
