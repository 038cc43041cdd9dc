"""Faults, done for real to real brokers, databases and workers; ``python -m tests.faults`` does them at full length.

At every run of the tests `test_server_faults` and `test_worker_faults` do most of them small. Tests of one part hold
the others, and parts of those:

==================== ==================================================================================================
broker-full,         store/test_unready_broker.py: trouble of the broker is waited for; what follows a task is
broker-unready,      published when a full server takes it; a black hole takes as long as one is patient
broker-paused
service-restarted    worker/test_workers.py: a refinement goes on elsewhere when its worker is stopped
pool-down-at-start   commands/test_solve_pool.py: a pool that cannot be reached gets its winners later, stored once;
                     pool/test_pool_connections.py: many processes and a server that goes and comes
password-changed     pool/test_pool_server.py: a wrong password says so without it; the password shows nowhere
cache-full           unit/puzzles/test_bundles.py: a cache that cannot be written is said
runs-at-once,        pool/test_pool.py: of twenty insertions at once one makes a row;
comparisons-at-once  pool/test_spool.py: flushing at once stores each once
spool-full           commands/test_solve_pool.py: a winner that can be neither stored nor kept ends with 3;
                     pool/test_spool.py: a folder that cannot be used says so
clock-jumps,         unit/runs/test_attempts.py: a clock that jumps beyond the deadline ends it with what there is;
deadline-jumped      worker/test_workers.py: the sweeper brings every run to an end
==================== ==================================================================================================
"""
