"""Our pages beside Flower's: runs, the solution pool, the fleet."""
