"""Rounding a matrix to few bits in blocks of one column that share a scale, laid out for com.microsoft.MatMulNBits.

Plain rounding picks each block's scale; compensated rounding (GPTQ: Frantar 2022, arXiv:2210.17323) goes through the
rows in turn and lets the rows still to come make up for the error of those already rounded, as far as their inputs move
together in the calibration sounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

DAMPING = 0.1  # of the inputs' mean variance: what calibration sounds never showed still counts a little
LAZY_ROWS = 128  # rows whose effect on the rest is applied in one product
SHRINK = {8: (1.0,), 4: tuple(1.1 - 0.05 * i for i in range(10))}  # with 16 steps it pays to clip the largest weights


@dataclass(frozen=True)
class Rounded:
    """A matrix (rows, columns) in blocks of `block` rows.

    codes : (rows, columns), int8, −2^(bits−1) … 2^(bits−1) − 1
    scales : (blocks, columns), float32
    """

    codes: np.ndarray
    scales: np.ndarray
    bits: int
    block: int

    def matrix(self) -> np.ndarray:
        """What the product will multiply with, (rows, columns), float32."""
        return self.codes * np.repeat(self.scales, self.block, axis=0)[: len(self.codes)]

    def packed(self) -> tuple[np.ndarray, np.ndarray]:
        """MatMulNBits' inputs.

        B : (columns, blocks, bytes), uint8, the lower half byte first;  scales : (columns, blocks)
        """
        blocks, columns = self.scales.shape
        half = 1 << (self.bits - 1)
        raised = np.full((columns, blocks * self.block), half, np.uint8)  # the padding stands for zero
        raised[:, : len(self.codes)] = (self.codes.T.astype(np.int16) + half).astype(np.uint8)
        if self.bits == 4:
            raised = raised[:, 0::2] | (raised[:, 1::2] << 4)
        return raised.reshape(columns, blocks, -1), np.ascontiguousarray(self.scales.T)


def round_plain(weight: np.ndarray, bits: int, block: int) -> Rounded:
    """Round to nearest.  weight : (rows, columns)"""
    rows, columns = weight.shape
    blocks = -(-rows // block)
    padded = np.zeros((blocks * block, columns), np.float32)
    padded[:rows] = weight
    cut = padded.reshape(blocks, block, columns)
    scales = _scales(cut, bits, np.ones((1, block, 1), np.float32))
    codes = _nearest(cut, scales[:, None], bits).reshape(-1, columns)[:rows]
    return Rounded(codes, scales, bits, block)


def round_compensated(weight: np.ndarray, covariance: np.ndarray, bits: int, block: int) -> Rounded:
    """Round so that the product's error on inputs of this covariance is small.

    weight : (rows, columns);  covariance : (rows, rows) of the product's input
    """
    rows, columns = weight.shape
    rest = weight.astype(np.float32)
    inverse = _inverse_root(covariance)
    importance = (1 / np.square(np.diagonal(inverse)))[None, :, None]
    codes, scales = np.zeros((rows, columns), np.int8), np.zeros((-(-rows // block), columns), np.float32)
    step = max(block, LAZY_ROWS // block * block)
    for start in range(0, rows, step):
        end = min(start + step, rows)
        here, errors = rest[start:end], np.empty((end - start, columns), np.float32)
        for i in range(end - start):
            row = start + i
            if row % block == 0:
                part = slice(row, min(row + block, rows))
                scales[row // block] = _scales(rest[None, part], bits, importance[:, part])[0]
            scale = scales[row // block]
            codes[row] = _nearest(here[i], scale, bits)
            errors[i] = (here[i] - codes[row] * scale) / inverse[row, row]
            here[i + 1 :] -= np.outer(inverse[row, row + 1 : end], errors[i])
        rest[end:] -= inverse[start:end, end:].T @ errors
    return Rounded(codes, scales, bits, block)


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    """Upper Cholesky factor of the damped covariance's inverse, float32 (the paper's step 3)."""
    damped = covariance.astype(np.float64)
    damped[np.diag_indices(len(damped))] += DAMPING * max(float(np.trace(damped)) / len(damped), 1e-12)
    inverse, _ = linalg.lapack.dpotri(linalg.cholesky(damped, lower=False, check_finite=False), lower=False)
    return linalg.cholesky(np.triu(inverse) + np.triu(inverse, 1).T, lower=False, check_finite=False).astype(np.float32)


def _nearest(values: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    half = 1 << (bits - 1)
    return np.clip(np.rint(values / scales), -half, half - 1).astype(np.int8)


def _scales(cut: np.ndarray, bits: int, importance: np.ndarray) -> np.ndarray:
    """One scale per block: the extreme weight becomes the extreme code, which is negative, or a little less where that
    errs less.

    cut : (blocks, rows of a block, columns);  importance : of a row's squared error, (…, rows of a block, 1)
    """
    low, high = cut.min(1), cut.max(1)
    full = np.where(-low > high, -low, -high) / (1 << (bits - 1))  # negative where the extreme weight is positive
    full = np.where(full == 0, 1, full).astype(np.float32)
    best, least = full, np.full(full.shape, np.inf, np.float32)
    for share in SHRINK[bits] if len(SHRINK[bits]) > 1 else ():
        scales = full * np.float32(share)
        error = (np.square(cut - _nearest(cut, scales[:, None], bits) * scales[:, None]) * importance).sum(1)
        best, least = np.where(error < least, scales, best), np.minimum(error, least)
    return best
