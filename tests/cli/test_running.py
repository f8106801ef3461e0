"""Starting, waiting, changing."""

import json
from functools import partial
from io import StringIO

import pytest
import yaml
from rich.console import Console

from flowy_cli.arguments import argument, keyword_arguments
from flowy_cli.errors import Unreadable
from flowy_cli.progress import _Picture
from tests.cli.shell import Server, Shell
from tests.fakes.store import WORKFLOWS, Json, Store

MANIFEST = {
    "apiVersion": "flowy.dev/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "hello", "labels": {"team": "media"}, "uid": "gone", "resourceVersion": "7"},
    "spec": {"code": {"source": "def hello(greet): return greet"}, "input": {"args": ["World"]}},
    "status": {"run": 3},
}
TEXT = yaml.safe_dump(MANIFEST)


def spec_of(store: Store, name: str) -> Json:
    spec: Json = store.get(WORKFLOWS, "ns", name)["spec"]
    return spec


def condition(status: str, reason: str, message: str = "") -> Json:
    return {"type": "Succeeded", "status": status, "reason": reason, "message": message}


def becomes(store: Store, name: str, status: str, reason: str, **fields: object) -> None:
    """Have a Workflow stand so, as the operator would."""
    new = {"conditions": [condition(status, reason, str(fields.pop("message", "")))], **fields}
    store.edit("workflows", "ns", name, lambda body: body.update(status=new))


# -- start ----------------------------------------------------------------------------------------------------------


def test_start_of_a_manifest(shell: Shell, store: Store) -> None:
    assert shell.ok("start", "-", stdin=TEXT) == "hello\n"
    body = store.get(WORKFLOWS, "ns", "hello")
    assert (body["spec"], body["metadata"]["labels"]) == (MANIFEST["spec"], {"team": "media"})
    assert "status" not in body


def test_start_of_a_definition(shell: Shell, store: Store) -> None:
    name = shell.ok("start", "video-v1", "talk.mp4", '["mp4"]').strip()
    assert name.startswith("video-v1-")
    given = {"args": ["talk.mp4", ["mp4"]], "kwargs": {}}
    assert json.loads(spec_of(store, name).pop("input")["json"]) == given
    assert spec_of(store, name)["definitionRef"] == {"name": "video-v1"}


def test_start_under_another_name_with_other_arguments(shell: Shell, store: Store) -> None:
    words = ["--name", "again", "1", "1.0", "12345678901234567890", "-k", "who=Anna", "-k", 'how={"loud": true}']
    assert shell.ok("start", "-", *words, stdin=TEXT) == "again\n"
    assert spec_of(store, "again")["input"] == {
        "json": '{"args":[1,1.0,12345678901234567890],"kwargs":{"who":"Anna","how":{"loud":true}}}'
    }


def test_a_manifest_may_name_its_namespace(shell: Shell, store: Store) -> None:
    text = yaml.safe_dump({**MANIFEST, "metadata": {"name": "hello", "namespace": "other"}})
    assert "the manifest is for the namespace 'other'" in shell.fails(2, "start", "-", "-n", "ns", stdin=text)
    assert shell.ok("start", "-", stdin=text) == "hello\n"
    assert store.get(WORKFLOWS, "other", "hello")
    assert shell.ok("start", "-", "-n", "other", "--name", "again", stdin=text) == "again\n"


def test_the_wait_is_where_the_start_was(shell: Shell, server: Server, store: Store) -> None:
    ended = {"conditions": [condition("True", "Completed")], "result": "3"}
    server.once_watched(partial(store.edit, "workflows", "other", "hello", lambda body: body.update(status=ended)))
    text = yaml.safe_dump({**MANIFEST, "metadata": {"name": "hello", "namespace": "other"}})
    assert shell("start", "-", "--wait", stdin=text).stdout == "3\n"


def test_start_gives_the_object_if_asked(shell: Shell) -> None:
    assert json.loads(shell.ok("start", "-", "-o", "json", stdin=TEXT))["metadata"]["name"] == "hello"
    assert yaml.safe_load(shell.ok("start", "video-v1", "x", "-o", "yaml"))["kind"] == "Workflow"


