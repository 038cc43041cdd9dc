"""A fleet under a steady stream of runs for as long as one likes, with a random fault every minute: ``make soak``."""
