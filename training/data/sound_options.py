"""Which sounds a model is trained on, how examples are cut from them, and how they are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from training.data.manifest import DataError, LabelError, SoundSet


@dataclass(frozen=True)
class SoundSelection:
    """Which sounds of a data set; None keeps all.

    Parameters
    ----------
    families, instruments : labels
    programs : General MIDI programs, from 0
    pitches : lowest and highest MIDI note, both kept; unpitched sounds are not
    held_out_instruments : numbers of instruments for validation and for test, as in `SoundSet.select`
    held_out_notes : shares of every instrument's notes for validation and for test, as there
    """

    families: tuple[str, ...] | None = None
    instruments: tuple[str, ...] | None = None
    programs: tuple[int, ...] | None = None
    pitches: tuple[float, ...] | None = None
    held_out_instruments: tuple[int, ...] | None = None
    held_out_notes: tuple[float, ...] | None = None

    def conditions(self) -> dict[str, Any]:
        """The conditions that are set."""
        return {name: value for name, value in self.as_lists().items() if value is not None}

    def as_lists(self) -> dict[str, Any]:
        """Every condition as a plain value: a list, or None."""
        return {name: None if value is None else list(value) for name, value in asdict(self).items()}

    def of(self, sounds: SoundSet) -> SoundSet:
        """The sounds that meet every condition.

        Raises
        ------
        DataError
            If a label does not occur, or no instrument is left to train on.
        """
        try:
            return sounds.select(**self.conditions())
        except LabelError as error:
            raise DataError(f"{error}; choose among these with --data.{error.option}, or null for all") from None


@dataclass(frozen=True)
class ExampleOptions:
    """How a training example is cut from a sound and changed.

    Parameters
    ----------
    segment_seconds : length of an example
    start_fraction : share of examples that begin at the onset; the others begin anywhere
    shift_semitones : range of the random pitch shift, ± (Tanaka 2022: 7)
    distort : make the distorted twins; systems that do not read them train faster without
    colour : share of examples heard in another room, through another microphone, at a moving level
        (`training.data.colour`)
    group : 1; 2: every batch is of pairs, two sounds of one instrument side by side; 4: of two such pairs, the first
        sound of each at the same pitch
    """

    segment_seconds: float = 2.0
    start_fraction: float = 1.0
    shift_semitones: int = 7
    distort: bool = True
    colour: float = 0.0
    group: int = 1


@dataclass(frozen=True)
class PhraseOptions:
    """Phrases mixed into the training examples: glides, legato, rests.

    Parameters
    ----------
    directory : a data set of phrases (`training.data.sequences`)
    share : share of the examples that are cut from phrases, 0 < share < 1
    """

    directory: str
    share: float = 0.3


@dataclass(frozen=True)
class LoadingOptions:
    """How examples are drawn and loaded.

    Parameters
    ----------
    batch_size : examples per step, over all processes together
    steps_per_epoch : None means every sound once
    validation_sounds : at most so many, spread evenly over the validation split
    workers : loading processes; 0 loads in the training process
    seed : of the draws
    """

    batch_size: int = 32
    steps_per_epoch: int | None = None
    validation_sounds: int = 512
    workers: int = 1
    seed: int = 0


def tuple_of(values: Iterable[Any] | None) -> tuple[Any, ...] | None:
    """A list from a recipe as a tuple; None stays None."""
    return None if values is None else tuple(values)
