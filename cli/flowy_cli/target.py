"""Which cluster and namespace a command is for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes; None is what kubectl would take."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
