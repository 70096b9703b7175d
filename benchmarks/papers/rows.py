"""The rows of the papers' tables: which recipe, and what is changed in it."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from training.data.build.gm import PERCUSSION
from training.train import recipe

# Acoustic instruments of General MIDI, as many as the RWC database has and some more.
PROGRAMS = "0,1,3,6,7,8,9,11-16,19-28,32,33,35,40-49,52,53,56-61,64-75,77,79,104,105,107-111"
VELOCITIES = "30,50,70,90,110"
SAMPLE_RATE = 22050
PHRASES = 30  # per program


@dataclass(frozen=True)
class Row:
    """One model to train.

    system : "s1", "s2" or "s3", the table it belongs to
    options : added to the recipe on the command line
    phrases : whether glides, legato and rests are among its training sounds
    """

    name: str
    system: str
    recipe: str
    options: tuple[str, ...] = ()
    phrases: bool = False


def _with_percussion() -> str:
    programs = yaml.safe_load(recipe("tanaka2022-small").read_text(encoding="utf-8"))["data"]["programs"]
    return f"--data.programs={[*programs, PERCUSSION]}"


def rows() -> tuple[Row, ...]:
    """All of them, those that matter most first."""
    two = {
        "variation-pitch": "--model.model.factors=[variation,pitch]",
        "timbre-pitch": "--model.model.factors=[timbre,pitch]",
    }
    conditional, centred = "--model.model.pitch_encoder=conditional", "--model.model.centred_variation=true"
    s1: list[Row] = []
    for data, more in (("pitched", ()), ("percussive", (_with_percussion(),))):
        s1 += [Row(f"s1-three-{data}", "s1", "tanaka2022-small", more)]
        s1 += [Row(f"s1-{name}-{data}", "s1", "tanaka2022-small", (option, *more)) for name, option in two.items()]
        s1 += [Row(f"s1-conditional-{data}", "s1", "tanaka2022-small", (conditional, *more))]
    return (
        *s1,
        Row("s1-centred-pitched", "s1", "tanaka2022-small", (centred,)),
        Row("s1-three-phrases", "s1", "tanaka2022-small", (), phrases=True),
        Row("s2-vanilla", "s2", "tanaka2021-small", ("--model.alpha=0", "--model.beta=0")),
        Row("s2-metric", "s2", "tanaka2021-small"),
        Row("s3-all-labels", "s3", "luo2019-small"),
        Row("s3-quarter-of-labels", "s3", "luo2019-small", ("--model.label_portion=0.25",)),
    )
