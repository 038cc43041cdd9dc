"""Every case, in the order in which they are run."""

from tests.benchmarks import (
    candidates,
    command,
    data_alone,
    engine,
    growth,
    overhead,
    parallel,
    pool,
    repair,
    rows,
    signals,
    trained,
)

CASES = (
    *engine.CASES,
    *candidates.CASES,
    *command.CASES,
    *parallel.CASES,
    *overhead.CASES,
    *trained.CASES,
    *signals.CASES,
    *growth.CASES,
    *repair.CASES,
    *data_alone.CASES,
    *rows.CASES,
    *pool.CASES,
)
