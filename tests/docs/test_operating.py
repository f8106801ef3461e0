"""The page for whoever runs the operator: its settings, rights and limits are those of the code."""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy.policy.retry import MAX_LAUNCHES
from flowy.wire import values
from flowy.wire.messages import MAX_LOG_BYTES, Request
from flowy_operator import adapters, app
from flowy_operator.adapters.crd import model, rules
from flowy_operator.adapters.crd.shape import MAX_JSON, MAX_SECONDS
from flowy_operator.adapters.decider import zygote
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.staying import Fate
from flowy_operator.adapters.decider.verdict import End
from flowy_operator.adapters.gateway import connections, server, tokens, uploads
from flowy_operator.adapters.lease import lease
from flowy_operator.adapters.metrics import Metrics, Outcome, Snapshot, TaskEnd
from flowy_operator.app import assembly, decisions, leadership
from flowy_operator.app.cli import decider, run
from flowy_operator.app.settings import PREFIX, Settings
from flowy_operator.core import pages
from flowy_operator.core.history import Chain, Event, Fact, TaskCompleted, TaskScheduled, event_line
from flowy_operator.core.job import ANNOTATED_BYTES, VARIABLE_BYTES, VARIABLES_BYTES
from flowy_operator.core.outcome import MESSAGE_BYTES
from flowy_operator.core.pages import PageLimits
from flowy_operator.core.spec import DEFAULT_PARALLELISM
from flowy_operator.core.values import INLINE_BYTES
from tests.builders import DIGEST, START
from tests.docs.pages import blocks, codes, page, rows, section

PAGE = "operating.md"


