"""For models that answer some hops late: the sound and its frames, held back until the answer about them comes."""

from __future__ import annotations

import numpy as np

from realtime.dsp.history import History
from realtime.dsp.spectrum import FrameAnalyser


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


class FrameDelay:
    """What the filter must know of the frame of `hops` hops ago.

    log_amplitude, amplitude : (bins,);  sounding : bool; as `FrameAnalyser` had them then, and as after its reset
        before the start
    """

    def __init__(self, frame: FrameAnalyser, hops: int) -> None:
        self._frame, self._hops = frame, hops
        self.log_amplitude, self.amplitude, self.sounding = frame.log_amplitude, frame.amplitude, False
        self._log_amplitudes, self._amplitudes = (
            np.empty((hops + 1, len(part)), part.dtype) for part in (frame.log_amplitude, frame.amplitude)
        )
        self._sounding = np.zeros(hops + 1, bool)
        self.reset()

    def reset(self) -> None:
        """After the analyser's own reset."""
        self._newest, self.sounding = 0, False
        self._log_amplitudes[:] = self._frame.log_amplitude
        self._amplitudes[:] = self._frame.amplitude
        self._sounding[:] = False
        if self._hops:
            self._point()

    def push(self) -> None:  # audio thread
        """Take what the analyser has now."""
        if not self._hops:  # its arrays are the very ones
            self.sounding = self._frame.sounding
            return
        self._newest = (self._newest + 1) % (self._hops + 1)
        np.copyto(self._log_amplitudes[self._newest], self._frame.log_amplitude)
        np.copyto(self._amplitudes[self._newest], self._frame.amplitude)
        self._sounding[self._newest] = self._frame.sounding
        self._point()

    def _point(self) -> None:  # audio thread
        oldest = (self._newest + 1) % (self._hops + 1)
        self.log_amplitude = self._log_amplitudes[oldest]
        self.amplitude = self._amplitudes[oldest]
        self.sounding = bool(self._sounding[oldest])