DEFINITION = "apiVersion: flowy.dev/v1alpha1\nkind: WorkflowDefinition\nmetadata: {name: d-v1}\nspec: {}\n"
BAD_STARTS = {
    "no such definition": (["start", "video-v9"], "", 3, "no WorkflowDefinition 'video-v9'"),
    "no such file": (["start", "./none.yaml"], "", 2, "./none.yaml can't be read: No such file"),
    "two of them": (["start", "-"], f"{TEXT}---\n{TEXT}", 2, "holds 2 Workflows"),
    "a definition alone": (["start", "-"], DEFINITION, 2, "kubectl apply -f -, then flowy start d-v1"),
    "no Workflow": (["start", "-"], "", 2, "holds 0 Workflows"),
    "a field that isn't there": (
        ["start", "-"],
        yaml.safe_dump({**MANIFEST, "spec": {"paralelism": 3}}),
        2,
        "spec.paralelism is unknown: do you mean parallelism?",
    ),
    "the name is taken": (["start", "-", "--name", "talk-42"], TEXT, 1, "there is a Workflow 'talk-42' already"),
    "broken JSON": (["start", "-", '{"a": 1'], TEXT, 2, "is no JSON"),
    "a lone surrogate": (["start", "-", r'"\ud800"'], TEXT, 2, "surrogate"),
    "no keyword": (["start", "-", "-k", "who"], TEXT, 2, "name=value"),
    "a keyword twice": (["start", "-", "-k", "a=1", "-k", "a=2"], TEXT, 2, "given twice"),
}


@pytest.mark.parametrize(("words", "stdin", "code", "said"), BAD_STARTS.values(), ids=BAD_STARTS)
def test_what_cannot_be_started(words: list[str], stdin: str, code: int, said: str, shell: Shell) -> None:
    assert said in shell.fails(code, *words, stdin=stdin)


ARGUMENTS = {
    "text": ("talk.mp4", "talk.mp4"),
    "an address": ("s3://bucket/talk.mp4?x={1}", "s3://bucket/talk.mp4?x={1}"),
    "nothing": ("", ""),
    "a number": ("7", 7),
    "a number as text": ('"7"', "7"),
    "true": ("true", True),
    "null": ("null", None),
    "a list": ("[1, 2]", [1, 2]),
    "no number of JSON": ("NaN", "NaN"),
    "Python's true": ("True", "True"),
}


