"""Fourier transforms as two thin matrix products each: a length N = N1 · N2 needs N · (N1 + N2) products instead of N²,
and no FFT operator.

ONNX Runtime's DFT operator is several times slower, TorchScript and ONNX then compute the same, and what is known to be
zero, or is not asked for, is left out.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from realtime.dsp.fourier import bin_weights


def factors(samples: int) -> tuple[int, int]:
    """The two factors of a length that lie closest together, the smaller one first."""
    first = next(n for n in range(math.isqrt(samples), 0, -1) if samples % n == 0)
    return first, samples // first


class Fourier(nn.Module):
    """y[k] = Σ_n x[n] · w[n] · exp(±2πi·k·n/N) for the first n and the first k (Cooley and Tukey 1965, two steps).

    Parameters
    ----------
    samples : N
    given, wanted : how many values come in (the others are zero) and go out
    sign : of the exponent
    parts_in, parts_out : 1 for real values, 2 for real and imaginary part; of a complex answer one part may be all that
        is wanted
    weight : (given,), w; None: 1

    Input (batch, parts_in, given) or, of one part, (batch, given); output likewise.
    """

    inner: Tensor
    twiddle: Tensor
    outer: Tensor

    def __init__(
        self,
        samples: int,
        given: int,
        wanted: int,
        *,
        sign: int = -1,
        parts_in: int = 1,
        parts_out: int = 1,
        weight: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.given, self.wanted, self.parts_in, self.parts_out = given, wanted, parts_in, parts_out
        rows, self.columns = factors(samples)
        self.rows = rows
        used, asked = -(-given // self.columns), -(-wanted // rows)
        turn = sign * 2j * np.pi
        k1, n2 = np.arange(rows), np.arange(self.columns)
        inner = np.exp(turn * np.outer(k1, np.arange(used)) / rows)  # (k1, n1)
        twiddle = np.exp(turn * np.outer(k1, n2) / samples)  # (k1, n2)
        outer = np.exp(turn * np.outer(n2, np.arange(asked)) / self.columns)  # (n2, k2)
        # first product: the real and the imaginary part of the answer, and of i times the answer, which the twiddle
        # factors need
        of_real = np.concatenate([inner.real, inner.imag, -inner.imag, inner.real])
        of_imaginary = np.concatenate([-inner.imag, inner.real, -inner.real, -inner.imag])
        self._keep("inner", np.concatenate([of_real, of_imaginary][:parts_in], 1))  # (4·k1, parts_in·n1)
        self._keep("twiddle", np.stack([np.tile(twiddle.real, (2, 1)), np.tile(twiddle.imag, (2, 1))]))
        real, imaginary = np.concatenate([outer.real, -outer.imag]), np.concatenate([outer.imag, outer.real])
        self._keep("outer", np.concatenate([real, imaginary][:parts_out], 1))  # (2·n2, parts_out·k2)
        self.padding, self.asked = used * self.columns - given, asked
        if weight is not None:
            self._keep("weight", weight)
        self.weighted = weight is not None

    def _keep(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.weighted:
            x = x * self.get_buffer("weight")
        if self.padding:
            x = nn.functional.pad(x, (0, self.padding))
        both = self.inner @ x.reshape(-1, self.inner.shape[1], self.columns)  # (batch, 4·k1, n2)
        y = both[:, : 2 * self.rows] * self.twiddle[0] + both[:, 2 * self.rows :] * self.twiddle[1]
        y = (
            y[:, : self.rows] @ self.outer[: self.columns] + y[:, self.rows :] @ self.outer[self.columns :]
        )  # (batch, k1, parts·k2)
        if self.parts_out == 1:
            return y.transpose(1, 2).reshape(-1, self.asked * self.rows)[:, : self.wanted]
        y = y.reshape(-1, self.rows, self.parts_out, self.asked).permute(0, 2, 3, 1)
        return y.reshape(-1, self.parts_out, self.asked * self.rows)[:, :, : self.wanted]


def spectrum_of(samples: int, given: int | None = None) -> Fourier:
    """(batch, given) real → (batch, 2, bins): `numpy.fft.rfft`."""
    return Fourier(samples, given or samples, samples // 2 + 1, parts_out=2)


def signal_of(samples: int, wanted: int, *, parts_in: int = 2) -> Fourier:
    """(batch, parts_in, bins) → (batch, wanted) real: the beginning of `numpy.fft.irfft`."""
    weight = bin_weights(samples) / samples
    return Fourier(samples, samples // 2 + 1, wanted, sign=1, parts_in=parts_in, weight=weight)
