"""Workflow manifests for tests, from as little as each needs."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BUSYBOX = "docker.io/library/busybox:1"

CHAIN = """
def chain(step):
    def run(n):
        value = 0
        for _ in range(n):
            value = step(value)
        return value
    return run
"""


def workflow(
    name: str,
    source: str,
    tasks: Sequence[Mapping[str, Any]],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A Workflow of this source and these tasks; further fields of the spec by their name."""
    return {
        "apiVersion": "flowy.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {
            "code": {"source": textwrap.dedent(source)},
            "input": {"args": list(args), "kwargs": dict(kwargs or {})},
            "tasks": list(tasks),
            **spec,
        },
    }


def shell(name: str, script: str, *args: str, **task: Any) -> dict[str, Any]:
    """A task that runs a shell script; `args` are its $1, $2 … and may hold $(FLOWY_ARG_n)."""
    activity = {"image": BUSYBOX, "command": ["sh", "-c", script, name, *args]}
    # A pod that is told to stop takes its grace period: a shell as process 1 ignores SIGTERM.
    template = {"spec": {"terminationGracePeriodSeconds": 1}}
    return {"name": name, "activity": {**activity, "template": template, **task.pop("activity", {})}, **task}


def mount_folder(task: dict[str, Any], folder: Path, at: str) -> None:
    """Have a task of `shell` see a folder of the node, which is this machine. Anybody must be able to write there."""
    task["activity"]["template"]["spec"] |= {
        "volumes": [{"name": "folder", "hostPath": {"path": str(folder)}}],
        "containers": [{"name": "main", "volumeMounts": [{"name": "folder", "mountPath": at}]}],
    }