@pytest.mark.parametrize(("text", "value"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(text: str, value: object) -> None:
    found = argument(text)
    assert (found, type(found)) == (value, type(value))
    assert keyword_arguments([f"name={text}"]) == {"name": value}


@pytest.mark.parametrize("text", ['{"a": 1', "[1,", '"open', "[NaN]", " {}x", "[" * 10_000])
def test_what_begins_as_json_must_be_json(text: str) -> None:
    with pytest.raises(Unreadable):
        argument(text)


# -- wait -----------------------------------------------------------------------------------------------------------


def test_wait_for_what_has_ended_gives_the_result(shell: Shell) -> None:
    done = shell("wait", "site", "talk-41")
    assert done.exit_code == 0
    assert done.stdout == '1\n{"copies":{"mp4":"talk.mp4.master.mp4"},"chapters":["intro","end"]}\n'


def test_wait_for_a_failure_tells_it_in_words(shell: Shell) -> None:
    done = shell("wait", "site", "talk-42")
    assert (done.exit_code, done.stdout) == (1, "1\n")
    assert "flowy: talk-42: Failed: Error: no codec (task encode-1" in done.stderr
    assert "`flowy describe talk-42`" in done.stderr


def test_wait_sees_the_end(shell: Shell, server: Server, store: Store) -> None:
    progress = {"scheduled": 2, "running": 1, "succeeded": 1, "summary": "1/2"}
    server.once_watched(
        partial(
            becomes, store, "paused", "Unknown", "Running", message="line 5 waits for it\x1b[2J", progress=progress
        ),
        partial(becomes, store, "paused", "True", "Completed", message="the code returned", result="[1,2]"),
    )
    done = shell("wait", "paused", "paused")
    assert (done.exit_code, done.stdout) == (0, "[1,2]\n[1,2]\n")
    assert done.stderr.splitlines() == [
        "paused: Running: line 4 waits for slow-0 (1/2)",
        "paused: Running: line 5 waits for it\\x1b[2J (1/2)",
        "paused: Completed: the code returned",
    ]


def test_wait_survives_a_cut_watch(shell: Shell, server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowy_cli.waiting._PAUSE_S", 0.01)
    server.once_watched(
        server.api.cut_watches, store.compact, partial(becomes, store, "paused", "True", "Completed", result="7")
    )
    assert shell.ok("wait", "paused") == "7\n"


def test_wait_ends_by_its_timeout(shell: Shell) -> None:
    assert "paused hasn't ended after 0.2 s" in shell.fails(5, "wait", "paused", "--timeout", "0.2")


def test_wait_for_what_is_deleted(shell: Shell, server: Server, store: Store) -> None:
    server.once_watched(partial(store.delete, WORKFLOWS, "ns", "paused"))
    assert "was deleted while it was waited for" in shell.fails(3, "wait", "paused")
    assert "there is no Workflow 'gone'" in shell.fails(3, "wait", "gone")


def test_start_and_wait(shell: Shell, server: Server, store: Store) -> None:
    server.once_watched(partial(becomes, store, "hello", "True", "Completed", result='"Hello!"'))
    done = shell("start", "-", "--wait", stdin=TEXT)
    assert (done.exit_code, done.stdout) == (0, '"Hello!"\n')
    assert done.stderr.startswith("hello\nhello: Pending\n")


# -- changes --------------------------------------------------------------------------------------------------------

CHANGES = {
    "cancel": ({"stop": "Cancel"}, "is asked to stop"),
    "terminate": ({"stop": "Terminate"}, "told to end at once"),
    "suspend": ({"suspend": True}, "is suspended"),
}


@pytest.mark.parametrize(("verb", "expected", "said"), [(verb, *row) for verb, row in CHANGES.items()], ids=CHANGES)
def test_changes(verb: str, expected: Json, said: str, shell: Shell, store: Store) -> None:
    before = spec_of(store, "paused")
    for _ in range(2):  # again, it changes nothing and says the same
        done = shell(verb, "paused")
        assert (done.exit_code, done.stdout) == (0, "")
        assert said in done.stderr
    assert spec_of(store, "paused") == before | expected


def test_resume(shell: Shell, store: Store) -> None:
    shell.ok("suspend", "paused")
    shell.ok("resume", "paused")
    assert spec_of(store, "paused")["suspend"] is False


def test_terminate_after_cancel_but_not_back(shell: Shell, store: Store) -> None:
    shell.ok("cancel", "paused")
    shell.ok("terminate", "paused")
    assert "can't be taken back" in shell.fails(1, "cancel", "paused")
    assert spec_of(store, "paused")["stop"] == "Terminate"


@pytest.mark.parametrize("verb", [*CHANGES, "resume"])
def test_what_has_ended_is_not_changed(verb: str, shell: Shell, store: Store) -> None:
    before = spec_of(store, "site")
    assert "site has ended already (Completed)" in shell.fails(1, verb, "site")
    assert spec_of(store, "site") == before


# -- retry ----------------------------------------------------------------------------------------------------------


def test_retry_is_a_new_workflow_with_the_same_spec(shell: Shell, store: Store) -> None:
    store.edit("workflows", "ns", "talk-42", lambda body: body["spec"].update(stop="Cancel", suspend=True))
    assert [shell.ok("retry", "talk-42"), shell.ok("retry", "talk-42")] == ["talk-42-2\n", "talk-42-3\n"]
    old, new = spec_of(store, "talk-42"), spec_of(store, "talk-42-2")
    assert new == {name: value for name, value in old.items() if name not in {"stop", "suspend"}}
    becomes(store, "talk-42-3", "False", "Failed")
    assert shell.ok("retry", "talk-42-3") == "talk-42-4\n"
    assert store.get(WORKFLOWS, "ns", "talk-42-4")["metadata"]["annotations"] == {"flowy.dev/retry-of": "talk-42"}


def test_a_retried_child_is_nobodys_child(shell: Shell, store: Store) -> None:
    child = next(body for body in store.all(WORKFLOWS, "ns") if body["metadata"]["name"].startswith("site-page"))
    name = shell.ok("retry", child["metadata"]["name"]).strip()
    metadata = store.get(WORKFLOWS, "ns", name)["metadata"]
    assert "labels" not in metadata
    assert "ownerReferences" not in metadata
    assert len(name) <= 52


def test_what_is_open_is_not_retried(shell: Shell) -> None:
    assert "paused hasn't ended" in shell.fails(1, "retry", "paused")


# -- the picture on a terminal --------------------------------------------------------------------------------------


def test_on_a_terminal_there_is_a_picture(store: Store) -> None:
    picture = _Picture()
    picture.seen(store.get(WORKFLOWS, "ns", "paused"))
    picture.seen(store.get(WORKFLOWS, "ns", "talk-42"))
    console = Console(width=100, record=True, file=StringIO())
    console.print(picture.render())
    running, waits, ended = console.export_text().splitlines()
    assert running.split()[1:3] == ["paused", "Running"]
    assert running.endswith("1/2")
    assert waits == "    line 4: slow-0"
    assert ended.split()[:3] == ["●", "talk-42", "Failed"]
