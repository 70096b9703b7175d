"""The last stage before the loudspeaker: what is not a number becomes silence, what is too loud is turned down."""

from __future__ import annotations

import math

import numpy as np

CEILING = 1.0  # full scale: what keeps below it passes bit for bit
# Times full scale; louder samples are clipped there, so that a single wild one cannot hold the sound down for seconds.
MOST_ABOVE = 16.0
RELEASE_SECONDS = 0.1


class Limiter:
    """Applies the same gain to every channel wherever one would pass the ceiling. No lookahead, so no latency.

    The gain drops within the sample and comes back with RELEASE_SECONDS. The same whatever the blocks.

    most : largest block, samples
    """

    def __init__(self, sample_rate: float, most: int) -> None:
        self._decay = math.exp(-1 / (RELEASE_SECONDS * sample_rate))
        self._falling = self._decay ** np.arange(1, most + 1)  # from before the block to each of its samples
        self._rising = 1 / self._falling
        self._level = np.empty(most)
        self._rectified = np.empty(most)
        self.reset()

    def reset(self) -> None:
        self._envelope = 0.0  # above the ceiling while turned down, else 0

    def process(self, block: np.ndarray, peak: float) -> int:  # audio thread
        """block : (channels, n), float, finite, changed in place
        peak : its largest magnitude.  Returns the samples turned down.
        """
        if self._envelope == 0.0 and peak <= CEILING:
            return 0
        n = block.shape[1]
        level, rectified = self._level[:n], self._rectified[:n]
        level[:] = 0.0
        for channel in block:
            np.abs(channel, out=rectified)
            np.maximum(level, rectified, out=level)
        np.minimum(level, MOST_ABOVE, out=level)
        # max over the past of |x| · decay^age, as a running maximum of |x| · decay^−position
        level *= self._rising[:n]
        level[0] = max(float(level[0]), self._envelope)
        np.maximum.accumulate(level, out=level)
        level *= self._falling[:n]
        last = float(level[-1])
        self._envelope = last if last > CEILING else 0.0
        np.maximum(level, CEILING, out=level)
        turned_down = int(np.count_nonzero(level > CEILING))
        np.divide(CEILING, level, out=level)
        block *= level
        np.clip(block, -CEILING, CEILING, out=block)  # what was wild, and rounding
        return turned_down


def repair(block: np.ndarray) -> int:  # audio thread
    """Silence in place of what is not finite, in place.  Returns how many samples that were."""
    bad = block.size - int(np.count_nonzero(np.isfinite(block)))
    if bad:
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return bad
