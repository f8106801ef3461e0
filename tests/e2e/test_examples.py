"""The examples, applied as their READMEs say."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster import cluster, example_images
from tests.e2e.kube import Kube, events, result
from tests.e2e.operator import OperatorProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module", autouse=True)
def _images(kubeconfig: Path) -> None:
    if cluster.external_kubeconfig() is None:
        example_images.build_all()


def test_hello(kube: Kube, operator: OperatorProcess) -> None:
    kube.run("apply", "-f", str(EXAMPLES / "hello" / "workflow.yaml"))
    assert result(kube.wait_end("hello")) == "Hello, World!"


def test_squares_run_beside_each_other(kube: Kube, operator: OperatorProcess) -> None:
    kube.run("apply", "-f", str(EXAMPLES / "squares" / "workflow.yaml"))
    body = kube.wait_end("squares")
    assert result(body) == 25
    first, second, third = events(body, "TaskScheduled")
    assert {first["task"], second["task"]} == {"square_in_shell-0", "square_in_go-0"}
    assert first["time"] == second["time"]
    assert third["task"] == "add-0"
