"""The moves that the search makes."""
