"""Values that are too long to stand in the history or in a Job: references to them.

A value is JSON text. Up to `INLINE_BYTES` it stands in its event. Above, it is the content of a ConfigMap that the Workflow
owns, and the event has a reference: name, digest and size, so that what was recorded can't become something else unnoticed.
"""

import hashlib
from dataclasses import dataclass

INLINE_BYTES = 4096
"""Longest result that stands in its event: as much as the result file holds, so that small results cost no object."""

CONTENT = "value"  # the key of the text in its ConfigMap


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRef:
    """A value in a ConfigMap of the Workflow's namespace. `digest` is SHA-256 in hex, as `sha256sum` tells it."""

    name: str
    digest: str
    bytes: int


def reference(name: str, text: str) -> ValueRef:
    """The reference to this text under this name."""
    content = text.encode()
    return ValueRef(name=name, digest=hashlib.sha256(content).hexdigest(), bytes=len(content))


def input_name(job: str) -> str:
    """The ConfigMap of a Job's arguments. The Job's own name is that of its result's."""
    return f"{job}-input"
