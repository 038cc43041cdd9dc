"""Faults, done for real to real brokers, databases and workers."""
