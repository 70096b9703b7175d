"""How well the pitch tracker hears, other trackers beside it."""
