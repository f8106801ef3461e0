"""What is there: in rows, whole, as a story, as a file."""

import json
from functools import partial

import pytest
import yaml

from flowy_cli.documents import Loader
from flowy_cli.main import flowy
from tests.cli.shell import Server, Shell, assert_golden
from tests.fakes.faults import Refuse
from tests.fakes.store import WORKFLOWS, Store

GOLDEN = {
    "list.txt": ["list"],
    "list-everywhere.txt": ["list", "-A", "--children"],
    "get.txt": ["get", "talk-42", "paused"],
    "definitions.txt": ["definitions"],
    "describe-failed.txt": ["describe", "talk-42"],
    "describe-completed.txt": ["describe", "talk-41"],
    "describe-running.txt": ["describe", "paused"],
    "describe-raised.txt": ["describe", "broken"],
    "describe-parent.txt": ["describe", "site"],
    "describe-long.txt": ["describe", "long"],
    "describe-restarted.txt": ["describe", "loop"],
    "describe-child.txt": ["describe", "site-page-0-uysr5xu24g"],
    "history.txt": ["history", "talk-42"],
}


@pytest.mark.parametrize(("golden", "words"), GOLDEN.items(), ids=GOLDEN)
def test_texts(golden: str, words: list[str], shell: Shell) -> None:
    assert_golden(golden, shell.ok(*words))


FILTERS = {
    "by definition": (["--definition", "video-v1"], ["talk-41", "talk-42"]),
    "open ones": (["--open"], ["paused"]),
    "by status, in any case": (["--status", "completed"], ["long", "loop", "site", "talk-41"]),
    "by labels": (["-l", "team=media"], ["paused"]),
    "in a namespace without any": (["-n", "other"], []),
    "in a context without a namespace": (["--context", "elsewhere"], []),
}


@pytest.mark.parametrize(("words", "names"), FILTERS.values(), ids=FILTERS)
def test_list_by(words: list[str], names: list[str], shell: Shell, store: Store) -> None:
    store.edit("workflows", "ns", "paused", lambda body: body["metadata"].update(labels={"team": "media"}))
    found = shell.ok("list", *words, "-o", "json")
    body = json.loads(found)
    items = body["items"] if body["kind"] == "List" else [body]
    assert [item["metadata"]["name"] for item in items] == names


def test_where_to_go_may_stand_before_the_command_as_with_kubectl(shell: Shell) -> None:
    assert shell("-n", "other", "list").stderr == "no Workflow\n"
    assert shell("--context", "elsewhere", "list").stderr == "no Workflow\n"
    assert shell.ok("-n", "other", "list", "-n", "ns") == shell.ok("list", "-n", "ns")


def test_names_alone_for_scripts(shell: Shell) -> None:
    assert shell.ok("list", "--definition", "video-v1", "-o", "name") == "talk-41\ntalk-42\n"
    assert "'name' is not one of 'table', 'json', 'yaml'" in shell.fails(2, "get", "talk-41", "-o", "name")


def test_an_empty_list_says_so_beside_the_output(shell: Shell) -> None:
    done = shell("list", "-n", "other")
    assert (done.stdout, done.stderr, done.exit_code) == ("", "no Workflow\n", 0)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_whole_objects_are_those_of_the_cluster(output: str, shell: Shell, store: Store) -> None:
    text = shell.ok("get", "talk-42", "-o", output)
    assert yaml.safe_load(text) == store.get(WORKFLOWS, "ns", "talk-42")
    assert output == "json" or "source: |" in shell.ok("get", "broken", "-o", "yaml")


def test_the_history_is_whole_wherever_it_lies(shell: Shell, store: Store) -> None:
    status = store.get(WORKFLOWS, "ns", "loop")["status"]
    assert status["historyStart"] > 1
    events = json.loads(shell.ok("history", "loop", "-o", "json"))
    assert [event["id"] for event in events] == list(range(events[0]["id"], events[-1]["id"] + 1))
    assert events[-1] == status["history"][-1]
    assert [event["run"] for event in events if event["type"] == "Restarted"] == [2]
    of_last_run = json.loads(shell.ok("history", "loop", "--run", "2", "-o", "json"))
    assert of_last_run == [event for event in events if event["id"] >= of_last_run[0]["id"]]
    assert "run 1" not in shell.fails(3, "history", "loop", "--run", "7")


