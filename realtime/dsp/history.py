"""The newest samples of every channel, contiguous in memory, and a delay made of them."""

from __future__ import annotations

import numpy as np


class History:
    """Keeps the last `keep` samples before each appended block. They are moved only now and then, not at every call.

    Parameters
    ----------
    channels : int
    keep : int, samples
    most : int, samples, the largest block
    """

    def __init__(self, channels: int, keep: int, most: int) -> None:
        self.keep = keep
        self._buffer = np.zeros((channels, keep + 8 * max(keep, most)))
        self._end = keep

    def reset(self) -> None:
        self._buffer[:] = 0.0
        self._end = self.keep

    def newest(self) -> np.ndarray:  # audio thread
        """(channels, keep), a view: the samples taken in last."""
        return self._buffer[:, self._end - self.keep : self._end]

    def append(self, block: np.ndarray) -> np.ndarray:  # audio thread
        """Take in `block`, (channels, n), n ≤ most.

        Returns
        -------
        ndarray, (channels, keep + n), a view: `keep` older samples, then the block
        """
        n = block.shape[1]
        start = self._end - self.keep
        if start + self.keep + n > self._buffer.shape[1]:
            self._buffer[:, : self.keep] = self._buffer[:, start : self._end]
            start, self._end = 0, self.keep
        self._buffer[:, self._end : self._end + n] = block
        self._end += n
        return self._buffer[:, start : start + self.keep + n]


class SampleDelay:
    """Every channel, `samples` later. None at all passes the very block on."""

    def __init__(self, channels: int, samples: int, most: int) -> None:
        self._samples = samples
        self._history = History(channels, samples, most) if samples else None

    def reset(self) -> None:
        if self._history:
            self._history.reset()

    def process(self, block: np.ndarray) -> np.ndarray:  # audio thread
        """block : (channels, n).  Returns (channels, n), a view overwritten by later calls, or `block` itself."""
        return self._history.append(block)[:, : block.shape[1]] if self._history else block
