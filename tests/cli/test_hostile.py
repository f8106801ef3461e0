"""Objects in the cluster that aren't as ours are: a sentence says so, and none of them steers a terminal or a command."""

from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from flowy_cli.progress import _Picture
from flowy_operator.core.job import TASK_ANNOTATION, UID_LABEL, WORKFLOW_LABEL
from tests.cli.shell import Server, Shell
from tests.cli.test_logs import pod_of
from tests.cli.test_running import becomes
from tests.fakes.faults import Refuse
from tests.fakes.store import WORKFLOWS, Json, Store


def edited(store: Store, name: str, change: Callable[[Json], Any]) -> None:
    store.edit("workflows", "ns", name, change)


COMMANDS = ("list", "get paused", "describe paused", "history paused", "wait paused", "cancel paused", "export paused")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_field_of_another_type_is_named(command: str, shell: Shell, store: Store) -> None:
    edited(store, "paused", lambda body: body["status"].update(conditions=[{"type": "Succeeded", "reason": 7}]))
    told = shell.fails(4, *command.split())
    assert "the API server's Workflow 'paused' can't be read: status.conditions[0].reason is a whole number" in told
    assert "if a newer version of Flowy is installed there, update this one" in told


def test_what_each_object_in_a_cluster_has_is_missing(shell: Shell, store: Store) -> None:
    edited(store, "paused", lambda body: body["metadata"].pop("creationTimestamp"))
    assert "metadata.creationTimestamp is missing" in shell.fails(4, "get", "paused")


def test_a_workflow_that_says_it_is_its_own_child(shell: Shell, server: Server, store: Store) -> None:
    before = shell.ok("describe", "site")
    uid = store.get(WORKFLOWS, "ns", "site")["metadata"]["uid"]
    edited(store, "site", lambda body: body["metadata"].update(labels={UID_LABEL: uid, WORKFLOW_LABEL: "site"}))
    assert shell.ok("describe", "site").replace("Parent:      site, task ?\n", "") == before
    assert sum(server.api.calls.values()) < 20


def test_a_result_does_not_steer_a_terminal(shell: Shell, store: Store) -> None:
    becomes(store, "paused", "True", "Completed", result='"\x9b2J\u202e\x1b"')
    assert shell.ok("wait", "paused") == '"\\u009b2J\\u202e\\u001b"\n'


def test_a_reason_does_not_steer_a_terminal(shell: Shell, server: Server, store: Store) -> None:
    progress = {"summary": "1/2\x1b[2J\nflowy: done"}
    server.once_watched(
        partial(becomes, store, "paused", "Unknown", "Evil\x9b", progress=progress),
        partial(becomes, store, "paused", "True", "Completed", result="1"),
    )
    told = shell("wait", "paused").stderr.splitlines()
    assert told[1:] == ["paused: Evil\\x9b (1/2\\x1b[2J\\x0aflowy: done)", "paused: Completed"]


def test_nor_does_it_in_the_picture(store: Store) -> None:
    becomes(store, "paused", "Unknown", "Evil\x1b", progress={"summary": "1/2\x1b[2J"})
    picture = _Picture()
    picture.seen(store.get(WORKFLOWS, "ns", "paused"))
    console = Console(width=100, file=StringIO(), record=True)
    console.print(picture.render())
    shown = console.export_text()
    assert "Evil\\x1b" in shown
    assert "1/2\\x1b[2J" in shown


def test_a_message_of_several_lines_has_none_that_looks_like_ours(shell: Shell, store: Store) -> None:
    becomes(store, "paused", "False", "Failed", message="no\nflowy: all is well")
    assert shell.fails(1, "wait", "paused").splitlines()[-3:] == [
        "flowy: paused: Failed: no",
        "  flowy: all is well",
        "  `flowy describe paused` tells the story",
    ]


def test_what_stands_before_the_lines_of_a_log_does_not_steer_a_terminal(
    shell: Shell, server: Server, store: Store
) -> None:
    name = pod_of(store, "talk-42", "chapters-0")["metadata"]["name"]
    server.api.logs["ns", name] = b"said\n"
    store.edit("pods", "ns", name, lambda pod: pod["metadata"]["annotations"].update({TASK_ANNOTATION: "\x1b[2J\nx"}))
    assert "\\x1b[2J\\x0ax | said\n" in shell.ok("logs", "talk-42")


def test_what_ends_following_logs_is_a_sentence(shell: Shell, server: Server, store: Store) -> None:
    server.once_watched(partial(store.delete, WORKFLOWS, "ns", "paused"), streams=2)
    assert "was deleted while it was waited for" in shell.fails(3, "logs", "paused", "--follow")


def test_logs_are_not_followed_without_the_right_to_see_pods(shell: Shell, server: Server) -> None:
    server.api.faults.add(Refuse(403, "Forbidden"), verb="list", resource="pods")
    assert "not allowed" in shell.fails(4, "logs", "paused", "--follow")
