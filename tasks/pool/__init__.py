"""The solution pool: the only room with SQL."""
