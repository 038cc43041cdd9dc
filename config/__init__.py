"""Settings and deployment files of the fleet."""
