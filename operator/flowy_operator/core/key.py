"""The name of a Workflow: all that the work queue carries."""

from typing import NamedTuple


class Key(NamedTuple):
    """Where a Workflow is. It says nothing of what happened to it: the reconcile compares what is with what should be."""

    namespace: str
    name: str
