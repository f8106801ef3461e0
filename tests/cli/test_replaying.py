"""A recorded run once more: with its own code, with other code, under the debugger."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from flowy.wire import values
from flowy_cli.documents import events_json, to_yaml
from flowy_cli.replaying import story
from flowy_operator.core.history import CancelReason, Fact, TaskCancelled, TaskCompleted, TaskScheduled
from flowy_operator.core.state import State, place
from tests.app.world import START
from tests.cli.scene import VIDEO
from tests.cli.shell import Shell, assert_golden
from tests.fakes.store import WORKFLOWS, Store


@pytest.mark.parametrize("name", ["talk-41", "talk-42", "broken", "site", "long", "paused"])
def test_own_code_agrees_with_every_history(name: str, shell: Shell) -> None:
    """In the operator's own locks; without them it says the same."""
    told = shell.ok("replay", name)
    assert_golden(f"replay-{name}.txt", told)
    assert shell.ok("replay", name, "--unlocked") == told


@pytest.mark.parametrize("name", ["talk-41", "talk-42", "broken", "site", "long", "paused", "loop"])
def test_a_long_run_is_told_from_one_replay_and_in_the_same_words(
    name: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = json.loads(shell.ok("replay", name, "--unlocked", "-o", "json"))
    monkeypatch.setattr(story, "LONG", 0)
    once = json.loads(shell.ok("replay", name, "--unlocked", "-o", "json"))
    assert once["decisions"][-1] == each["decisions"][-1]
    for short, whole in zip(once["decisions"], each["decisions"], strict=True):
        assert short["waitingOn"] == [wait for wait in whole["waitingOn"] if wait in short["waitingOn"]]
        assert bool(short["waitingOn"]) is bool(whole["waitingOn"])
        assert short | {"waitingOn": 0, "log": 0} == whole | {"waitingOn": 0, "log": 0}


def test_a_long_run_that_is_open_goes_on_at_its_newest_call(offline: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f(a, b):\n    return lambda: b(a() + 1)\n"
    text = recorded(source, call("a-0", line=2), TaskCompleted(task="a-0", result="1"), call("b-0", 2, line=2))
    each = offline.ok("replay", "-", "--unlocked", stdin=text)
    monkeypatch.setattr(story, "LONG", 0)
    assert offline.ok("replay", "-", "--unlocked", stdin=text) == each


def test_each_run_of_a_workflow_that_restarts(shell: Shell) -> None:
    for number, end in (("1", "restart(…) with "), ("2", "the code returned 0")):
        told = json.loads(shell.ok("replay", "loop", "--run", number, "--unlocked", "-o", "json"))
        assert told["divergence"] is None
        assert len(told["decisions"][0]["calls"]) == 150
        assert end in shell.ok("replay", "loop", "--run", number, "--unlocked")
    assert shell.ok("replay", "loop", "--unlocked") == shell.ok("replay", "loop", "--run", "2", "--unlocked")


def test_a_child_is_replayed_like_any_other(shell: Shell, store: Store) -> None:
    names = [body["metadata"]["name"] for body in store.all(WORKFLOWS, "ns")]
    child = next(name for name in names if name.startswith("site-page"))
    assert 'the code returned ["<home home-1>","<home home-2>"]' in shell.ok("replay", child, "--unlocked")


def test_a_file_is_enough(shell: Shell) -> None:
    away = Shell(shell.kubeconfig.with_name("none"), shell.now)
    for name in ("talk-41", "long"):
        text = shell.ok("export", name)
        assert away.ok("replay", "-", "--unlocked", stdin=text) == shell.ok("replay", name, "--unlocked")


def test_a_manifest_that_never_ran_shows_its_first_decision(shell: Shell) -> None:
    manifest = Path("examples/hello/workflow.yaml").read_text()
    told = shell.ok("replay", "-", "--unlocked", stdin=manifest)
    assert told.splitlines() == [
        "decision 1   at the start",
        '  line 3      calls greet-0("World")',
        "  line 3      waits for greet-0",
    ]


def test_what_is_missing_in_a_file_is_told(shell: Shell) -> None:
    alone = shell.ok("get", "talk-41", "-o", "yaml")
    assert "flowy export talk-41" in shell.fails(2, "replay", "-", stdin=alone)
    alone = shell.ok("get", "long", "-o", "yaml")
    assert "flowy export long" in shell.fails(2, "replay", "-", "--unlocked", stdin=alone)


# -- other code -----------------------------------------------------------------------------------------------------

LOADED = {"line": 5, "expected": 'encode-0("talk.mp4.master", "mp4"), line 5'}
CHANGES: dict[str, tuple[str, str, dict[str, object]]] = {
    "other arguments": (
        "encode(master, f)",
        "encode(master, f, 2)",
        {"decision": 2, **LOADED, "got": 'encode-0("talk.mp4.master", "mp4", 2)'},
    ),
    "a barrier above": (
        "        master =",
        "        [*chapters(film)]\n        master =",
        {"decision": 1, "line": 4, "expected": 'embed-0("talk.mp4"), line 4', "got": "the code waits for chapters-0"},
    ),
    "a call less": (
        '        return {"copies": copies, "chapters": [c for c in chapters(film)]}',
        '        return {"copies": copies}',
        {
            "decision": 1,
            "line": 4,
            "expected": 'chapters-0("talk.mp4"), line 6',
            "got": "the code waits for embed-0",
        },
    ),
    "another result": (
        '"chapters": [',
        '"chapter": [',
        {
            "decision": 3,
            "line": None,
            "expected": 'the code returned {"copies":{"mp4":"talk.mp4.master.mp4"},"chapters":["intro","end"]}',
            "got": 'the code returned {"copies":{"mp4":"talk.mp4.master.mp4"},"chapter":["intro","end"]}',
        },
    ),
    "it raises": (
        "        copies =",
        "        film.nothing\n        copies =",
        {
            "decision": 1,
            "line": 5,
            "expected": 'embed-0("talk.mp4"), line 4',
            "got": "the code failed with AttributeError: 'str' object has no attribute 'nothing'",
        },
    ),
    "it doesn't compile": (
        "def workflow",
        "df workflow",
        {
            "decision": 1,
            "line": 3,
            "expected": 'embed-0("talk.mp4"), line 4',
            "got": "the code failed with SyntaxError: invalid syntax",
        },
    ),
    "another call of the same task": (
        "        master =",
        '        encode("x")\n        master =',
        {
            "decision": 2,
            "line": 4,
            "expected": 'encode-0("talk.mp4.master", "mp4"), line 5',
            "got": 'encode-0("x")',
        },
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES.values(), ids=CHANGES)
def test_other_code_diverges(old: str, new: str, expected: dict[str, object], shell: Shell, tmp_path: Path) -> None:
    assert old in VIDEO
    code = tmp_path / "new.py"
    code.write_text(VIDEO.replace(old, new))
    done = shell("replay", "talk-41", "--code", str(code), "--unlocked", "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["divergence"] == expected
    told = shell("replay", "talk-41", "--code", str(code), "--unlocked").stdout
    assert f"    got        {expected['got']}\n" in told
    assert "DIVERGES" in told


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES.values(), ids=CHANGES)
def test_other_code_diverges_in_a_long_run_likewise(
    old: str, new: str, expected: dict[str, object], shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "LONG", 0)
    code = tmp_path / "new.py"
    code.write_text(VIDEO.replace(old, new))
    done = shell("replay", "talk-41", "--code", str(code), "--unlocked", "-o", "json")
    assert json.loads(done.stdout)["divergence"] == expected


SAME = {
    "a comment": ("        master =", "        # why\n        master ="),
    "another name": ("master", "film_with_subtitles"),
    "a loop instead": ("[c for c in chapters(film)]", "list(chapters(film))"),
}


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME)
def test_code_that_does_the_same_agrees(old: str, new: str, shell: Shell, tmp_path: Path) -> None:
    code = tmp_path / "new.py"
    code.write_text(VIDEO.replace(old, new))
    assert "DIVERGES" not in shell.ok("replay", "talk-41", "--code", str(code), "--unlocked")


def test_a_new_call_of_another_task_is_no_divergence_of_an_open_run(shell: Shell, tmp_path: Path, store: Store) -> None:
    manifest = store.get(WORKFLOWS, "ns", "paused")
    code = manifest["spec"]["code"]
    code["source"] = (
        code["source"].replace("(slow, quick)", "(slow, quick, further)").replace("slow(), ", "slow(), further(), ")
    )
    manifest["spec"]["tasks"].append({"name": "further", "activity": {"image": "busybox"}})
    path = tmp_path / "new.yaml"
    path.write_text(yaml.safe_dump(manifest))
    told = shell.ok("replay", "paused", "--code", str(path), "--unlocked")
    assert "calls further-0()   (not yet on record)   (nowhere in the history)" in told


def test_code_files_that_are_none(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}")
    assert "neither a Workflow nor a WorkflowDefinition" in shell.fails(2, "replay", "talk-41", "--code", str(path))
    path.write_text("kind: Workflow\napiVersion: flowy.dev/v1alpha1\nmetadata: {name: a}\nspec: {}")
    assert "new.yaml: spec" in shell.fails(2, "replay", "talk-41", "--code", str(path))
    assert "can't be read" in shell.fails(2, "replay", "talk-41", "--code", str(tmp_path / "none.py"))


def test_another_entrypoint(shell: Shell) -> None:
    told = shell.fails(2, "replay", "talk-41", "--entrypoint")
    assert "requires an argument" in told
    done = shell("replay", "talk-41", "--entrypoint", "other", "--unlocked")
    assert "the source defines no 'other'" in done.stdout


# -- locks ----------------------------------------------------------------------------------------------------------

SPY = """
def f(a):
    import os
    return lambda: os.listdir("/")
"""


def test_code_of_strangers_reaches_nothing(shell: Shell) -> None:
    manifest = yaml.safe_load(Path("examples/hello/workflow.yaml").read_text())
    manifest["spec"]["code"]["source"] = SPY.replace("(a)", "(greet)").replace("lambda:", "lambda name:")
    told = shell.ok("replay", "-", stdin=yaml.safe_dump(manifest))
    assert "the code failed with PermissionError: [Errno 1] Operation not permitted: '/'" in told


def test_code_without_end_is_ended(shell: Shell) -> None:
    manifest = yaml.safe_load(Path("examples/hello/workflow.yaml").read_text())
    manifest["spec"]["code"]["source"] = "def hello(greet):\n    while True: pass"
    assert "DecisionTimeout" in shell.fails(1, "replay", "-", stdin=yaml.safe_dump(manifest))


def test_where_there_are_no_locks_it_says_how_to_go_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "--unlocked" in shell.fails(1, "replay", "talk-41")


# -- the debugger ---------------------------------------------------------------------------------------------------


def test_the_debugger_opens_at_a_call_with_the_real_results(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(shell.ok("export", "talk-42"))
    typed = "p master\nup\np film\nl 4,6\nn\nc\n"
    told = shell.ok("replay", str(path), "--pdb", "encode-1", stdin=typed)
    assert "encode-1 is called: failed, attempt 1 failed: Error: no codec (exit code 3)" in told
    assert "'talk.mp4.master'" in told
    assert "'talk.mp4'" in told
    assert 'return {"copies": copies' in told


def test_the_stack_is_that_of_the_code(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(shell.ok("export", "talk-41"))
    told = shell.ok("replay", str(path), "--pdb", "encode", stdin="w\nup\nup\nq\n")
    assert "<workflow>(5)workflow()" in told
    assert "*** Oldest frame" in told
    assert "flowy_cli" not in told


def test_the_debugger_goes_on_line_by_line(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(shell.ok("export", "talk-41"))
    told = shell.ok("replay", str(path), "--pdb", "embed", stdin="n\np master\ns\nq\n")
    assert "-> master = embed(film)" in told
    assert "'talk.mp4.master'" in told
    assert "/flowy/" not in told  # it steps over what isn't the user's


def test_the_debugger_finds_no_such_call(shell: Shell, tmp_path: Path) -> None:
    assert "it calls embed-0, encode-0" in shell.fails(3, "replay", "talk-41", "--pdb", "nothing")
    text = shell.ok("export", "talk-41")
    assert "--pdb needs standard input" in shell.fails(2, "replay", "-", "--pdb", "embed", stdin=text)


# -- histories made by hand -----------------------------------------------------------------------------------------


def recorded(source: str, *facts: Fact, reason: str = "Running") -> str:
    """A Workflow of this source with the tasks `a` and `b`, and a history of these facts, as text."""
    empty = State(workflow="w", uid="u", started_at=START)
    history = events_json(place(empty, facts, START))
    condition = {"type": "Succeeded", "status": "Unknown", "reason": reason}
    return to_yaml(
        {
            "apiVersion": "flowy.dev/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "w", "uid": "u"},
            "spec": {
                "code": {"source": source},
                "tasks": [{"name": name, "activity": {"image": "i"}} for name in "ab"],
            },
            "status": {"startTime": "2026-01-01T12:00:00.000Z", "conditions": [condition], "history": history},
        }
    )


def call(task: str, *args: object, line: int = 3) -> TaskScheduled:
    return TaskScheduled(task=task, digest=values.digest(args, {}), line=line)


PEEKS = (
    "def f(a, b):\n    def w():\n        r = a()\n        s = b(len(repr(r)))\n        return [r, s]\n    return w\n"
)
LEAVES = "def f(a, b):\n    def w():\n        r = a()\n        if 'pending' not in repr(r):\n            return 1\n        return [r, b(1)]\n    return w\n"


def test_code_that_peeks_diverges_where_it_stalls(offline: Shell) -> None:
    pending = len("⟨a-0: pending⟩")
    text = recorded(PEEKS, call("a-0"), call("b-0", pending, line=4), TaskCompleted(task="a-0", result="12345"))
    told = json.loads(offline("replay", "-", "--unlocked", "-o", "json", stdin=text).stdout)
    digests = [values.digest((given,), {}) for given in (pending, 5)]
    assert told["divergence"] == {
        "decision": 2,
        "line": 4,
        "expected": f"b-0 as recorded: digest {digests[0]}, line 4",
        "got": f"b-0: b(5) with digest {digests[1]}",
    }
    assert offline("replay", "-", "--unlocked", stdin=text).exit_code == 1


def test_code_that_leaves_a_call_out_says_where_it_stopped(offline: Shell) -> None:
    text = recorded(LEAVES, call("a-0"), call("b-0", 1, line=6), TaskCompleted(task="a-0"))
    told = json.loads(offline("replay", "-", "--unlocked", "-o", "json", stdin=text).stdout)
    assert told["divergence"]["got"] == "the code returned"
    assert told["divergence"]["expected"].startswith("b-0 as recorded: digest ")


WIDE = "def f(a, b):\n    def w():\n        print('begun')\n        rs = [a(n) for n in range(20)]\n        wait(*rs)\n        b('never')\n        return 1\n    return w\n"


def test_wide_decisions_prints_and_what_never_starts(offline: Shell) -> None:
    calls = [call(f"a-{n}", n, line=4) for n in range(20)]
    ends = [TaskCompleted(task=f"a-{n}") for n in range(20)]
    text = recorded(f"from flowy import wait\n{WIDE}", *calls, *ends)
    lines = offline.ok("replay", "-", "--unlocked", stdin=text).splitlines()
    assert lines.count("  prints   begun") == 2
    assert "  and for 10 more" in lines
    assert "  and 10 further outcomes" in lines
    assert lines[-1] == "  never starts   b-0: the code ended right after the call"


def test_an_end_that_is_not_the_codes_is_not_compared(offline: Shell) -> None:
    source = "def f(a, b):\n    return lambda: a()\n"
    cancelled = TaskCancelled(task="a-0", reason=CancelReason.WORKFLOW_ENDED)
    text = recorded(source, call("a-0", line=2), cancelled, reason="TimedOut")
    assert offline.ok("replay", "-", "--unlocked", stdin=text).splitlines()[-1] == "  line 2      waits for a-0"


def test_history_that_is_none_is_told(offline: Shell) -> None:
    text = recorded("def f(a, b):\n    return lambda: a()\n", TaskCompleted(task="a-0"))
    assert "contradicts the events before it" in offline.fails(2, "replay", "-", "--unlocked", stdin=text)
