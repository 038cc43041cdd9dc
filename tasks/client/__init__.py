"""What callers use."""
