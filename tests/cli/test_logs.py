"""What containers have printed, and what they print."""

from functools import partial

import pytest

from flowy_operator.core.job import TASK_ANNOTATION
from tests.cli.shell import Server, Shell
from tests.cli.test_running import becomes
from tests.fakes.store import Json, Store


def pod_of(store: Store, workflow: str, key: str, attempt: int = 1) -> Json:
    labels = {"flowy.dev/workflow": workflow, "flowy.dev/attempt": str(attempt)}
    for pod in store.all(store.kind("pods"), "ns"):
        metadata = pod["metadata"]
        if metadata["annotations"][TASK_ANNOTATION] == key and labels.items() <= metadata["labels"].items():
            return pod
    raise AssertionError(f"no pod of {key}")


@pytest.fixture
def logged(server: Server, store: Store) -> Server:
    for key, attempt, text in (
        ("embed-0", 1, b"disk is full\n"),
        ("embed-0", 2, b"one\ntwo\nno end of line"),
        ("encode-1", 1, b"\x1b[31mred\xff\n"),
    ):
        server.api.logs["ns", pod_of(store, "talk-42", key, attempt)["metadata"]["name"]] = text
    return server


CASES = {
    "of one attempt, as it is": (["encode-1"], b"\x1b[31mred\xff\n"),
    "of all attempts": (
        ["embed-0"],
        b"embed-0 | disk is full\nembed-0#2 | one\nembed-0#2 | two\nembed-0#2 | no end of line\n",
    ),
    "of one of several": (["embed-0", "--attempt", "2"], b"one\ntwo\nno end of line"),
    "the end of it": (["embed", "--attempt", "2", "--tail", "1"], b"no end of line"),
    "of everything": (
        [],
        b"embed-0 | disk is full\nembed-0#2 | one\nembed-0#2 | two\nembed-0#2 | no end of line\nencode-1 | \x1b[31mred\xff\n",
    ),
}


@pytest.mark.parametrize(("words", "expected"), CASES.values(), ids=CASES)
def test_logs(words: list[str], expected: bytes, shell: Shell, logged: Server) -> None:
    done = shell("logs", "talk-42", *words)
    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, expected, "")


def test_a_container_that_hasnt_started_is_told(shell: Shell, server: Server, store: Store) -> None:
    name = pod_of(store, "paused", "slow-0")["metadata"]["name"]
    store.edit("pods", "ns", name, lambda pod: pod["status"].update(phase="Pending"))
    server.api.logs["ns", pod_of(store, "paused", "quick-0")["metadata"]["name"]] = b"quick\n"
    done = shell("logs", "paused")
    assert (done.exit_code, done.stdout) == (0, "quick-0 | quick\n")
    assert done.stderr == "slow-0 hasn't started; `flowy describe paused` may say why\n"


def test_what_is_gone_or_never_was(shell: Shell, store: Store) -> None:
    for pod in store.all(store.kind("pods"), "ns"):
        store.delete(store.kind("pods"), "ns", pod["metadata"]["name"])
    assert "keepFailedSeconds" in shell.fails(3, "logs", "talk-42", "encode-1")
    assert "keepSucceededSeconds" in shell.fails(3, "logs", "talk-41", "encode-0")
    assert "no pod of attempt 2 of embed-0 is there any more" in shell.fails(
        3, "logs", "talk-42", "embed-0", "--attempt", "2"
    )
    assert "its tasks: embed-0, chapters-0" in shell.fails(3, "logs", "talk-42", "nothing")
    assert "page-0 is a Workflow of its own\n  flowy logs site-page-0-" in shell.fails(3, "logs", "site", "page-0")
    assert "there is no Workflow 'none'" in shell.fails(3, "logs", "none")


def test_follow_sees_pods_that_come_until_the_end(shell: Shell, server: Server, store: Store) -> None:
    slow = pod_of(store, "paused", "slow-0")
    later = {**slow, "metadata": {**slow["metadata"], "name": "later", "annotations": {TASK_ANNOTATION: "more-0"}}}
    pods = store.kind("pods")
    server.api.logs["ns", slow["metadata"]["name"]] = b"slow\n"
    server.api.logs["ns", "later"] = b"later\n"
    server.once_watched(
        partial(store.create, pods, "ns", later),
        partial(becomes, store, "paused", "True", "Completed"),
        streams=2,
    )
    lines = shell.ok("logs", "paused", "--follow").splitlines()
    assert sorted(lines) == ["more-0 | later", "slow-0 | slow"]


def test_follow_of_an_ended_workflow_shows_what_is_there(shell: Shell, logged: Server) -> None:
    assert shell("logs", "talk-42", "encode-1", "-f").stdout_bytes == b"encode-1 | \x1b[31mred\xff\n"
