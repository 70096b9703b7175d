"""The papers' tables on public data."""
