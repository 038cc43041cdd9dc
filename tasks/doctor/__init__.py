"""Health checks of a fleet."""
