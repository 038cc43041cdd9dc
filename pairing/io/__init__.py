"""Reading and writing pieces, tables and packed puzzles; nothing from outside is trusted."""
