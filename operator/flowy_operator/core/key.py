"""The name of a Workflow: all that the work queue carries."""

from typing import NamedTuple

OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
"""What the API server takes as the name of an object, but for its length (RFC 1123, subdomains)."""


class Key(NamedTuple):
    """Where a Workflow is. It says nothing of what happened to it: the reconcile compares what is with what should be."""

    namespace: str
    name: str
