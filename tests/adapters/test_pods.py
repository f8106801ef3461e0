"""Pods of the API -> PodRecord."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.adapters.pods import parse_pod
from flowy_operator.core.records import PodRecord
from flowy_operator.core.sentences import SHOWN_CHARS
from tests.adapters.objects import spoiled

Json = dict[str, Any]

START = "2026-11-24T10:00:00Z"
END = "2026-11-24T10:00:05Z"


def pod(
    *,
    phase: str = "Running",
    main: Json | None = None,
    statuses: list[Json] | None = None,
    inits: list[Json] | None = None,
    spec: Json | None = None,
    metadata: Json | None = None,
    **status: Any,
) -> Json:
    return {
        "metadata": {
            "namespace": "ns",
            "name": "p",
            "uid": "u-p",
            "resourceVersion": "12",
            "labels": {"flowy.dev/workflow": "w"},
            "ownerReferences": [{"kind": "Job", "name": "j", "uid": "u-j", "controller": True}],
            **(metadata or {}),
        },
        "spec": {"nodeName": "n", "containers": [{"name": "main", "image": "busybox:1"}], **(spec or {})},
        "status": {
            "phase": phase,
            "containerStatuses": statuses if statuses is not None else [container("main", main)],
            **({"initContainerStatuses": inits} if inits else {}),
            **status,
        },
    }


def container(name: str, state: Json | None, image: str = "docker.io/library/busybox:1") -> Json:
    return {"name": name, "image": image, "state": state or {}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int = 0, **fields: Any) -> Json:
    return {"terminated": {"exitCode": code, "startedAt": START, "finishedAt": END, **fields}}


def condition(type_: str, status: str, reason: str, message: str = "") -> Json:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def fields(found: Json) -> Json:
    record = parse_pod(found)
    assert record is not None
    return {name: getattr(record, name) for name in PodRecord.__dataclass_fields__}


def test_everything_of_an_activity_that_ended() -> None:
    found = pod(
        phase="Failed",
        main=ended(3, reason="Error", message='{"a": 1}'),
        message="why",
        spec={"initContainers": [{"name": "fetch"}]},
        metadata={"deletionTimestamp": START},
    )

    assert parse_pod(found) == PodRecord(
        namespace="ns",
        name="p",
        uid="u-p",
        resource_version=12,
        workflow="w",
        job="j",
        job_uid="u-j",
        phase="Failed",
        containers=2,
        node="n",
        started_at=datetime(2026, 11, 24, 10, tzinfo=UTC),
        finished_at=datetime(2026, 11, 24, 10, 0, 5, tzinfo=UTC),
        exit_code=3,
        reason="Error",
        message='{"a": 1}',
        pod_message="why",
        deleting=True,
    )


def test_running_activity_has_a_start_and_no_end() -> None:
    found = fields(pod(main={"running": {"startedAt": START}}))

    assert found["started_at"] == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert (found["finished_at"], found["exit_code"], found["waiting"]) == (None, None, None)


def test_first_container_counts_where_none_is_called_main() -> None:
    spec = {"containers": [{"name": "one"}, {"name": "two"}]}
    statuses = [container("two", ended(7)), container("one", ended(0))]

    found = fields(pod(phase="Failed", spec=spec, statuses=statuses))

    assert (found["exit_code"], found["other_failure"]) == (0, "two: exit code 7")


def test_job_is_the_controller_and_nothing_else() -> None:
    owners = [
        {"kind": "Job", "name": "x", "uid": "u"},
        {"kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True},
    ]

    found = fields(pod(metadata={"ownerReferences": owners}))

    assert (found["job"], found["job_uid"]) == (None, None)


UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available:\n 3 Insufficient cpu.")
PULL = "image can't be pulled: busybox:1"
NO_HOST = "dial tcp: lookup registry.example: no such host"
UNPULLED = (
    'failed to pull and unpack image "docker.io/library/busybox:1": failed to resolve reference'
    f' "docker.io/library/busybox:1": {NO_HOST}'
)
HEX = "3f4a9c0d1e2b3f4a9c0d1e2b3f4a9c0d1e2b3f4a9c0d1e2b3f4a9c0d1e2b3f4a"

WAITS = {
    "nothing is known yet": (pod(phase="Pending"), None),
    "no node has room": (
        pod(phase="Pending", statuses=[], conditions=[UNSCHEDULABLE]),
        "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
    ),
    "the condition says nothing": (
        pod(phase="Pending", statuses=[], conditions=[{"type": "PodScheduled", "status": "False"}]),
        "Unschedulable",
    ),
    "a gate holds it back": (
        pod(phase="Pending", statuses=[], conditions=[condition("PodScheduled", "False", "SchedulingGated", "by x")]),
        "SchedulingGated: by x",
    ),
    "it is scheduled": (
        pod(phase="Pending", conditions=[condition("PodScheduled", "True", "")], main=waiting("ContainerCreating")),
        None,
    ),
    "init containers run": (pod(phase="Pending", main=waiting("PodInitializing")), None),
    "the image isn't there": (pod(phase="Pending", main=waiting("ErrImagePull", UNPULLED)), f"{PULL}: {NO_HOST}"),
    "the image still isn't there, in the same words": (
        pod(
            phase="Pending", main=waiting("ImagePullBackOff", f'Back-off pulling image "b:1": ErrImagePull: {UNPULLED}')
        ),
        f"{PULL}: {NO_HOST}",
    ),
    "the image still isn't there, says a kubelet before 1.31": (
        pod(phase="Pending", main=waiting("ImagePullBackOff", 'Back-off pulling image "busybox:1"')),
        PULL,
    ),
    "the image may not be had, says another runtime": (
        pod(
            phase="Pending", main=waiting("ErrImagePull", "rpc error: code = Unknown desc = unauthorized: who are you?")
        ),
        f"{PULL}: unauthorized: who are you?",
    ),
    "ports change at each try": (
        pod(phase="Pending", main=waiting("ErrImagePull", "read tcp 10.0.0.7:43210->203.0.113.9:443: i/o timeout")),
        f"{PULL}: read tcp 203.0.113.9:443: i/o timeout",
    ),
    "it runs, and is being deleted": (
        pod(main={"running": {"startedAt": START}}, metadata={"deletionTimestamp": START}),
        "deleted, and node n hasn't said yet that it has stopped",
    ),
    "its node got a taint and doesn't answer": (
        pod(
            main={"running": {"startedAt": START}},
            metadata={"deletionTimestamp": START},
            conditions=[condition("DisruptionTarget", "True", "DeletionByTaintManager", "Taint manager: deleting ...")],
        ),
        "DeletionByTaintManager, and node n hasn't said yet that it has stopped",
    ),
    "it was deleted before it had a node": (
        pod(phase="Pending", statuses=[], spec={"nodeName": None}, metadata={"deletionTimestamp": START}),
        None,
    ),
    "it was deleted and has stopped": (
        pod(phase="Failed", main=ended(143), metadata={"deletionTimestamp": START}),
        None,
    ),
    "the image's name is no name": (
        pod(phase="Pending", main=waiting("InvalidImageName", "couldn't parse X:")),
        "InvalidImageName: couldn't parse X",
    ),
    "a secret isn't there": (
        pod(phase="Pending", main=waiting("CreateContainerConfigError", 'secret "s" not found')),
        'CreateContainerConfigError: secret "s" not found',
    ),
    "ids change at each try": (
        pod(phase="Pending", main=waiting("CreateContainerError", f'name is reserved for "{HEX}"')),
        'CreateContainerError: name is reserved for "…"',
    ),
    "an init container's image isn't there": (
        pod(
            phase="Pending",
            main=waiting("PodInitializing"),
            inits=[container("fetch", waiting("ErrImagePull"), "git:2")],
            spec={"initContainers": [{"name": "fetch", "image": "git:2"}]},
        ),
        "image can't be pulled: git:2",
    ),
    "an init container fails again and again": (
        pod(
            phase="Pending",
            main=waiting("PodInitializing"),
            inits=[container("fetch", waiting("CrashLoopBackOff", "back-off 40s restarting"))],
        ),
        "CrashLoopBackOff: container fetch",
    ),
    "a sidecar waits while the activity runs": (
        pod(statuses=[container("main", {"running": {"startedAt": START}}), container("s", waiting("ErrImagePull"))]),
        None,
    ),
    "it has failed before it could start": (pod(phase="Failed", main=waiting("ErrImagePull")), None),
}


@pytest.mark.parametrize(("found", "expected"), WAITS.values(), ids=WAITS)
def test_what_it_waits_for(found: Json, expected: str | None) -> None:
    assert fields(found)["waiting"] == expected


def test_long_wait_is_cut() -> None:
    found = pod(phase="Pending", statuses=[], conditions=[UNSCHEDULABLE | {"message": "node " * 1000}])

    line = fields(found)["waiting"]

    assert (len(line), line[-1]) == (SHOWN_CHARS, "…")


TARGET = condition("DisruptionTarget", "True", "EvictionByEvictionAPI")

DISRUPTIONS = {
    "evicted by the API, still running": (pod(conditions=[TARGET]), "EvictionByEvictionAPI"),
    "preempted, ended": (
        pod(phase="Failed", conditions=[TARGET | {"reason": "PreemptionByScheduler"}], main=ended(137)),
        "PreemptionByScheduler",
    ),
    "the condition comes first": (pod(phase="Failed", reason="Evicted", conditions=[TARGET]), "EvictionByEvictionAPI"),
    "spared after all": (pod(conditions=[TARGET | {"status": "False"}]), None),
    "the condition gives no reason": (
        pod(conditions=[{"type": "DisruptionTarget", "status": "True"}]),
        "DisruptionTarget",
    ),
    "the node was short of memory": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        "Evicted",
    ),
    "it overran its own disk limit": (
        pod(phase="Failed", reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit …"),
        None,
    ),
    "it overran its own volume": (
        pod(phase="Failed", reason="Evicted", message='Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
        None,
    ),
    "the node was shut down": (pod(phase="Failed", reason="Terminated"), "NodeShutdown"),
    "the node was lost": (pod(phase="Failed", reason="NodeLost"), "NodeLost"),
    "the node had no room after all": (pod(phase="Failed", reason="OutOfcpu"), "OutOfcpu"),
    "the node's label had changed": (pod(phase="Failed", reason="NodeAffinity"), "NodeAffinity"),
    "the node couldn't admit it": (pod(phase="Failed", reason="UnexpectedAdmissionError"), "UnexpectedAdmissionError"),
    "the kubelet did it, and its reason says what": (
        pod(phase="Failed", reason="Evicted", conditions=[TARGET | {"reason": "TerminationByKubelet"}]),
        "Evicted",
    ),
    "the kubelet did it, and doesn't say what": (
        pod(conditions=[TARGET | {"reason": "TerminationByKubelet"}]),
        "TerminationByKubelet",
    ),
    "nobody saw the container end": (
        pod(phase="Failed", main=ended(137, reason="ContainerStatusUnknown")),
        "ContainerStatusUnknown",
    ),
    "nobody saw another container end": (
        pod(phase="Failed", statuses=[container("main", ended(1)), container("s", ended(255, reason="Unknown"))]),
        None,
    ),
    "nobody saw it end, but it overran its own disk limit": (
        pod(
            phase="Failed",
            main=ended(137, reason="ContainerStatusUnknown"),
            reason="Evicted",
            message="Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
        ),
        None,
    ),
    "nobody saw it end, but the pod goes on": (pod(main=ended(137, reason="ContainerStatusUnknown")), None),
    "its own deadline": (pod(phase="Failed", reason="DeadlineExceeded"), None),
    "a reason, but running": (pod(reason="NodeLost"), None),
    "killed for its memory": (pod(phase="Failed", main=ended(137, reason="OOMKilled")), None),
}


@pytest.mark.parametrize(("found", "expected"), DISRUPTIONS.values(), ids=DISRUPTIONS)
def test_whose_fault_it_is(found: Json, expected: str | None) -> None:
    assert fields(found)["disruption"] == expected


FAILURES = {
    "an init container": (pod(inits=[container("fetch", ended(2))]), "fetch: exit code 2"),
    "another container": (pod(statuses=[container("main", ended(0)), container("log", ended(1))]), "log: exit code 1"),
    "an init container, with words": (
        pod(inits=[container("fetch", ended(2, reason="Error", message="no such\nrepository\n"))]),
        "fetch: exit code 2: no such repository",
    ),
    "an init container that ran out of memory": (
        pod(inits=[container("fetch", ended(137, reason="OOMKilled"))]),
        "fetch: exit code 137, OOMKilled",
    ),
    "the activity itself": (pod(main=ended(1)), None),
    "a sidecar, stopped at the end": (
        pod(
            inits=[container("proxy", ended(143))],
            spec={"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
        ),
        None,
    ),
    "none": (pod(statuses=[container("main", ended(0)), container("log", ended(0))]), None),
}


@pytest.mark.parametrize(("found", "expected"), FAILURES.values(), ids=FAILURES)
def test_failure_of_another_container(found: Json, expected: str | None) -> None:
    assert fields(found)["other_failure"] == expected


NONE_OF_OURS = {
    "without our label": pod(metadata={"labels": {}}),
    "without any label": pod(metadata={"labels": None}),
    "without a name": pod(metadata={"name": None}),
    "without a uid": pod(metadata={"uid": 5}),
    "with an odd version": pod(metadata={"resourceVersion": "x"}),
    "no Pod at all": {},
}


@pytest.mark.parametrize("found", NONE_OF_OURS.values(), ids=NONE_OF_OURS)
def test_object_that_is_none_of_ours_gives_no_record(found: Json) -> None:
    assert parse_pod(found) is None


@given(st.data())
def test_no_odd_field_raises(data: st.DataObject) -> None:
    full = pod(
        main=waiting("ErrImagePull"),
        inits=[container("fetch", ended(2))],
        spec={"initContainers": [{"name": "fetch", "restartPolicy": "Always"}]},
        conditions=[TARGET, UNSCHEDULABLE],
        reason="Evicted",
    )

    assert isinstance(parse_pod(data.draw(spoiled(full))), PodRecord | None)
