"""python -m benchmarks.hop_path: through how many files of the runtime does one edited hop go?

Plays the shipped phrase through the built-in model until the knobs stand still, then lists the files of `realtime`
whose functions run during the next hop, for each way out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import numpy as np
import soundfile

from realtime.instrument import Instrument
from training.console import run_command
from training.data.options import Parser

ROOT = Path(__file__).resolve().parents[1]
PHRASE = ROOT / "benchmarks/demo/phrase.flac"
SETTLE_SECONDS = 1.0
WAYS: dict[str, dict[str, float | str]] = {
    "morph": {"preset": "Violin"},
    "resynth": {"preset": "Violin", "resynth": 1.0},
}


def files_crossed(instrument: Instrument, sound: np.ndarray, rate: int, knobs: dict[str, float | str]) -> list[str]:
    """Files of the runtime entered while one hop of sound passes, as paths from the project's root.

    sound : (frames,), float32, longer than SETTLE_SECONDS
    """
    stream = instrument.stream(rate, 1, **knobs)  # type: ignore[arg-type]
    hop = instrument.bundle.manifest.features.hop_samples
    start = round(SETTLE_SECONDS * rate) // hop * hop
    stream.process(sound[:start])
    seen: set[Path] = set()

    def enter(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(Path(frame.f_code.co_filename))

    block, out = sound[start : start + hop, None], np.empty((hop, 1), np.float32)
    sys.setprofile(enter)
    try:
        stream.session.process_block(block, out)
    finally:
        sys.setprofile(None)
    return sorted(str(path.relative_to(ROOT)) for path in seen if path.is_relative_to(ROOT / "realtime"))


def main(arguments: list[str] | None = None) -> int:
    """Prints the count and the files of each way out."""
    Parser(prog="python -m benchmarks.hop_path", description=__doc__).parse_args(arguments)
    sound, rate = soundfile.read(PHRASE, dtype="float32")
    instrument = Instrument.load(provider="cpu")
    for way, knobs in WAYS.items():
        crossed = files_crossed(instrument, sound, rate, knobs)
        print(f"{way}: {len(crossed)} files")
        print("\n".join(f"  {path}" for path in crossed))
    return 0


if __name__ == "__main__":
    run_command(main)
