"""Signals: every (inp, out) pair scored, from weights or from data."""
