"""Resynth: a new sound from the edited spectrum, its phases rebuilt as it is played."""
