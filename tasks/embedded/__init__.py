"""A whole fleet for one command."""
