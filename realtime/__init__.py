"""The runtime: sound in, timbre-edited sound out. Never imports torch.

The rooms, each of which may use those before it:

bundle       the model on disk: the contract with `export`
knobs, dsp   what can be turned; signal processing on arrays
outputs      the ways out to sound: morph, resynth, and the mixer between them
hop          the model and its edits, once per hop
session      blocks of any size in and out; render plays whole sounds; instrument is the library
files        sound files
devices      sound devices (uses no other room)
controls     desk, timbres, snapshots, MIDI, knob maps, OSC
cli          options, set-up, files played from the command line
live         the control process, the audio process, and what they share; run puts them together
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime.instrument import Instrument

__all__ = ["Instrument"]


def __getattr__(name: str) -> type[Instrument]:
    """`from realtime import Instrument`, loaded when it is asked for: parts that need no model start without it."""
    if name == "Instrument":
        from realtime.instrument import Instrument

        return Instrument
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
