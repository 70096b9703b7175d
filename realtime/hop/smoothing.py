"""The knobs as they stand: smoothed, in range, arrived exactly; and latents that are held."""

from __future__ import annotations

import math

import numpy as np

from realtime.bundle import Manifest
from realtime.knobs.targets import SMOOTHING_SECONDS, TIMBRE_SECONDS, targets_of

SNAP = 1e-4  # closer than this to its target, a knob is there
CORNERS = ("preset", "preset_b", "preset_c", "preset_d")


def glide_rate(hop_seconds: float, seconds: float = SMOOTHING_SECONDS) -> float:
    """Share of what is left of the way that is gone in a hop.  seconds : time constant"""
    return 1 - math.exp(-hop_seconds / seconds)


def timbre_rate(hop_seconds: float, seconds: float = TIMBRE_SECONDS) -> float:  # audio thread
    """Least share of the newest frame in the running timbre.  seconds : its time constant"""
    return min(1.0, hop_seconds / seconds)


class ParameterSmoother:
    """The knobs as they stand after smoothing, one call of `follow` per hop.

    value : (targets,), smoothed;  target : (targets,), where they go;  share : four, of each corner's preset, smoothed
    """

    def __init__(self, manifest: Manifest) -> None:
        targets = targets_of(manifest)
        self.index = {target.name: i for i, target in enumerate(targets)}
        self._low, self._high = [target.low for target in targets], [target.high for target in targets]
        self._default = np.array([target.default for target in targets])
        self._hop_seconds = manifest.features.hop_seconds
        self.rate = glide_rate(self._hop_seconds)
        self.target, self.value, self._smoothing, self._rates, self._seen = (np.zeros(len(targets)) for _ in range(5))
        self._changed = np.empty(len(targets), bool)
        self._moving: set[int] = set()  # those that have not arrived
        self._amount = self.index["preset_amount"]
        self._corners = [self.index[name] for name in CORNERS]
        self.share, self.chosen = [0.0] * 4, [0] * 4
        self.from_nothing = [True] * 4
        self.reset()

    def reset(self) -> None:
        """The next `follow` takes the knobs as they stand, without gliding there."""
        self.target[:] = self._default
        self.value[:] = self._default
        self._seen[:] = self._default
        self._smoothing[:] = math.nan
        self._moving.clear()
        self.share[:] = [0.0] * 4
        self.chosen[:] = [0] * 4  # the last preset of each corner is still there to fade out of
        self.from_nothing[:] = [True] * 4
        self.started = self._faded = False

    def follow(self, values: np.ndarray, smoothing: np.ndarray) -> bool:  # audio thread
        """values, smoothing : (targets,), the knob bank's; what is not a number leaves its knob where it is.  False if
        nothing moved.
        """
        if np.not_equal(smoothing, self._smoothing, out=self._changed).any():
            self._rate(smoothing)
        np.not_equal(values, self._seen, out=self._changed)
        if self._changed.any():
            self._aim(values)
        if self.started and self._faded and not self._moving:
            return False
        for i in tuple(self._moving):  # allocates: one place for each knob that moves
            self._glide(i)
        self._fade()
        self.started = True
        return True

    def _aim(self, values: np.ndarray) -> None:  # audio thread
        """Where the knobs that changed are to go."""
        for i in np.flatnonzero(self._changed).tolist():  # allocates: one place for each knob that was turned
            wanted = float(values[i])
            if not math.isnan(wanted):
                self._seen[i] = wanted
                self.target[i] = min(max(wanted, self._low[i]), self._high[i])
                self._moving.add(i)
                self._faded = False

    def _glide(self, i: int) -> None:  # audio thread
        target, value = float(self.target[i]), float(self.value[i])
        value += (target - value) * (float(self._rates[i]) if self.started else 1.0)
        if abs(target - value) <= SNAP:
            value = target
            self._moving.discard(i)
        self.value[i] = value

    def _fade(self) -> None:  # audio thread
        """Each corner's preset in or out."""
        rate = float(self._rates[self._amount]) if self.started else 1.0
        amount, self._faded = float(self.target[self._amount]), True
        for corner, index in enumerate(self._corners):
            chosen = round(float(self.target[index]))
            wanted, share = amount if chosen else 0.0, self.share[corner]
            self.chosen[corner] = chosen or self.chosen[corner]
            self.from_nothing[corner] = share == 0.0
            share += rate * (wanted - share)
            self.share[corner] = share = wanted if abs(wanted - share) <= SNAP else share
            if share != wanted or self.from_nothing[corner] != (wanted == 0.0):
                self._faded = False

    def _rate(self, smoothing: np.ndarray) -> None:  # audio thread
        """Share of the way that each value goes in a hop."""
        np.copyto(self._smoothing, smoothing)
        np.clip(smoothing, 1e-9, 60.0, out=self._rates)
        np.divide(-self._hop_seconds, self._rates, out=self._rates)
        np.subtract(1.0, np.exp(self._rates, out=self._rates), out=self._rates)
        np.copyto(self._rates, self.rate, where=~np.isfinite(smoothing))


class LatentHold:
    """A latent as it was when a switch was turned on; fades in and out.

    held : (dimensions,);  share : 0 … 1, smoothed
    """

    def __init__(self, dimensions: int, rate: float) -> None:
        self.held = np.zeros(dimensions)
        self._rate = rate
        self.reset()

    def reset(self) -> None:
        self.held[:] = 0.0
        self.share, self.on = 0.0, False

    def follow(self, on: bool, latent: np.ndarray, started: bool) -> None:  # audio thread
        """latent : (dimensions,), as heard now"""
        if on and not self.on:
            np.copyto(self.held, latent)
        self.on = on
        wanted = 1.0 if on else 0.0
        if self.share == wanted:
            return
        self.share += (self._rate if started else 1.0) * (wanted - self.share)
        self.share = wanted if abs(wanted - self.share) <= SNAP else self.share

    @property
    def arrived(self) -> bool:
        """Whether it neither fades in nor out."""
        return self.share == (1.0 if self.on else 0.0)

    def draw(self, latent: np.ndarray, work: np.ndarray) -> None:  # audio thread
        """latent : (dimensions,), changed in place"""
        if self.share == 1.0:
            np.copyto(latent, self.held)
        elif self.share > 0.0:
            np.subtract(self.held, latent, out=work)
            work *= self.share
            latent += work
