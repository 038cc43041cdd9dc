"""Faults, done for real to real brokers, databases and workers; ``python -m tests.faults`` does them at full length.

At every run of the tests `test_server_faults` and `test_worker_faults` do all of them small. Integration tests hold
parts of them:

==================== ==================================================================================================
service-restarted    worker/test_workers.py: a refinement goes on elsewhere when its worker is stopped
pool-down-at-start   commands/test_solve_pool.py: a pool that cannot be reached gets its winners later, stored once;
                     pool/test_pool_connections.py: sixteen processes and a server that goes and comes
password-changed     pool/test_pool_server.py: a wrong password says so without it; the password shows nowhere
runs-at-once,        pool/test_pool.py: of twenty insertions at once one makes a row;
comparisons-at-once  pool/test_spool.py: flushing at once stores each once
spool-full           commands/test_solve_pool.py: a winner that can be neither stored nor kept ends with 3;
                     pool/test_spool.py: a folder that cannot be used says so
deadline-jumped      worker/test_workers.py: the sweeper brings every run to an end
==================== ==================================================================================================
"""
