"""Property tests are the same on every run and take the time they take."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pairing", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("pairing")
