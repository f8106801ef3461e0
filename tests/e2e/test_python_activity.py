"""`flowy.activity` in a container: one file, mounted into an image that knows nothing of us."""

import hashlib
import time
from pathlib import Path

import pytest

from flowy import activity
from tests.cluster import cluster, example_images
from tests.e2e.kube import Kube, events, result
from tests.e2e.manifests import workflow
from tests.e2e.operator import OperatorProcess

IMAGE = "flowy.local/examples/add-python:1"
MIB = 1024 * 1024

SOURCE = """
import hashlib

def w(t):
    def run():
        value = t()
        return [len(value), hashlib.sha256(value.encode()).hexdigest()]
    return run
"""
PROGRAM = f"""
import os, time
from flowy_activity import heartbeat, main

def longest():
    while not os.path.exists("/seen/go"):
        heartbeat("waiting")
        time.sleep(0.2)
    open("/seen/gone", "w").close()
    return "x" * ({MIB} - 2)

main(longest)
"""


@pytest.mark.timeout(200)
def test_an_upload_goes_through_though_the_operator_is_killed(
    kube: Kube, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The result is ready while nobody is there to take it; the program tries again, the attempt is the same."""
    if cluster.external_kubeconfig() is not None:
        pytest.skip("the image is on the embedded cluster")
    example_images.build_all()
    tmp_path.chmod(0o777)
    kube.run(
        "create",
        "configmap",
        "program",
        f"--from-file=flowy_activity.py={activity.__file__}",
        f"--from-literal=go.py={PROGRAM}",
    )
    folders = {
        "volumes": [
            {"name": "program", "configMap": {"name": "program"}},
            {"name": "seen", "hostPath": {"path": str(tmp_path)}},
        ],
        "containers": [
            {
                "name": "main",
                "volumeMounts": [{"name": "program", "mountPath": "/program"}, {"name": "seen", "mountPath": "/seen"}],
            }
        ],
    }
    task = {
        "name": "t",
        "activity": {"image": IMAGE, "command": ["python3", "/program/go.py"], "template": {"spec": folders}},
        "timeouts": {"heartbeatSeconds": 10},
        "retry": {"maxAttempts": 1},
    }
    kube.apply(workflow("upload", SOURCE, [task]))
    kube.wait_until("workflow", "upload", lambda body: bool(events(body, "TaskScheduled")))
    kube.run(
        "wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", "flowy.dev/workflow=upload", "--timeout=60s"
    )
    time.sleep(2)
    operator.kill()
    (tmp_path / "go").touch()
    deadline = time.monotonic() + 30
    while not (tmp_path / "gone").exists():
        assert time.monotonic() < deadline, "the activity doesn't see the file"
        time.sleep(0.1)
    time.sleep(3)
    operator.start()
    body = kube.wait_end("upload")
    assert result(body) == [MIB - 2, hashlib.sha256(b"x" * (MIB - 2)).hexdigest()]
    (completed,) = events(body, "TaskCompleted")
    assert completed["resultRef"]["bytes"] == MIB
    assert [event["type"] for event in body["status"]["history"]] == ["TaskScheduled", "TaskCompleted"]
