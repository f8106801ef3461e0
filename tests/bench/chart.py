"""Flowy as its chart installs it: how long it takes to render, until its pods are ready, and what they hold while nothing happens."""

import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, figure
from tests.chart.helm import template
from tests.cluster import build, flowy_images
from tests.e2e.installed import OPERATORS, Installed

RUNS = 7
SETTLED_S = 30
"""After so long at rest what the start took is given back, and what is waited for every two seconds is in it."""
MIB = 1024 * 1024


def figures(kubeconfig: Path) -> list[Figure]:
    """The CRDs must be there."""
    build.helm()
    flowy_images.build_all()
    found = [figure("chart-render-s", _render_s(), "s", "<= 1 s", _helm_s())]
    suffix = uuid.uuid4().hex[:6]
    installed = Installed(kubeconfig, f"bench-operator-{suffix}", {"bench": f"bench-served-{suffix}"})
    try:
        installed.install()
        time.sleep(SETTLED_S)
        pods = installed.kube.list("pods", OPERATORS)
        leader = installed.leader()
        found += [
            figure("pod-ready-s", max(_ready_s(pod) for pod in pods), "s", "<= 10 s"),
            figure("pod-idle-mib", installed.memory_bytes(leader) / MIB, "MiB", "<= 150 MiB with the decider"),
        ]
    finally:
        installed.remove()
    return found


def _render_s() -> float:
    return _middle_s(template)


def _helm_s() -> float:
    """helm that does nothing."""
    return _middle_s(lambda: subprocess.run([str(build.helm()), "version"], check=True, capture_output=True))


def _middle_s(act: Callable[[], object]) -> float:
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _ready_s(pod: Mapping[str, Any]) -> float:
    """From the start of its first container until it is ready. Kubernetes tells both in whole seconds."""
    (decider,) = pod["status"]["initContainerStatuses"]
    (ready,) = (one for one in pod["status"]["conditions"] if one["type"] == "Ready" and one["status"] == "True")
    began = datetime.fromisoformat(decider["state"]["running"]["startedAt"])
    return (datetime.fromisoformat(ready["lastTransitionTime"]) - began).total_seconds()
