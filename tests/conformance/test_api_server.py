"""What the tests believe of an API server, asked of the fake one and of the real one: neither may drift from the other."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration

from flowy_operator.adapters.kube import errors, paths
from flowy_operator.adapters.kube.client import KubeClient, WatchEvent
from tests.chaos import etcd
from tests.cluster import cluster
from tests.e2e.kube import install_crds
from tests.fakes.api import Api
from tests.fakes.faults import Delay, Faults, Rule
from tests.fakes.server import serve
from tests.fakes.store import Json

SPEC = {
    "code": {"source": "def w(step):\n    return step\n"},
    "tasks": [{"name": "step", "activity": {"image": "busybox"}}],
    "suspend": True,
}
COLLECTED_WITHIN_S = 60.0
FORGOTTEN_WITHIN_S = 60.0
OURS = {"ours": "yes"}
"""A namespace has ConfigMaps of others."""


@dataclass(frozen=True, slots=True)
class Server:
    client: KubeClient
    namespace: str
    forget: Callable[[], None]
    """Lose what was before now, as each API server has etcd do every five minutes."""

    async def token(self, pod: Json, *audiences: str) -> str:
        """Of the namespace's default account, bound to this pod as the kubelet does it for a volume."""
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default/token"
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        spec = {"audiences": list(audiences), "expirationSeconds": 600, "boundObjectRef": bound}
        return str((await self.client.create(path, {**kind, "spec": spec}))["status"]["token"])

    async def review(self, token: str, *audiences: str) -> Json:
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        body = {**kind, "spec": {"token": token, "audiences": list(audiences)}}
        return dict((await self.client.create(paths.tokenreviews(), body))["status"])

    async def pod(self, name: str, **spec: Any) -> Json:
        """One that never gets a node, if nothing else is said."""
        containers = [{"name": "main", "image": "busybox"}]
        spec = {"containers": containers, "schedulingGates": [{"name": "flowy.dev/never"}], **spec}
        return await self.client.create(paths.pods(self.namespace), {"metadata": {"name": name}, "spec": spec})

    async def config_map(self, name: str, **metadata: Any) -> Json:
        body = {"metadata": {"name": name, **metadata}, "data": {"a": "1"}}
        return await self.client.create(paths.configmaps(self.namespace), body)

    async def workflow(self, name: str = "w") -> Json:
        return await self.client.create(
            paths.workflows(self.namespace), {"metadata": {"name": name}, "spec": SPEC, **KIND}
        )

    async def merge_patch(self, path: str, body: Json) -> Json:
        return await self.client._call("patch", "PATCH", path, body=body, content_type="application/merge-patch+json")

    async def events(self, count: int, after: str, *, labels: str | None = None) -> list[WatchEvent]:
        """The next events of ConfigMaps, bookmarks left out."""
        seen: list[WatchEvent] = []
        watch = self.client.watch(
            paths.configmaps(self.namespace), resource_version=after, label_selector=labels, timeout_s=20
        )
        async with aclosing(watch) as events:
            async for event in events:
                seen += [event] if event.type != "BOOKMARK" else []
                if len(seen) == count:
                    return seen
        raise AssertionError(f"only {seen}")


KIND = {"apiVersion": "flowy.dev/v1alpha1", "kind": "Workflow"}


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    path = cluster.up()
    install_crds(path)
    return path


