"""The contract of an activity's container, on an unmodified image: what goes in, what comes out, what counts as failure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import BUSYBOX, shell, workflow

RETURNED = """
def w(t):
    def run(*args, **kwargs):
        return t(*args, **kwargs)
    return run
"""
CAUGHT = """
from flowy import TaskError

def w(t):
    def run(*args):
        try:
            return str(t(*args))
        except TaskError as error:
            return [error.type, error.message, error.exit_code, error.details, error.attempt]
    return run
"""
ODD = 'a "quoted" $HOME $(FLOWY_TASK) $$ `id` \\ ünïcode 🎬 \'; exit 7'


class Case(NamedTuple):
    script: str
    expected: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    words: tuple[str, ...] = ()
    source: str = RETURNED


CASES = {
    "nothing written is null": Case("true", None),
    "a result is any JSON value": Case("echo '{\"a\": [1, 2.5, null]}' > $FLOWY_RESULT_FILE", {"a": [1, 2.5, None]}),
    "integers of any size stay exact": Case(
        "echo 123456789012345678901234 > $FLOWY_RESULT_FILE", 123456789012345678901234
    ),
    "one byte less than Kubernetes keeps is a result": Case(
        "printf '\"%4093s\"' x > $FLOWY_RESULT_FILE", " " * 4092 + "x"
    ),
    "the input file holds all arguments": Case(
        "cat $FLOWY_INPUT_FILE > $FLOWY_RESULT_FILE",
        {"args": [1, "x", [None, ODD]], "kwargs": {"k": 2}},
        args=(1, "x", [None, ODD]),
        kwargs={"k": 2},
    ),
    "a string is a variable as it is": Case(
        "echo ${#FLOWY_ARG_0} > $FLOWY_RESULT_FILE", len(ODD.encode()), args=(ODD,)
    ),
    "a string is a word of the command as it is": Case(
        "echo ${#1} > $FLOWY_RESULT_FILE", len(ODD.encode()), args=(ODD,), words=("$(FLOWY_ARG_0)",)
    ),
    "other arguments are variables as JSON": Case(
        "echo $FLOWY_ARG_0 > $FLOWY_RESULT_FILE", {"n": [1, True]}, args=({"n": [1, True]},)
    ),
    "keyword arguments are variables": Case(
        'echo "\\"$FLOWY_KWARG_mode\\"" > $FLOWY_RESULT_FILE', "fast", kwargs={"mode": "fast"}
    ),
    "a task knows who it is": Case(
        'echo "\\"$FLOWY_WORKFLOW $FLOWY_TASK $FLOWY_ATTEMPT\\"" > $FLOWY_RESULT_FILE', "a-task-knows-who-it-is t-0 1"
    ),
    "an exit code fails the task": Case("exit 3", ["Error", "exit code 3, and no message", 3, None, 1], source=CAUGHT),
    "the last log lines are the message": Case(
        "echo first; echo last; exit 1", ["Error", "first\nlast", 1, None, 1], source=CAUGHT
    ),
    "plain text is the message": Case(
        "echo no luck > $FLOWY_RESULT_FILE; exit 1", ["Error", "no luck", 1, None, 1], source=CAUGHT
    ),
    "an error object has type and message and details": Case(
        'echo \'{"error": {"type": "Empty", "message": "no film", "details": {"n": 1}}}\' > $FLOWY_RESULT_FILE; exit 9',
        ["Empty", "no film", 9, {"n": 1}, 1],
        source=CAUGHT,
    ),
    "a signal is named": Case(
        "exit 137", ["Error", "exit code 137 (signal 9), and no message", 137, None, 1], source=CAUGHT
    ),
    "a result that is no JSON fails the task": Case(
        "echo '{\"half\": ' > $FLOWY_RESULT_FILE",
        [
            "ResultInvalid",
            "the result is no JSON: Expecting value: line 2 column 1 (char 10); it begins '{\"half\": \\n'",
            0,
            None,
            1,
        ],
        source=CAUGHT,
    ),
    "two results are refused": Case(
        "echo 1 > $FLOWY_RESULT_FILE; echo 2 >> $FLOWY_RESULT_FILE",
        [
            "ResultInvalid",
            "the result is no JSON: Extra data: line 2 column 1 (char 2); it begins '1\\n2\\n'",
            0,
            None,
            1,
        ],
        source=CAUGHT,
    ),
    "NaN is refused": Case(
        "echo '[1, NaN]' > $FLOWY_RESULT_FILE",
        ["ResultInvalid", "the result is no JSON: NaN is no JSON number; it begins '[1, NaN]\\n'", 0, None, 1],
        source=CAUGHT,
    ),
    "a number beyond all floats is refused": Case(
        "echo 1e999 > $FLOWY_RESULT_FILE",
        ["ResultInvalid", "the result is no JSON: Out of range float values are not JSON compliant", 0, None, 1],
        source=CAUGHT,
    ),
    "binary is refused": Case(
        "printf '\\377\\376\\000\\001\\200' > $FLOWY_RESULT_FILE",
        ["ResultInvalid", "the result is no JSON: Expecting value: line 1 column 1 (char 0); it begins", 0, None, 1],
        source=CAUGHT,
    ),
    "binary in the words of a failure is no harm": Case(
        "printf 'bad \\377\\376\\033[31m' > $FLOWY_RESULT_FILE; exit 1", ["Error", "bad ", 1, None, 1], source=CAUGHT
    ),
    "nesting beyond the limit is refused": Case(
        "printf '[%.0s' $(seq 201) > $FLOWY_RESULT_FILE; printf ']%.0s' $(seq 201) >> $FLOWY_RESULT_FILE",
        ["ResultInvalid", "the result has more than 200 levels; it begins '[[[", 0, None, 1],
        source=CAUGHT,
    ),
    "nesting beyond every parser is refused": Case(
        "head -c 4000 /dev/zero | tr '\\0' '[' > $FLOWY_RESULT_FILE",
        ["ResultInvalid", "the result is ", 0, None, 1],
        source=CAUGHT,
    ),
    "of a key that comes twice the last one counts": Case('echo \'{"a": 1, "a": 2}\' > $FLOWY_RESULT_FILE', {"a": 2}),
    "an error of another form is text": Case(
        'echo \'{"error": "no"}\' > $FLOWY_RESULT_FILE; exit 1',
        ["Error", '{"error": "no"}', 1, None, 1],
        source=CAUGHT,
    ),
    "a result that may be cut is refused": Case(
        "head -c 10000000 /dev/zero | tr '\\0' 7 > $FLOWY_RESULT_FILE",
        [
            "ResultTooLong",
            "the result fills all of the 4,096 bytes that Kubernetes keeps of it and may be cut: write less than that",
            0,
            None,
            1,
        ],
        source=CAUGHT,
    ),
}


def _name(sentence: str) -> str:
    return sentence.lower().replace(" ", "-")[:50].rstrip("-")


@pytest.fixture(scope="module")
def ended(served: Kube) -> dict[str, dict[str, Any]]:
    """The ended workflows of all cases, by their sentence; they run at once."""
    for sentence, case in CASES.items():
        task = shell("t", case.script, *case.words)
        served.apply(workflow(_name(sentence), case.source, [task], *case.args, kwargs=case.kwargs))
    return {sentence: served.wait_end(_name(sentence), 240) for sentence in CASES}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sentence", CASES)
def test_contract(sentence: str, ended: dict[str, dict[str, Any]]) -> None:
    got, expected = result(ended[sentence]), CASES[sentence].expected
    if CASES[sentence].source == CAUGHT:
        # Where the node's own bytes or Python's words follow, only the beginning of the message is given.
        assert got[1].startswith(expected[1])
        got, expected = [got[0], *got[2:]], [expected[0], *expected[2:]]
    assert got == expected


def test_pod_is_locked_down_unless_the_template_says_otherwise(served: Kube) -> None:
    template = {
        "metadata": {"labels": {"team": "media"}},
        "spec": {
            "restartPolicy": "Always",  # the operator insists on Never
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": BUSYBOX, "securityContext": {"runAsUser": 1234}}],
        },
    }
    task = {"name": "t", "activity": {"command": ["id", "-u"], "template": template}}
    served.apply(workflow("locked", RETURNED, [task]))
    served.wait_end("locked")
    (pod,) = served.list("pods", "flowy.dev/workflow=locked")
    (main,) = pod["spec"]["containers"]
    assert pod["metadata"]["labels"]["team"] == "media"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsUser": 1234,
    }
    (job,) = served.list("jobs", "flowy.dev/workflow=locked")
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Workflow", "locked", True)
    assert job["spec"]["backoffLimit"] == 0


def test_arguments_too_long_for_a_variable_are_in_the_file(served: Kube) -> None:
    text = "x" * 40_000
    script = 'echo "[${#FLOWY_ARG_0}, $(wc -c < /flowy/input.json)]" > $FLOWY_RESULT_FILE'
    served.apply(workflow("long", RETURNED, [shell("t", script)], text))
    assert result(served.wait_end("long")) == [0, len(text) + len('{"args":[""],"kwargs":{}}')]


def test_a_word_that_names_a_left_out_argument_is_refused(served: Kube) -> None:
    served.apply(workflow("left-out", RETURNED, [shell("t", "true", "$(FLOWY_ARG_0)")], "x" * 40_000))
    body = served.wait_end("left-out")
    (failed,) = events(body, "TaskFailed")
    assert failed["class"] == "Invalid"
    assert "$(FLOWY_ARG_0) in the activity is not set" in failed["error"]["message"]
    assert "/flowy/input.json" in condition(body, "Succeeded")[2]
    assert not served.list("jobs", "flowy.dev/workflow=left-out")
