"""helm for tests: the chart rendered, and a release on the cluster."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import build

CHART = Path(__file__).parents[2] / "charts" / "flowy"
RELEASE, NAMESPACE = "flowy", "flowy-system"

Object = Mapping[str, Any]


def helm(*words: str | Path, kubeconfig: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """helm with these words. AssertionError with its own words if it fails."""
    told = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {"KUBECONFIG": os.devnull}
    done = subprocess.run(
        [str(build.helm()), *map(str, words)], capture_output=True, text=True, check=False, env=os.environ | told
    )
    assert not check or done.returncode == 0, f"helm {' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done


def template(*words: str | Path, chart: Path = CHART) -> list[Object]:
    """The objects that a release would have."""
    return objects(helm("template", RELEASE, chart, f"--namespace={NAMESPACE}", "--include-crds", *words).stdout)


def objects(text: str) -> list[Object]:
    return [found for found in yaml.safe_load_all(text) if found]


def of_kind(rendered: Sequence[Object], *kinds: str) -> list[Object]:
    return [found for found in rendered if found["kind"] in kinds]


def only(rendered: Sequence[Object], kind: str) -> Object:
    (found,) = (one for one in of_kind(rendered, kind) if "helm.sh/hook" not in one["metadata"].get("annotations", {}))
    return found


@dataclass(frozen=True, slots=True)
class Release:
    """One release in one namespace of a cluster."""

    kubeconfig: Path
    namespace: str
    name: str = RELEASE

    def run(self, verb: str, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        named = (verb, self.name, *words, f"--namespace={self.namespace}")
        return helm(*named, kubeconfig=self.kubeconfig, check=check)
