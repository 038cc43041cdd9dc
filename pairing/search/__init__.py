"""From a pairing to the block order: surrogate model, moves, policy, driver."""
