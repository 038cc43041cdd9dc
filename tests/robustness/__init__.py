"""Valid puzzles of every odd kind: each ends in time, without a traceback, and what is reported of it is true.

``make test`` makes 200 of them, ``make odd-puzzles`` 2,000 others (``ARGS='--count N --first-seed S'``).
"""