def test_a_history_without_events_says_so_beside_the_output(shell: Shell) -> None:
    new = yaml.safe_dump(
        {"apiVersion": "flowy.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "new"}, "spec": {}}
    )
    done = shell("history", "-", stdin=new)
    assert (done.stdout, done.stderr, done.exit_code) == ("", "new has no events yet\n", 0)
    ended = {"conditions": [{"type": "Succeeded", "status": "False", "reason": "InvalidCode"}]}
    done = shell("history", "-", stdin=yaml.safe_dump({**yaml.safe_load(new), "status": ended}))
    assert (done.stdout, done.stderr, done.exit_code) == ("", "new has ended without any event\n", 0)
    assert shell.ok("history", "-", "-o", "json", stdin=new) == "[]\n"


@pytest.mark.parametrize("name", ["talk-42", "loop"])
def test_the_history_is_the_same_as_json_and_as_yaml(name: str, shell: Shell) -> None:
    found = json.loads(shell.ok("history", name, "-o", "json"))
    assert yaml.load(shell.ok("history", name, "-o", "yaml"), Loader) == found


def test_a_history_that_was_edited_is_told(shell: Shell, store: Store) -> None:
    store.edit("workflows", "ns", "talk-42", lambda body: body["status"]["history"].pop(0))
    assert "the history of talk-42" in shell.fails(4, "describe", "talk-42")
    store.edit("workflows", "ns", "talk-41", lambda body: body["status"]["history"][-1].update(task="chapters-0"))
    assert "contradicts the events before it" in shell.fails(4, "replay", "talk-41")


def test_a_missing_page_is_told(shell: Shell, server: Server, store: Store) -> None:
    pages = store.kind("historypages")
    for page in store.all(pages, "ns"):
        server.do(partial(store.delete, pages, "ns", page["metadata"]["name"]))
    assert "HistoryPages" in shell.fails(4, "history", "loop")


@pytest.mark.parametrize("name", ["talk-41", "talk-42", "broken", "site", "loop", "paused", "long"])
def test_a_file_tells_the_same_as_the_cluster(name: str, shell: Shell) -> None:
    text = shell.ok("export", name)
    away = Shell(shell.kubeconfig.with_name("none"), shell.now)
    named = ["--name", name]
    assert away.ok("describe", "-", *named, stdin=text) == shell.ok("describe", name)
    assert away.ok("history", "-", *named, stdin=text) == shell.ok("history", name)


def test_what_kubectl_prints_will_do(shell: Shell, store: Store) -> None:
    pages = store.all(store.kind("historypages"), "ns")
    for page in pages:
        del page["kind"], page["apiVersion"]
    typed = {"apiVersion": "flowy.dev/v1alpha1", "kind": "HistoryPageList", "items": pages}
    text = yaml.safe_dump_all([store.get(WORKFLOWS, "ns", "loop"), typed])
    assert shell.ok("history", "-", stdin=text) == shell.ok("history", "loop")
    alone = yaml.safe_dump(store.get(WORKFLOWS, "ns", "loop"))
    assert "flowy export NAME" in shell.fails(2, "history", "-", stdin=alone)


FILES = {
    "no YAML": ("a: [", 2, "neither YAML nor JSON: line "),
    "no object": ("just text", 2, "no Kubernetes object"),
    "no Workflow": ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}", 2, "holds no Workflow"),
    "one of another group": (
        "kind: Workflow\napiVersion: argoproj.io/v1alpha1\nmetadata: {name: a}",
        2,
        "holds no Workflow",
    ),
    "nothing": ("", 2, "holds no Workflow"),
    "a history that is none": (
        "kind: Workflow\napiVersion: flowy.dev/v1alpha1\nmetadata: {name: a}\nstatus: {history: [{id: 1}]}",
        2,
        "unknown type",
    ),
}


@pytest.mark.parametrize(("text", "code", "said"), FILES.values(), ids=FILES)
def test_files_that_are_no_run(text: str, code: int, said: str, shell: Shell) -> None:
    assert said in shell.fails(code, "describe", "-", stdin=text)


def test_several_workflows_of_a_file_need_a_name(shell: Shell) -> None:
    text = shell.ok("get", "talk-41", "broken", "-o", "yaml")
    assert "talk-41, broken" in shell.fails(2, "history", "-", stdin=text)
    assert shell.ok("history", "-", "--name", "broken", stdin=text) == shell.ok("history", "broken")
    assert "no Workflow 'x'" in shell.fails(3, "history", "-", "--name", "x", stdin=text)


REFUSALS = {
    "nobody there": (404, "NotFound", 3, "there is no Workflow 'talk-42' in the namespace 'ns'"),
    "not allowed": (403, "Forbidden", 4, "not allowed"),
    "not known": (401, "Unauthorized", 4, "doesn't know you"),
    "broken": (500, "InternalError", 4, "500 InternalError"),
}


