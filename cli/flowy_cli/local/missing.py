"""What of a manifest is left out here: parts of pods that only a cluster has. Said before the run, so that nothing is missed silently."""

from collections.abc import Iterator
from typing import Any

from flowy_operator.core.job import MAIN
from flowy_operator.core.merge import lay_over
from flowy_operator.core.spec import WorkflowSpec

_PARTS = {"volumes": "volumes", "initContainers": "init containers"}


def left_out(spec: WorkflowSpec) -> Iterator[str]:
    """A sentence for each task of which something is left out."""
    for name, task in spec.tasks.items():
        if task.activity is None:
            continue
        pod: dict[str, Any] = lay_over(spec.default_template, task.activity.template).get("spec") or {}
        parts = [words for field, words in _PARTS.items() if pod.get(field)]
        others = [c.get("name") for c in pod.get("containers") or () if c.get("name") != MAIN]
        parts += [f"the container {other}" for other in others]
        if parts:
            yield f"{name} runs without {', '.join(parts)}: a cluster has them, this machine doesn't"