def test_the_settings_are_those_of_the_code() -> None:
    listed = {codes(variable)[0]: (codes(flag)[0], default) for flag, variable, default, _ in _settings_rows()}
    assert set(listed) == {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    flags = {option for parameter in run.params for option in parameter.opts}
    assert {flag for flag, _ in listed.values()} == flags
    for name, field in Settings.model_fields.items():
        default = listed[f"{PREFIX}{name.upper()}"][1]
        is_none = field.default is None or field.default == ()
        assert default == ("none" if is_none else str(field.default)), name


def test_the_bounds_of_the_settings_are_those_of_the_code() -> None:
    meanings = {codes(variable)[0]: meaning for _, variable, _, meaning in _settings_rows()}
    for name, field in Settings.model_fields.items():
        bounds = {type(bound).__name__: bound for bound in field.metadata}
        if "Ge" in bounds:
            said = f"{bounds['Ge'].ge:,} to {bounds['Le'].le:,}"
            assert said in meanings[f"{PREFIX}{name.upper()}"], name


def _settings_rows() -> list[list[str]]:
    return rows(section(PAGE, "Settings"))


# -- rights -----------------------------------------------------------------------------------------------------------

_VERBS = {"json_patch": "patch", "get_end": "get", "list_some": "list", "list_metadata": "list"}
_RESOURCES = {"workflow_status": "workflows/status", "pod_log": "pods/log"}
_CALL = re.compile(
    r"client\.(get|get_end|list|list_some|list_metadata|create|json_patch|delete|watch)\(\s*(?:paths\.)?(\w+)\("
)
_REFLECTED = re.compile(r"Reflector\(\s*client,\s*paths\.(\w+),")


def granted() -> set[tuple[str, str]]:
    found: list[Any] = [yaml.safe_load(block.text) for block in blocks(PAGE, "yaml")]
    rules = [rule for role in found if isinstance(role, dict) for rule in role.get("rules", ())]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def used() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = {("list", "workflows"), ("watch", "workflows")}  # by kopf
    found.add(("update", "workflows/finalizers"))  # by an admission plugin, for what it makes
    for package in (adapters, app):
        for path in Path(package.__path__[0]).rglob("*.py"):
            text = path.read_text()
            for verb, resource in _CALL.findall(text):
                # Discovery; and what is a courtesy to those who may do anything, as from a desk.
                if resource not in {"flowy_group", "namespaces"}:
                    found.add((_VERBS.get(verb, verb), _RESOURCES.get(resource, resource)))
            for resource in _REFLECTED.findall(text):
                found |= {("list", resource), ("watch", resource)}
    return found


def test_the_rights_are_those_that_the_code_uses() -> None:
    assert granted() == used()


def test_each_right_says_what_it_is_for() -> None:
    explained: list[tuple[str, str]] = []
    for right, meaning, *_ in rows(section(PAGE, "Rights")):
        verbs = right.partition(": ")[2]
        explained += [(verb, codes(right)[0]) for verb in verbs.split(", ")]
        assert meaning
    assert sorted(explained) == sorted(granted())


# -- metrics ----------------------------------------------------------------------------------------------------------

_SUFFIX = {"counter": "_total"}


def test_the_metrics_are_those_of_the_code() -> None:
    listed = {codes(name)[0]: (codes(labels), kind) for name, labels, kind, _ in _metric_rows()}
    metrics = Metrics(lambda: FULL)
    _use_all(metrics)
    body, _ = metrics.text()
    exported = {}
    for family in text_string_to_metric_families(body.decode()):
        if not family.name.startswith("process_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            exported[family.name + _SUFFIX.get(family.type, "")] = (labels, family.type)
    assert {name: (set(labels), kind) for name, (labels, kind) in listed.items()} == exported


def test_the_words_of_the_labels_are_those_of_the_code() -> None:
    meanings = {codes(name)[0]: set(codes(meaning)) for name, _, _, meaning in _metric_rows()}
    assert meanings["flowy_tasks_total"] == set(TaskEnd)
    assert meanings["flowy_reconcile_seconds"] == set(Outcome)
    assert meanings["flowy_decision_seconds"] == set(End)
    assert meanings["flowy_staying_children_total"] == set(Fate)
    assert server.OTHER_PATH in meanings["flowy_gateway_calls_total"]


def test_the_alerts_name_metrics_that_there_are() -> None:
    names = {codes(name)[0] for name, *_ in _metric_rows()}
    text = section(PAGE, "Health and metrics")
    _, _, alerts = text.partition("Worth an alert")
    for word in codes(alerts):
        if word.startswith("flowy_"):
            assert re.sub(r"_count|\{.*", "", word) in names, word


FULL = Snapshot(
    leads={0: True},
    stalled={"HistoryFull": 1},
    foreign={"Job": 1},
    api_calls={("get", "jobs", 200): 1},
    watch_restarts={("jobs", "error"): 1},
)


def _use_all(metrics: Metrics) -> None:
    """Everything once: labels show only then."""
    metrics.decided(End.ANSWERED, 0)
    metrics.stayed("evicted")
    metrics.ended("Completed")
    metrics.stalled("HistoryFull")
    metrics.answered("/heartbeat", 200)


def _metric_rows() -> list[list[str]]:
    return [row for row in rows(section(PAGE, "Health and metrics")) if len(row) == 4]


# -- the decider's container ------------------------------------------------------------------------------------------


def test_the_pod_in_the_page_keeps_the_two_containers_apart() -> None:
    pod = yaml.safe_load(next(block.text for block in blocks(PAGE, "yaml") if "initContainers" in block.text))
    (ours,), (beside,) = pod["containers"], pod["initContainers"]
    assert ours["image"] == beside["image"]
    assert beside["restartPolicy"] == "Always"
    words, options = ours["args"], beside["args"]
    assert (words[0], options[0]) == ("run", "decider")
    given = run.make_context("run", words[1:]).params
    served = decider.make_context("decider", options[1:]).params
    assert given["decider_socket"] == served["socket_path"]
    assert served["shadow"]
    assert Settings().shadow_share > 0
    users = {container["securityContext"]["runAsUser"] for container in (ours, beside)}
    assert len(users) == 2
    assert 0 not in users
    mounts = [
        {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} for container in (ours, beside)
    ]
    assert mounts[1] == {"decider": str(Path(served["socket_path"]).parent)}
    assert mounts[0] == mounts[1] | {"token": "/var/run/secrets/kubernetes.io/serviceaccount"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["fsGroup"]


def test_what_the_page_says_of_the_deciders_container() -> None:
    text = section(PAGE, "The decider in a container of its own")
    for parameter in decider.params:
        assert f"`{parameter.opts[0]}" in text or f"decider {parameter.opts[0]}" in text
    assert f"After {Limits().back_s:g} s a workflow" in text
    assert f"tried again\nevery {decisions.UNAVAILABLE_AGAIN_S:g} s" in text
    assert oct(zygote._FOR_GROUP).removeprefix("0o") in text


# -- limits -----------------------------------------------------------------------------------------------------------


def _bound(shape: Any, field: str, kind: str) -> Any:
    """A bound from the generated CRD's source, wherever pydantic keeps it."""
    schema = shape.model_json_schema()["properties"][field]
    for option in (schema, *schema.get("anyOf", ())):
        if kind in option:
            return option[kind]
    raise AssertionError(f"{field} has no {kind}")


def test_the_limits_are_those_of_the_code() -> None:
    limits = Limits()
    text = section(PAGE, "Limits")
    request = Request(source="", entrypoint=None, tasks=(), input="{}")
    expected = [
        f"| name of a Workflow | {rules.MAX_WORKFLOW_NAME} characters",
        f"| `source` | {model.MAX_SOURCE:,} characters and bytes",
        f"| input: `args`, `kwargs` | {_bound(model.Input, 'args', 'maxItems'):,} each",
        f"| input as `json` | {MAX_JSON:,} characters",
        f"| tasks in `spec.tasks` | {model.MAX_TASKS} |",
        f"| name of a task | {_bound(model.Task, 'name', 'maxLength')} characters",
        f"`parallelism`, {DEFAULT_PARALLELISM:,} unless set, at most {_bound(model.Spec, 'parallelism', 'maximum'):,}",
        f"| new calls of one decision | {request.max_calls:,} |",
        f"| arguments of a call | {MAX_VALUE_BYTES:,} bytes",
        f"| arguments in an annotation of the pod | {ANNOTATED_BYTES:,} bytes",
        f"| arguments of new calls in one decision | {request.max_bytes:,} bytes",
        f"| {VARIABLE_BYTES:,} bytes, {VARIABLES_BYTES:,} together",
        f"| result by the file | {MESSAGE_BYTES - 1:,} bytes",
        f"| result by the log | {MAX_VALUE_BYTES:,} bytes",
        f"| result of a workflow | {MAX_VALUE_BYTES:,} bytes",
        f"| arguments of `restart` | {MAX_VALUE_BYTES:,} bytes, and {pages.EVENT_BYTES:,} as the history quotes them",
        f"| result that stands in the history | {INLINE_BYTES:,} bytes",
        f"| depth of a value | {values.MAX_LEVELS} levels",
        f"| history of one run | `history-run-bytes`, {PageLimits().run_bytes:,} bytes",
        f"| what one `stop: Cancel` cancels | {pages.TAIL_BYTES:,} bytes of history",
        f"| history of the run before a `restart` | {pages.KEPT_RUN_BYTES:,} bytes",
        f"source, input, results | {limits.request_bytes:,} bytes",
        f"new calls, or the result | {limits.answer_bytes:,} bytes",
        f"| printed text of a decision | {MAX_LOG_BYTES:,} bytes",
        f"| attempts of a task | {_bound(model.Retry, 'maxAttempts', 'maximum')} |",
        f"| launches of one attempt | {MAX_LAUNCHES} |",
        f"| any duration | {MAX_SECONDS:,} seconds",
        f"| `decisionSeconds` | {_bound(model.WorkflowTimeouts, 'decisionSeconds', 'maximum')} seconds",
    ]
    assert [said for said in expected if said not in text] == []
    assert limits.source_bytes == model.MAX_SOURCE
    assert limits.children + limits.new_children + limits.slow_children == 4 * len(os.sched_getaffinity(0))
    assert len(rows(text)) == len(expected) + 1  # and Kubernetes' own
    assert assembly.GRACE_S + leadership.LAST_S + lease.LAST_S < 5


def test_the_gateways_limits_are_those_of_the_code() -> None:
    text = section(PAGE, "The gateway")
    expected = [
        f"| calls of one pod | {server.PER_POD_S:.0f} a second, after the first {server.BURST} |",
        f"| calls of one pod at once | {server.AT_ONCE} |",
        f"| {server.PER_NAMESPACE_S:,.0f} a second, after the first {server.NAMESPACE_BURST:,} |",
        f"| a call, body and all, but for an upload | {connections.ANSWER_S:.0f} seconds |",
        f"| an upload | {uploads.UPLOAD_S:.0f} seconds |",
        f"| uploads of one pod | one in {1 / uploads.PER_POD_S:.0f} seconds, after the first {uploads.BURST} |",
        "| uploads of one pod at once | 1 |",
        f"| uploads at once | {uploads.AT_ONCE}, of one namespace {uploads.OF_A_NAMESPACE} |",
        f"| wrong tokens of one address and pod | {tokens.BAD_PER_POD} in {tokens.BAD_S:.0f} seconds |",
        f"by pods that were never heard there | {tokens.BAD_UNPROVEN} in {tokens.BAD_S:.0f} seconds |",
    ]
    assert [said for said in expected if said not in text] == []
    assert len(rows(text)) == len(expected)
    assert f"at most {connections.CONNECTIONS:,}, and {connections.CONNECTIONS_PER_ADDRESS} of one" in text


def test_what_a_task_takes_of_the_history() -> None:
    small = _size(result='"media/film.mp4"')
    assert 250 <= small <= 300
    most = PageLimits().run_bytes
    assert 28_000 <= most / small <= 34_000
    assert 1850 <= most / _size(result="1" * (MESSAGE_BYTES - 1)) <= 1950
    assert "about 30,000 tasks" in page(PAGE)
    assert "about 1,900" in page(PAGE)


def test_where_no_page_can_be_made_the_status_is_the_limit() -> None:
    assert f"whole in the status, up to {pages.TAIL_BYTES:,} bytes" in page(PAGE)


def _size(result: str) -> int:
    facts: list[Fact] = [
        TaskScheduled(task="encode-117", digest=DIGEST, line=12),
        TaskCompleted(task="encode-117", result=result, started_at=START, node="worker-3"),
    ]
    return Chain().over(event_line(Event(100 + n, START, fact)) for n, fact in enumerate(facts)).size