@pytest.mark.parametrize(("status", "reason", "code", "said"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_are_sentences(status: int, reason: str, code: int, said: str, shell: Shell, server: Server) -> None:
    server.api.faults.add(Refuse(status, reason), verb="get", resource="workflows")
    told = shell.fails(code, "get", "talk-42")
    assert told.startswith("flowy: ")
    assert said in told
    assert "Traceback" not in told


def test_a_cluster_that_is_not_there(shell: Shell) -> None:
    nowhere = Shell(shell.kubeconfig.with_name("none"), shell.now)
    assert "no kubeconfig at" in nowhere.fails(4, "list")
    assert "nowhere" in shell.fails(4, "list", "--context", "nowhere")


def test_an_escape_sequence_of_a_pod_does_not_reach_the_terminal(shell: Shell) -> None:
    for words in (["describe", "talk-42"], ["history", "talk-42"]):
        text = shell.ok(*words)
        assert "\x1b" not in text
        assert "\\x1b[2J" in text


def test_a_workflow_that_nobody_has_taken_up(shell: Shell) -> None:
    manifest = "apiVersion: flowy.dev/v1alpha1\nkind: Workflow\nmetadata: {name: new}\nspec: {definitionRef: {name: none-v1}}\n"
    shell.ok("start", "-", stdin=manifest)
    told = shell.ok("describe", "new")
    assert "Status:      Pending\n" in told
    assert "Definition:  none-v1 (not there)\n" in told
    assert shell("history", "new").stderr == "new has no events yet\n"
    assert shell.ok("get", "new").splitlines()[1].split() == ["new", "Pending", "none-v1", "0s"]
    assert "there is no WorkflowDefinition 'none-v1'" in shell.fails(2, "replay", "new")


def test_a_manifest_that_nobody_has_applied_has_no_times(shell: Shell) -> None:
    assert "Started" not in shell.ok("describe", "examples/hello/workflow.yaml")
    assert shell.ok("graph", "examples/hello/workflow.yaml").startswith("hello: running, 0 ms; Pending\n")


def test_a_stall_a_delay_and_errors_that_nobody_looked_at(shell: Shell, store: Store) -> None:
    time = "2026-01-01T12:00:00.000Z"
    first, failed = {"id": 1, "time": time, "type": "TaskScheduled", "task": "slow-0", "digest": "0" * 16, "line": 4}, {
        "id": 2, "time": time, "type": "TaskTimedOut", "task": "slow-0", "timer": "StartToClose",
    }  # fmt: skip
    again = {
        "id": 3,
        "time": time,
        "type": "RetryScheduled",
        "task": "slow-0",
        "attempt": 2,
        "at": "2026-01-01T13:00:00.000Z",
    }
    conditions = [
        {"type": "Succeeded", "status": "Unknown", "reason": "Stalled", "message": "it can't go on"},
        {"type": "Stalled", "status": "True", "reason": "DecisionTimeout", "message": "too slow"},
    ]
    ignored = [{"type": "Error", "message": "no index", "task": "quick-0", "details": "[1]"}]
    status = {"startTime": time, "conditions": conditions, "history": [first, failed, again], "ignoredErrors": ignored}
    store.edit("workflows", "ns", "paused", lambda body: body.update(status=status))
    assert_golden("describe-stalled.txt", shell.ok("describe", "paused"))


def test_a_long_result_that_is_lost(shell: Shell, store: Store) -> None:
    maps = store.kind("configmaps")
    for item in store.all(maps, "ns"):
        store.delete(maps, "ns", item["metadata"]["name"])
    assert "which holds a result of 5,002 bytes, is gone or was changed" in shell.fails(4, "replay", "long")


def test_a_name_is_no_file(shell: Shell) -> None:
    assert "--name tells Workflows of a file apart" in shell.fails(2, "describe", "talk-41", "--name", "talk-42")


def test_a_file_is_no_name(shell: Shell) -> None:
    said = shell.fails(2, "get", "talk-41", "runs/talk-42.yaml")
    assert "'runs/talk-42.yaml' is a file: this is for Workflows in the cluster, by their names. " in said
    named = said.partition("by their names. ")[2].partition(" take files")[0]
    takers = [
        name
        for name, command in flowy.commands.items()
        if any(p.human_readable_name == "NAME|FILE|-" for p in command.params)
    ]
    assert sorted(named.split(", ")) == sorted(takers)


@pytest.mark.parametrize("kind", ["workflow.flowy.dev", "workflows.flowy.dev"])
def test_what_kubectl_prints_as_a_name_is_one(shell: Shell, kind: str) -> None:
    assert shell.ok("get", f"{kind}/talk-42", "paused") == shell.ok("get", "talk-42", "paused")
    assert shell.ok("history", f"{kind}/talk-42") == shell.ok("history", "talk-42")  # which takes files, too


def test_definitions_whole(shell: Shell) -> None:
    body = yaml.safe_load(shell.ok("definitions", "-o", "yaml"))
    assert (body["kind"], body["metadata"]["name"]) == ("WorkflowDefinition", "video-v1")
    assert yaml.safe_load(shell.ok("definitions", "video-v1", "-o", "json"))["spec"] == body["spec"]
    assert "there is no WorkflowDefinition 'video-v9'" in shell.fails(3, "definitions", "video-v9")
    done = shell("definitions", "-n", "other")
    assert (done.stdout, done.stderr) == ("", "no WorkflowDefinition\n")
