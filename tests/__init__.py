"""Tests, benchmarks and what they share. As in the fleet, a process has one thread: more are slower at these sizes."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
