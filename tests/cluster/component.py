"""What a component of the cluster is: a process, how to tell that it works, and when it must be started anew."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.cluster.errors import ClusterError


class Limits(StrEnum):
    """How many calls Kubernetes' own parts may make a second."""

    RAISED = "raised"  # so that the operator is measured and not the Job controller's 20 calls a second
    DEFAULT = "default"  # as on a cluster that nobody tuned

    @classmethod
    def chosen(cls) -> "Limits":
        value = os.environ.get("FLOWY_CLUSTER_LIMITS", cls.RAISED)
        try:
            return cls(value)
        except ValueError:
            raise ClusterError(f"FLOWY_CLUSTER_LIMITS is {value!r}; it may be 'raised' or 'default'") from None


@dataclass(frozen=True, slots=True)
class Component:
    """A process. `ready` is the URL that answers 200 when it works, or the path of a socket that takes connections."""

    name: str
    argv: tuple[str, ...]
    ready: str
    ports: tuple[tuple[str, int], ...] = ()
    files: Mapping[Path, str] = field(default_factory=dict)
    grace_s: float = 5.0

    @property
    def fingerprint(self) -> str:
        """Changes with anything that asks for a restart."""
        files = {str(path): text for path, text in self.files.items()}
        return hashlib.sha256(json.dumps([self.argv, files], sort_keys=True).encode()).hexdigest()[:16]
