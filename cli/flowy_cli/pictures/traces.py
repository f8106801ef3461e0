"""Whether a text is the trace of a local run, as `LocalWorkflow.trace` has it: then nothing needs to be replayed."""

import json
from collections.abc import Mapping
from typing import Any

_FIELDS = ("workflow", "outcome", "startTime", "completionTime", "history", "runs")


def trace_in(text: str) -> Mapping[str, Any] | None:
    """The trace that a text is the JSON of; None if it is something else, such as Kubernetes objects."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if all(name in found for name in _FIELDS) else None