@pytest.fixture(params=["fake", "slow", pytest.param("real", marks=pytest.mark.cluster)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """The fake one, the fake one with latency, by which calls made at once are done in another order, and the real one."""
    if request.param != "real":
        slow = [Rule(Delay(seconds), times=sys.maxsize, chance=0.5) for seconds in (0.003, 0.02)]
        api = Api(faults=Faults(rules=slow if request.param == "slow" else []))
        async with serve(api) as url, KubeClient(Configuration(host=url)) as client:
            yield Server(client, "ns", api.store.compact)
        return
    path, name = request.getfixturevalue("kubeconfig"), f"conformance-{uuid.uuid4().hex[:6]}"
    async with await KubeClient.connect(str(path)) as client:
        await client.create("/api/v1/namespaces", {"metadata": {"name": name}})
        yield Server(client, name, etcd.compact)
        await client.delete(f"/api/v1/namespaces/{name}")


def version(body: Json) -> int:
    return int(body["metadata"]["resourceVersion"])


def still(value: str) -> Json:
    """The operation by which a patch holds for one version alone."""
    return {"op": "test", "path": "/metadata/resourceVersion", "value": value}


async def test_versions_rise_over_all_kinds(server: Server) -> None:
    first = await server.config_map("a")
    second = await server.workflow()
    third = await server.config_map("b")
    assert version(first) < version(second) < version(third)


async def test_a_write_that_changes_nothing_gives_no_new_version(server: Server) -> None:
    made = await server.config_map("a")
    same = await server.merge_patch(paths.configmaps(server.namespace, "a"), {"data": {"a": "1"}})
    assert version(same) == version(made)


async def test_generation_follows_the_spec_alone(server: Server) -> None:
    made = await server.workflow()
    assert made["metadata"]["generation"] == 1
    path = paths.workflows(server.namespace, "w")
    labelled = await server.merge_patch(path, {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    resumed = await server.merge_patch(path, {"spec": {"suspend": False}})
    assert resumed["metadata"]["generation"] == 2
    told = await server.merge_patch(paths.workflow_status(server.namespace, "w"), {"status": {"run": 1}})
    assert told["metadata"]["generation"] == 2


async def test_status_is_written_apart(server: Server) -> None:
    body = {"metadata": {"name": "w"}, "spec": SPEC, "status": {"run": 5}, **KIND}
    made = await server.client.create(paths.workflows(server.namespace), body)
    assert "status" not in made
    path, status = paths.workflows(server.namespace, "w"), paths.workflow_status(server.namespace, "w")
    assert "status" not in await server.merge_patch(path, {"status": {"run": 5}})
    told = await server.merge_patch(status, {"status": {"run": 5}, "spec": {"suspend": False}})
    assert (told["status"], told["spec"]["suspend"]) == ({"run": 5}, True)


async def test_a_patch_holds_for_the_version_that_it_tests(server: Server) -> None:
    made = await server.workflow()
    status = paths.workflow_status(server.namespace, "w")
    fresh = still(made["metadata"]["resourceVersion"])
    event = {"op": "add", "path": "/status", "value": {"history": [{"id": 1}]}}
    told = await server.client.json_patch(status, [fresh, event])
    with pytest.raises(errors.Conflict):
        await server.client.json_patch(status, [fresh, {"op": "add", "path": "/status/history/-", "value": {"id": 2}}])
    fresh = still(told["metadata"]["resourceVersion"])
    told = await server.client.json_patch(
        status, [fresh, {"op": "add", "path": "/status/history/-", "value": {"id": 2}}]
    )
    assert told["status"]["history"] == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/none"},
        {"op": "add", "path": "/nothing/here", "value": "1"},
        {"op": "test", "path": "/data/a", "value": "2"},
    ],
)
async def test_a_patch_that_does_not_fit_is_a_conflict(server: Server, operation: Json) -> None:
    await server.config_map("a")
    with pytest.raises(errors.Conflict):
        await server.client.json_patch(paths.configmaps(server.namespace, "a"), [operation])


async def test_a_field_that_is_replaced_need_not_be_there(server: Server) -> None:
    await server.config_map("a")
    operation = {"op": "replace", "path": "/data/none", "value": "1"}
    changed = await server.client.json_patch(paths.configmaps(server.namespace, "a"), [operation])
    assert changed["data"] == {"a": "1", "none": "1"}


async def test_an_update_of_an_old_version_is_a_conflict(server: Server) -> None:
    old = await server.config_map("a")
    path = paths.configmaps(server.namespace, "a")
    await server.merge_patch(path, {"data": {"a": "2"}})
    with pytest.raises(errors.Conflict):
        await server.client._call("update", "PUT", path, body={**old, "data": {"a": "3"}})


async def test_names_are_taken_once_and_made_up(server: Server) -> None:
    await server.config_map("a")
    with pytest.raises(errors.AlreadyExists):
        await server.config_map("a")
    made = await server.client.create(paths.configmaps(server.namespace), {"metadata": {"generateName": "b-"}})
    assert made["metadata"]["name"].startswith("b-")
    assert len(made["metadata"]["name"]) == len("b-") + 5


async def test_what_is_not_there(server: Server) -> None:
    path = paths.configmaps(server.namespace, "a")
    with pytest.raises(errors.NotFound):
        await server.client.get(path)
    with pytest.raises(errors.NotFound):
        await server.merge_patch(path, {"data": {}})
    await server.client.delete(path)


async def test_a_deletion_holds_for_the_uid_that_it_names(server: Server) -> None:
    made = await server.config_map("a")
    path = paths.configmaps(server.namespace, "a")
    with pytest.raises(errors.Conflict):
        await server.client.delete(path, uid="00000000-0000-0000-0000-00000000dead")
    await server.client.delete(path, uid=made["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await server.client.get(path)


async def test_a_finalizer_holds_the_object_back(server: Server) -> None:
    await server.config_map("a", finalizers=["flowy.dev/test"])
    path = paths.configmaps(server.namespace, "a")
    await server.client.delete(path)
    assert "deletionTimestamp" in (await server.client.get(path))["metadata"]
    await server.client.delete(path)
    await server.merge_patch(path, {"metadata": {"finalizers": None}})
    with pytest.raises(errors.NotFound):
        await server.client.get(path)


async def test_a_watch_tells_what_came_after_its_version(server: Server) -> None:
    made = await server.config_map("a", labels=OURS)
    path = paths.configmaps(server.namespace, "a")
    changed = await server.merge_patch(path, {"data": {"a": "2"}})
    await server.client.delete(path)
    await server.config_map("b", labels=OURS)
    seen = await server.events(3, made["metadata"]["resourceVersion"], labels="ours=yes")
    assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
    ]
    versions = [version(event.object) for event in seen]
    assert versions[0] == version(changed)
    assert versions == sorted(set(versions)), "an end has a version of its own"


async def test_a_watch_of_a_selection_sees_objects_enter_and_leave_it(server: Server) -> None:
    made = await server.config_map("a")
    path = paths.configmaps(server.namespace, "a")
    await server.merge_patch(path, {"metadata": {"labels": {"ours": "yes"}}})
    await server.merge_patch(path, {"data": {"a": "2"}})
    await server.merge_patch(path, {"metadata": {"labels": {"ours": "no"}}})
    seen = await server.events(3, made["metadata"]["resourceVersion"], labels="ours=yes")
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_watch_ends_in_time_with_a_bookmark_at_most(server: Server) -> None:
    made = await server.config_map("a", labels=OURS)
    watch = server.client.watch(
        paths.configmaps(server.namespace),
        resource_version=made["metadata"]["resourceVersion"],
        label_selector="ours=yes",
        timeout_s=4,
    )
    async with aclosing(watch) as events:
        seen = [event async for event in events]
    # None is promised: the real server leaves it out of a short watch now and then.
    assert {event.type for event in seen} <= {"BOOKMARK"}
    for event in seen:
        assert version(event.object) >= version(made)
        assert event.object["kind"] == "ConfigMap"
        assert "data" not in event.object


async def test_a_version_that_is_too_old_is_gone(server: Server) -> None:
    """Asked of a kind that is younger than the cluster: of ConfigMaps a fresh API server remembers all since its first version."""
    await server.workflow()
    watch = server.client.watch(paths.workflows(server.namespace), resource_version="1", timeout_s=20)
    async with aclosing(watch) as events:
        with pytest.raises(errors.Gone):
            await anext(events)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("a=1", ["one"]),
        ("a==1", ["one"]),
        ("a!=1,a", ["two"]),
        ("a", ["one", "two"]),
        ("!a,b", ["three"]),
        ("a in (1,2),b notin (x)", ["one"]),
    ],
)
async def test_selectors(server: Server, selector: str, names: list[str]) -> None:
    await server.config_map("one", labels={"a": "1"})
    await server.config_map("two", labels={"a": "2", "b": "x"})
    await server.config_map("three", labels={"b": "x"})
    items, _ = await server.client.list(paths.configmaps(server.namespace), label_selector=selector)
    assert sorted(item["metadata"]["name"] for item in items) == sorted(names)


async def test_a_list_in_chunks_is_of_one_moment(server: Server) -> None:
    for n in range(5):
        await server.config_map(f"c{n}", labels={"ours": "yes"})
    path, query = paths.configmaps(server.namespace), {"limit": "2", "labelSelector": "ours=yes"}
    first = await server.client._call("list", "GET", path, query=query)
    await server.config_map("c9", labels={"ours": "yes"})
    names, page = [], first
    while True:
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert all("kind" not in item for item in page["items"])
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
        if not token:
            break
        page = await server.client._call("list", "GET", path, query={**query, "continue": token})
    assert names == [f"c{n}" for n in range(5)]


async def test_a_page_may_be_asked_for_twice(server: Server) -> None:
    for n in range(3):
        await server.config_map(f"c{n}", labels=OURS)
    path, query = paths.configmaps(server.namespace), {"limit": "2", "labelSelector": "ours=yes"}
    first = await server.client._call("list", "GET", path, query=query)
    onward = {**query, "continue": first["metadata"]["continue"]}
    pages = [await server.client._call("list", "GET", path, query=onward) for _ in range(2)]
    assert [[item["metadata"]["name"] for item in page["items"]] for page in pages] == [["c2"], ["c2"]]


async def test_a_list_that_takes_too_long_is_gone_and_begins_anew(server: Server) -> None:
    for n in range(3):
        await server.config_map(f"c{n}", labels=OURS)
    path, query = paths.configmaps(server.namespace), {"limit": "2", "labelSelector": "ours=yes"}
    first = await server.client._call("list", "GET", path, query=query)
    await server.config_map("c3", labels=OURS)
    await asyncio.to_thread(server.forget)
    onward = {**query, "continue": first["metadata"]["continue"]}
    await _until(errors.Gone, lambda: server.client._call("list", "GET", path, query=onward), FORGOTTEN_WITHIN_S)
    items, _ = await server.client.list(path, label_selector="ours=yes", chunk=2)
    assert [item["metadata"]["name"] for item in items] == ["c0", "c1", "c2", "c3"]


async def test_writes_at_once_are_told_in_the_order_of_their_versions(server: Server) -> None:
    """Answers come in another order than the writes were made: a client goes by versions, never by what came first."""
    made = await server.config_map("a", labels=OURS)
    path = paths.configmaps(server.namespace, "a")
    bodies = [{"data": {f"k{n}": "1"}} for n in range(20)]
    told = await asyncio.gather(*(server.merge_patch(path, body) for body in bodies))
    versions = sorted(version(body) for body in told)
    assert len(set(versions)) == len(bodies)
    seen = await server.events(len(bodies), made["metadata"]["resourceVersion"], labels="ours=yes")
    assert [version(event.object) for event in seen] == versions
    assert [len(event.object["data"]) for event in seen] == [*range(2, 22)], "each is made of the one before"


async def test_a_token_speaks_for_its_pod(server: Server) -> None:
    pod = await server.pod("p")
    status = await server.review(await server.token(pod, "flowy", "other"), "flowy")
    assert status["authenticated"] is True
    assert status["audiences"] == ["flowy"]
    assert status["user"]["username"] == f"system:serviceaccount:{server.namespace}:default"
    extra = status["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [pod["metadata"]["uid"]]


async def test_a_token_is_for_its_audiences_alone(server: Server) -> None:
    token = await server.token(await server.pod("p"), "other")
    for status in (
        await server.review(token, "flowy"),
        await server.review(token),
        await server.review("a.b.c", "flowy"),
    ):
        assert not status.get("authenticated")
        assert status["error"].startswith(("invalid bearer token", "[invalid bearer token"))
    assert (await server.review(token, "other"))["authenticated"] is True


async def test_a_token_ends_with_its_pod(server: Server) -> None:
    token = await server.token(await server.pod("p"), "flowy")
    await server.client.delete(paths.pods(server.namespace, "p"))
    await server.pod("p")
    assert not (await server.review(token, "flowy")).get("authenticated")


async def test_a_token_is_issued_for_a_pod_that_is_there(server: Server) -> None:
    with pytest.raises(errors.NotFound):
        await server.token({"metadata": {"name": "p", "uid": "00000000-0000-0000-0000-00000000dead"}}, "flowy")
    await server.pod("p")
    with pytest.raises(errors.Conflict):
        await server.token({"metadata": {"name": "p", "uid": "00000000-0000-0000-0000-00000000dead"}}, "flowy")


async def test_metadata_alone(server: Server) -> None:
    await server.config_map("a", labels={"ours": "yes"})
    (item,) = await server.client.list_metadata(paths.configmaps(server.namespace), label_selector="ours=yes")
    assert "data" not in item
    assert item["metadata"]["name"] == "a"


async def test_what_has_no_owner_left_goes(server: Server) -> None:
    owners = [await server.config_map(name) for name in ("first", "second")]
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}
        for o in owners
    ]
    await server.config_map("both", ownerReferences=references)
    await server.config_map("one", ownerReferences=references[:1])
    await server.client.delete(paths.configmaps(server.namespace, "first"))
    await _gone(server, "one")
    assert await server.client.get(paths.configmaps(server.namespace, "both"))
    await server.client.delete(paths.configmaps(server.namespace, "second"))
    await _gone(server, "both")


async def test_a_pod_on_a_node_is_ended_by_its_kubelet(server: Server) -> None:
    await server.pod("waiting")
    await server.client.delete(paths.pods(server.namespace, "waiting"))
    with pytest.raises(errors.NotFound):
        await server.client.get(paths.pods(server.namespace, "waiting"))
    await server.pod("bound", schedulingGates=None, nodeName="no-such-node")
    path = paths.pods(server.namespace, "bound")
    await server.client.delete(path)
    found = await server.client.get(path)
    assert found["metadata"]["deletionGracePeriodSeconds"] == 30
    assert "deletionTimestamp" in found["metadata"]
    await server.client._call("delete", "DELETE", path, body={"gracePeriodSeconds": 0})
    with pytest.raises(errors.NotFound):
        await server.client.get(path)


async def _gone(server: Server, name: str) -> None:
    path = paths.configmaps(server.namespace, name)
    await _until(errors.NotFound, lambda: server.client.get(path), COLLECTED_WITHIN_S)


async def _until(error: type[errors.ApiError], ask: Callable[[], Awaitable[Any]], within_s: float) -> None:
    """Ask until that is the answer: the real server does it a moment later."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                await ask()
            except error:
                return
            await asyncio.sleep(0.2)
