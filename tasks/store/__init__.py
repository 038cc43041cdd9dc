"""Run state in Redis, by key."""
