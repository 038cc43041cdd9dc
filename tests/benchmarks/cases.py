"""Every case, in the order in which they are run."""

from tests.benchmarks import command, engine, growth, parallel, repair, trained

CASES = (*engine.CASES, *command.CASES, *parallel.CASES, *trained.CASES, *growth.CASES, *repair.CASES)
