"""The services on booted hosts; ``python -m tests.hosts`` does all of it (as root, on Debian).

At every run of the tests ``integration/test_services.py``, ``test_service_units.py`` and
``test_service_restrictions.py`` hold what can be held without a booted host.
"""
