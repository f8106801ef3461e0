"""The examples, applied as their READMEs say."""

from pathlib import Path

import pytest

from tests.cluster import cluster, example_images
from tests.e2e.kube import Kube, condition, events, result
from tests.examples import probe

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module", autouse=True)
def _images(kubeconfig: Path) -> None:
    if cluster.external_kubeconfig() is None:
        example_images.build_all()


def test_hello(served: Kube) -> None:
    served.run("apply", "-f", str(EXAMPLES / "hello" / "workflow.yaml"))
    assert result(served.wait_end("hello")) == "Hello, World!"


def test_album(served: Kube) -> None:
    """The end of the tutorial."""
    served.run("apply", "-f", str(EXAMPLES / "album" / "workflow.yaml"))
    photos = [f"beach-{n}.jpg at 800 px" for n in (1, 2, 3)]
    assert result(served.wait_end("album")) == {"title": "beach", "photos": photos}


def test_heartbeat(served: Kube) -> None:
    served.run("apply", "-f", str(EXAMPLES / "heartbeat" / "workflow.yaml"))
    body = served.wait_end("heartbeat")
    assert result(body) == {"frames": 12, "first": 8, "attempt": 2}
    (timed_out,) = events(body, "TaskTimedOut")
    assert (timed_out["timer"], timed_out["progress"]) == ("Heartbeat", "7")


def test_squares_run_beside_each_other(served: Kube) -> None:
    served.run("apply", "-f", str(EXAMPLES / "squares" / "workflow.yaml"))
    body = served.wait_end("squares")
    assert result(body) == 25
    first, second, third = events(body, "TaskScheduled")
    assert {first["task"], second["task"]} == {"square_in_shell-0", "square_in_go-0"}
    assert first["time"] == second["time"]
    assert third["task"] == "add-0"


def test_definition(served: Kube) -> None:
    served.run("apply", "-f", str(EXAMPLES / "definition"))
    assert result(served.wait_end("invoice-4711")) == {"country": "de", "taxes": [19, 47, 9], "tax": 75}
    assert result(served.wait_end("invoice-4712"))["tax"] == 20
    served.run("delete", "-f", str(EXAMPLES / "definition"))


def test_saga_is_stopped_and_undoes_what_it_did(served: Kube) -> None:
    served.run("apply", "-f", str(EXAMPLES / "saga" / "workflow.yaml"))
    served.wait_until("workflow", "saga", lambda body: len(events(body, "TaskScheduled")) == 2)
    served.run("patch", "workflow", "saga", "--type=merge", "-p", '{"spec": {"stop": "Cancel"}}')
    body = served.wait_end("saga")
    assert condition(body, "Succeeded")[:2] == ("False", "Cancelled")
    assert [event["task"] for event in events(body, "TaskCancelled")] == ["book-1"]
    log = served.run("logs", "-l", "flowy.dev/workflow=saga,flowy.dev/task=cancel-0").stdout
    assert log == "cancelled flight-4711\n"


@pytest.mark.timeout(300)
def test_video(served: Kube, tmp_path: Path) -> None:
    video = EXAMPLES / "video"
    served.run("apply", "-f", str(video / "storage.yaml"), "-f", str(video / "shelf.yaml"))
    served.run("wait", "--for=condition=Ready", "--timeout=90s", "pod/shelf")
    served.run("apply", "-f", str(video / "workflow.yaml"))
    outcome = result(served.wait_end("tour", 240))
    # As the example's README copies the files out: by a pod, since the volume may be anywhere.
    served.run("cp", "shelf:/media/tour", str(tmp_path / "tour"))
    probe.outputs(tmp_path, outcome, seconds=20, chapters=4)
    assert {ad["ad"].partition(":")[0].partition(",")[0] for ad in outcome["ads"]} == {
        "Two Beans",
        "Spoke & Daughter",
        "Hotel Miramar",
        "Olive oil straight from the mill",
    }
    served.run("delete", "pod", "shelf", "--wait=false")
