"""A real Kubernetes cluster on this machine, for tests; standard library only, so that it runs before any installation.

`cluster.py` is the API, `python3 -m tests.cluster` the command line, README.md the page for people.
"""
