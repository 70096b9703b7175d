"""nn~ without Max: what its backend does with a file (acids-ircam/nn_tilde, version 1.6, src/backend)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

BOOL, INT, FLOAT, STRING = range(4)  # types of an attribute's arguments


class HostError(Exception):
    """What the host shows in its console."""


class NnTildeHost:
    """One object in a patch: nn~ (a single voice) or mc.nn~ (a batch of them)."""

    def __init__(self, path: Path, batches: int = 1) -> None:
        self.model = torch.jit.load(str(path))
        self.model.eval()
        self.model.to(torch.device("cpu"))
        self.batches = batches
        self.methods = [str(name) for name in self.model.get_methods()]
        self.attributes = [str(name) for name in self.model.get_attributes() if name != "none"]

    def params(self, method: str) -> tuple[int, int, int, int]:
        """Inputs, their ratio, outputs, their ratio."""
        if method not in self.methods:
            raise HostError(f"no method {method}")
        inputs, in_ratio, outputs, out_ratio = (int(number) for number in getattr(self.model, f"{method}_params")[:4])
        return inputs, in_ratio, outputs, out_ratio

    def labels(self, method: str) -> tuple[list[str], list[str]]:
        return list(getattr(self.model, f"{method}_input_labels")), list(getattr(self.model, f"{method}_output_labels"))

    def smallest_buffer(self) -> int:
        """The highest ratio of any method: the host makes buffers at least so long, and a power of two."""
        return max(1, *(ratio for method in self.methods for ratio in self.params(method)[1::2]))

    def perform(self, method: str, signals: np.ndarray) -> np.ndarray:
        """signals : (inputs, batches, samples), full rate, one buffer;  returns (batches, outputs, samples)."""
        inputs, in_ratio, outputs, out_ratio = self.params(method)
        samples = signals.shape[-1]
        assert samples & (samples - 1) == 0, "the host's buffers are powers of two"
        assert samples >= self.smallest_buffer()
        whole = torch.zeros(inputs, self.batches, samples)
        # Missing inlets are silent.
        whole[: len(signals)] = torch.from_numpy(np.ascontiguousarray(signals, dtype=np.float32))
        with torch.inference_mode():
            slow = whole.reshape(inputs, self.batches, -1, in_ratio)[..., -1]  # the last value of each block counts
            answer = getattr(self.model, method)(slow.permute(1, 0, 2))
            held = answer.repeat_interleave(out_ratio).reshape(self.batches, outputs, -1)
        if held.shape[-1] != samples:
            raise HostError(f"model output size is not consistent, expected {samples} samples, got {held.shape[-1]}")
        return held.numpy().copy()

    def play(self, method: str, signals: np.ndarray, buffers: list[int]) -> np.ndarray:
        """A longer sound in buffers of these sizes, in turn and over again."""
        answers, start, turn = [], 0, 0
        while start < signals.shape[-1]:
            samples = buffers[turn % len(buffers)]
            answers.append(self.perform(method, signals[..., start : start + samples]))
            start, turn = start + samples, turn + 1
        return np.concatenate(answers, axis=-1)

    def set(self, attribute: str, *words: str) -> None:
        """`set brightness 1.5` in a message box: words become what the setter's parameters say."""
        if attribute not in self.attributes:
            raise HostError(f"no attribute {attribute}")
        types = [int(number) for number in getattr(self.model, f"{attribute}_params")]
        if len(types) != len(words):
            raise HostError(f"wrong number of elements: setter has {len(types)}, {len(words)} given")
        convert: dict[int, Callable[[str], object]] = {
            BOOL: lambda word: word not in ("0", "false"),
            INT: lambda word: int(float(word)),
            FLOAT: float,
            STRING: str,
        }
        if (
            getattr(self.model, f"set_{attribute}")(
                *(convert[kind](word) for kind, word in zip(types, words, strict=True))
            )
            != 0
        ):
            raise HostError(f"setter for {attribute} failed: setter returned -1")

    def get(self, attribute: str) -> list[float]:
        return list(getattr(self.model, f"get_{attribute}")())
