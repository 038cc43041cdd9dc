"""The image and the compose file on a real daemon of Docker; ``python -m tests.containers`` does all of it (as root, on
Debian).

At every run of the tests `integration/test_containers.py` holds what can be held without a daemon.
"""
