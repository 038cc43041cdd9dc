"""A run as pictures and files."""
