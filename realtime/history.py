"""The newest samples of every channel, contiguous in memory."""

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

    def append(self, block: np.ndarray, width: int = 0) -> np.ndarray:  # audio thread
        """Take in `block`, (channels, n), n ≤ most.

        width : samples of the view, up to `keep + most`; 0 means `keep + n`

        Returns
        -------
        ndarray, (channels, width), a view: `keep` older samples, then the block, then (finite) leftovers
        """
        n = block.shape[1]
        width = width or self.keep + n
        start = self._end - self.keep
        if start + max(width, self.keep + n) > self._buffer.shape[1]:
            self._buffer[:, : self.keep] = self._buffer[:, start : self._end]
            start, self._end = 0, self.keep
        self._buffer[:, self._end : self._end + n] = block
        self._end += n
        return self._buffer[:, start : start + width]
