"""What is there: in rows, whole, as a story, as a file."""

import json
from functools import partial

import pytest
import yaml

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
    "history.txt": ["history", "talk-42"],
}


@pytest.mark.parametrize(("golden", "words"), GOLDEN.items(), ids=GOLDEN)
def test_texts(golden: str, words: list[str], shell: Shell) -> None:
    assert_golden(golden, shell.ok(*words))


FILTERS = {
    "by definition": (["--definition", "video-v1"], ["talk-41", "talk-42"]),
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
    "no YAML": ("a: [", 2, "neither YAML nor JSON"),
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
