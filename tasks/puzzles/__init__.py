"""Puzzles on their way to workers."""
