"""Faults, done for real to real brokers, databases and workers; ``python -m tests.faults`` does them at full length.

At every run of the tests `test_faults` does all of them small. Other tests hold parts of them:

==================== ==================================================================================================
service-restarted    integration/test_workers.py: a refinement goes on elsewhere when its worker is stopped
pool-down-at-start   integration/test_solve_pool.py: a pool that cannot be reached gets its winners later, stored once;
                     integration/test_pool_connections.py: sixteen processes and a server that goes and comes
password-changed     integration/test_pool_server.py: a wrong password says so without it; the password shows nowhere
runs-at-once,        integration/test_pool.py: of twenty insertions at once one makes a row;
comparisons-at-once  integration/test_spool.py: flushing at once stores each once
spool-full           integration/test_solve_pool.py: a winner that can be neither stored nor kept ends with 3;
                     integration/test_spool.py: a folder that cannot be used says so
deadline-jumped      integration/test_workers.py: the sweeper brings every run to an end
==================== ==================================================================================================
"""
