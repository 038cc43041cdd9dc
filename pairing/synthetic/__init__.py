"""Puzzles with a known solution."""
