"""The client against the fake API server, over loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config

from flowy_operator.adapters.kube import client as module
from flowy_operator.adapters.kube import errors, login, paths
from flowy_operator.adapters.kube.client import KubeClient, WatchEvent
from tests.fakes.api import Api
from tests.fakes.faults import Delay, LoseAnswer, Refuse
from tests.fakes.server import serve

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUQaQrR4csmBxO8tKAfGizuuOp3SowCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjQxMzU5NDNaGA8yMTI2MTAzMTEzNTk0
M1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIar
4RjGSPNIbWdHMvnI8QQmzvsyMzQuHu59WuY8lIHtQPo8i2IcLtodPphXFYsYwy3r
CHUMPoou86Srq1VjHfCjUzBRMB0GA1UdDgQWBBSogZ2ujCG5TJHpYl3ieDuweeIr
yzAfBgNVHSMEGDAWgBSogZ2ujCG5TJHpYl3ieDuweeIryzAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIBCEzHd52/bFm4mC+cDegizp2ujkorrQqc3f
1dtGiMTwAiEAkJZsc3ITwEiAcRVEkJEWmOTZiP5DRw+oOeN8A41toQ0=
-----END CERTIFICATE-----
"""  # of nobody: its key was thrown away


@asynccontextmanager
async def web_server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def other_server(body: bytes) -> AbstractAsyncContextManager[str]:
    """Something that answers 200 and this, whatever it is asked."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    return web_server(answer)


async def first(count: int, client: KubeClient, **arguments: Any) -> list[WatchEvent]:
    """The first events of a watch of all ConfigMaps."""
    seen: list[WatchEvent] = []
    async with aclosing(client.watch(paths.configmaps(), **arguments)) as events:
        async for event in events:
            seen.append(event)
            if len(seen) == count:
                break
    return seen


def kubeconfig(folder: Path, server: str, token: Path, *, other: str = "http://other.invalid") -> str:
    path = folder / "kubeconfig"
    content = {
        "current-context": "test",
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test"}},
            {"name": "other", "context": {"cluster": "other", "user": "test"}},
        ],
        "clusters": [
            {"name": "test", "cluster": {"server": server}},
            {"name": "other", "cluster": {"server": other}},
        ],
        "users": [{"name": "test", "user": {"tokenFile": str(token)} if token.exists() else {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def configmap(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


async def test_object_is_created_read_and_deleted(client: KubeClient, api: Api) -> None:
    created = await client.create(paths.configmaps("ns"), configmap("c"))
    read = await client.get(paths.configmaps("ns", "c"))
    await client.delete(paths.configmaps("ns", "c"))

    assert created == read
    assert read["metadata"]["namespace"] == "ns"
    assert api.store.all(api.store.kind("configmaps")) == []


async def test_deleting_what_is_not_there_is_fine(client: KubeClient) -> None:
    await client.delete(paths.configmaps("ns", "c"))


async def test_another_object_of_the_same_name_is_not_deleted(client: KubeClient) -> None:
    await client.create(paths.configmaps("ns"), configmap("c"))

    with pytest.raises(errors.Conflict):
        await client.delete(paths.configmaps("ns", "c"), uid="of-an-earlier-one")
    assert await client.get(paths.configmaps("ns", "c"))


async def test_name_that_is_taken(client: KubeClient) -> None:
    await client.create(paths.configmaps("ns"), configmap("c"))

    with pytest.raises(errors.AlreadyExists):
        await client.create(paths.configmaps("ns"), configmap("c"))


async def test_stale_patch_is_a_conflict_and_changes_nothing(client: KubeClient) -> None:
    created = await client.create(paths.configmaps("ns"), configmap("c"))
    fresh = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": created["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/data/b", "value": "2"},
    ]
    patched = await client.json_patch(paths.configmaps("ns", "c"), fresh)
    with pytest.raises(errors.Conflict):
        await client.json_patch(paths.configmaps("ns", "c"), fresh)

    assert patched["data"] == {"a": "1", "b": "2"}
    assert await client.get(paths.configmaps("ns", "c")) == patched


async def test_status_is_written_apart_from_the_spec(client: KubeClient) -> None:
    await client.create(paths.workflows("ns"), {"metadata": {"name": "w"}, "spec": {"x": 1}, "status": {"y": 0}})
    created = await client.get(paths.workflows("ns", "w"))
    operations = [
        {"op": "add", "path": "/status", "value": {"y": 1}},
        {"op": "replace", "path": "/spec", "value": {"x": 2}},
    ]
    patched = await client.json_patch(paths.workflow_status("ns", "w"), operations)

    assert "status" not in created
    assert (patched["spec"], patched["status"]) == ({"x": 1}, {"y": 1})


async def test_list_comes_in_chunks_and_whole(client: KubeClient, api: Api) -> None:
    for n in range(7):
        api.store.create(api.store.kind("configmaps"), "ns", configmap(f"c{n}", app="x" if n % 2 else "y"))
    version = str(api.store.version)

    everything = await client.list(paths.configmaps("ns"), chunk=3)
    some, _ = await client.list(paths.configmaps(), label_selector="app=x", chunk=2)

    assert ([item["metadata"]["name"] for item in everything[0]], everything[1]) == (
        [f"c{n}" for n in range(7)],
        version,
    )
    assert [item["metadata"]["name"] for item in some] == ["c1", "c3", "c5"]
    assert client.requests["list", "configmaps", 200] == 3 + 2


@pytest.mark.parametrize("items", ['"text"', "[1]", '{"a": 1}', "[[]]"])
async def test_a_list_that_is_none(items: str) -> None:
    async with other_server(f'{{"items": {items}}}'.encode()) as url, KubeClient(Configuration(host=url)) as client:
        with pytest.raises(errors.Unreachable, match="its items are no list of objects"):
            await client.list(paths.configmaps("ns"))


async def test_a_list_may_leave_out_what_the_objects_hold(client: KubeClient, api: Api) -> None:
    for n in range(2):
        api.store.create(api.store.kind("configmaps"), "ns", configmap(f"c{n}", app="x") | {"data": {"long": "x" * 99}})

    items = await client.list_metadata(paths.configmaps("ns"), label_selector="app=x")

    assert [set(item) for item in items] == [{"metadata"}] * 2
    assert [item["metadata"]["name"] for item in items] == ["c0", "c1"]


async def test_a_list_and_a_watch_of_one_name(client: KubeClient, api: Api) -> None:
    kind = api.store.kind("configmaps")
    for name in ("a", "b"):
        api.store.create(kind, "ns", configmap(name))
    items, version = await client.list(paths.configmaps("ns"), field_selector="metadata.name=b")
    for name in ("a", "b"):
        api.store.edit("configmaps", "ns", name, lambda c: c["data"].update(a="2"))

    stream = client.watch(paths.configmaps("ns"), resource_version=version, field_selector="metadata.name=b")
    async with aclosing(stream) as events:
        event = await anext(events)

    assert [item["metadata"]["name"] for item in items] == ["b"]
    assert (event.type, event.object["metadata"]["name"]) == ("MODIFIED", "b")


async def test_a_log_comes_in_blocks_and_whole(client: KubeClient, api: Api) -> None:
    api.store.create(api.store.kind("pods"), "ns", {"metadata": {"name": "p"}})
    api.logs["ns", "p"] = b"0123456789" * 100_000

    blocks = [block async for block in client.stream(paths.pod_log("ns", "p"), query={"container": "main"})]

    assert b"".join(blocks) == api.logs["ns", "p"]
    with pytest.raises(errors.NotFound):
        await anext(client.stream(paths.pod_log("ns", "other"), query={}))


async def test_list_that_expires_halfway_starts_anew(client: KubeClient, api: Api) -> None:
    for n in range(4):
        api.store.create(api.store.kind("configmaps"), "ns", configmap(f"c{n}"))
    reading = asyncio.create_task(client.list(paths.configmaps("ns"), chunk=2))
    api.faults.add(Refuse(410, "Expired"), verb="list")

    items, _ = await reading

    assert len(items) == 4


async def test_list_that_expires_again_and_again_is_given_up(client: KubeClient, api: Api) -> None:
    api.faults.add(Refuse(410, "Expired"), verb="list", times=99)

    with pytest.raises(errors.Gone):
        await client.list(paths.configmaps("ns"))


@pytest.mark.filterwarnings("ignore:Sending a large body directly")  # aiohttp's, above 1 MiB; ours end at etcd's limit
async def test_too_long_objects_are_refused(client: KubeClient) -> None:
    for size in (2_000_000, 4_000_000):
        with pytest.raises(errors.PayloadTooLarge):
            await client.create(paths.events("ns"), {"metadata": {"name": "c"}, "message": "x" * size})
    with pytest.raises(errors.Invalid, match="Too long"):  # a ConfigMap has a bound of its own, below etcd's
        await client.create(paths.configmaps("ns"), configmap("c") | {"data": {"a": "x" * (1024 * 1024 + 1)}})


async def test_lost_answer_is_unreachable_although_the_write_was_done(client: KubeClient, api: Api) -> None:
    api.faults.add(LoseAnswer(), verb="create")

    with pytest.raises(errors.Unreachable):
        await client.create(paths.configmaps("ns"), configmap("c"))

    assert await client.get(paths.configmaps("ns", "c"))
    assert client.requests["create", "configmaps", 0] == 1


async def test_wish_of_an_overloaded_server_arrives(client: KubeClient, api: Api) -> None:
    api.faults.add(Refuse(429, "TooManyRequests", retry_after_s=3))

    with pytest.raises(errors.TooManyRequests) as refusal:
        await client.get(paths.configmaps("ns", "c"))
    assert refusal.value.retry_after_s == 3


async def test_slow_server_is_unreachable(api: Api) -> None:
    api.faults.add(Delay(5))
    async with serve(api) as url, KubeClient(Configuration(host=url), timeout_s=0.05) as client:
        with pytest.raises(errors.Unreachable):
            await client.get(paths.configmaps("ns", "c"))


async def test_refused_connection_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with KubeClient(Configuration(host=url)) as client:
        with pytest.raises(errors.Unreachable):
            await client.get(paths.configmaps("ns", "c"))
        with pytest.raises(errors.Unreachable):
            async with aclosing(client.watch(paths.configmaps("ns"), resource_version="1")) as events:
                await anext(events)


ANSWERS = {
    "no JSON": b"<html>",
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_answer_that_is_no_json_object_is_unreachable(answer: bytes) -> None:
    async with other_server(answer) as url, KubeClient(Configuration(host=url)) as client:
        with pytest.raises(errors.Unreachable):
            await client.get(paths.configmaps("ns", "c"))


async def test_watch_tells_what_comes_after_a_version(client: KubeClient, api: Api) -> None:
    kind = api.store.kind("configmaps")
    api.store.create(kind, "ns", configmap("before", app="x"))
    _, version = await client.list(paths.configmaps())
    api.store.create(kind, "ns", configmap("a", app="x"))
    api.store.create(kind, "ns", configmap("other"))
    api.store.edit("configmaps", "ns", "a", lambda c: c["data"].update(a="2"))
    api.store.delete(kind, "ns", "a")

    seen = await first(3, client, resource_version=version, label_selector="app=x")

    assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]


async def test_object_that_leaves_the_selection_is_deleted_for_the_watch(client: KubeClient, api: Api) -> None:
    api.store.create(api.store.kind("configmaps"), "ns", configmap("a", app="x"))
    version = str(api.store.version)
    api.store.edit("configmaps", "ns", "a", lambda c: c["metadata"]["labels"].clear())

    (event,) = await first(1, client, resource_version=version, label_selector="app=x")

    assert event.type == "DELETED"


async def test_watch_ends_by_itself_with_a_bookmark(client: KubeClient, api: Api) -> None:
    seen = await asyncio.wait_for(first(99, client, resource_version=str(api.store.version), timeout_s=0), 1)

    assert [event.type for event in seen] == ["BOOKMARK"]


async def test_watch_from_a_forgotten_version_is_gone(client: KubeClient, api: Api) -> None:
    version = str(api.store.version)
    api.store.create(api.store.kind("configmaps"), "ns", configmap("a"))
    api.store.compact()

    with pytest.raises(errors.Gone):
        await first(1, client, resource_version=version)


async def test_watch_that_is_refused(client: KubeClient, api: Api) -> None:
    api.faults.add(Refuse(403, "Forbidden"), verb="watch")

    with pytest.raises(errors.Forbidden):
        await first(1, client, resource_version="1")


async def test_cut_stream_is_unreachable(client: KubeClient, api: Api) -> None:
    watching = asyncio.create_task(first(1, client, resource_version=str(api.store.version)))
    await api.watched(1)
    api.cut_watches()

    with pytest.raises(errors.Unreachable):
        await watching


async def test_silent_stream_is_unreachable(client: KubeClient, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INACTIVITY_TIMEOUT_S", 0.05)

    with pytest.raises(errors.Unreachable):
        await first(1, client, resource_version=str(api.store.version))


async def test_event_longer_than_any_buffer_is_read(client: KubeClient, api: Api) -> None:
    version = str(api.store.version)
    quotes = '"' * 1_000_000  # each of them two bytes on the way
    api.store.create(api.store.kind("configmaps"), "ns", configmap("long") | {"data": {"a": quotes}})

    (event,) = await first(1, client, resource_version=version)

    assert event.object["data"]["a"] == quotes


STREAMS = {
    "a line without an end": b'{"type": "ADDED"',
    "no JSON": b"<html>\n",
    "no event": b'{"kind": "Status"}\n',
    "an event of odd types": b'{"type": 1, "object": []}\n',
    "a line beyond all bounds": b"x" * (module.LINE_LIMIT_BYTES + 1),
}


@pytest.mark.parametrize("answer", STREAMS.values(), ids=STREAMS)
async def test_stream_of_something_else_is_unreachable(answer: bytes) -> None:
    async with other_server(answer) as url, KubeClient(Configuration(host=url)) as client:
        with pytest.raises(errors.Unreachable):
            await first(1, client, resource_version="1")


async def test_empty_lines_of_a_stream_are_skipped() -> None:
    event = b'\n\n{"type": "ADDED", "object": {}}\n\n'
    async with other_server(event) as url, KubeClient(Configuration(host=url)) as client:
        assert await first(9, client, resource_version="1") == [WatchEvent("ADDED", {})]


async def test_error_in_a_stream_is_raised_by_its_code() -> None:
    event = b'{"type": "ERROR", "object": {"code": 429, "reason": "TooManyRequests", "message": "no"}}\n'
    async with other_server(event) as url, KubeClient(Configuration(host=url)) as client:
        with pytest.raises(errors.TooManyRequests):
            await first(1, client, resource_version="1")


async def test_token_of_a_kubeconfig_is_sent_and_read_again(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "TOKEN_CHECK_S", 0.0)
    token = tmp_path / "token"
    token.write_text("old\n")
    async with serve(api, token="new") as url, await KubeClient.connect(kubeconfig(tmp_path, url, token)) as client:
        with pytest.raises(errors.Unauthorized):
            await client.list(paths.configmaps("ns"))
        token.write_text("new\n")
        assert (await client.list(paths.configmaps("ns")))[0] == []


async def test_credentials_that_cant_be_read_again_are_kept(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(login, "TOKEN_CHECK_S", 0.0)
    token = tmp_path / "token"
    token.write_text("new")
    async with serve(api, token="new") as url, await KubeClient.connect(kubeconfig(tmp_path, url, token)) as client:
        token.unlink()
        assert (await client.list(paths.configmaps("ns")))[0] == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_pod_speaks_for_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("token", "secret"), ("ca.crt", CERTIFICATE)):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(login, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    async with await KubeClient.connect(None) as client:
        (tmp_path / "token").unlink()
        assert client.configuration.host == "https://[fd00::1]:443"
        assert await client.authorization() == "bearer secret"


async def test_context_is_chosen(api: Api, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://one.invalid", tmp_path / "none", other="http://two.invalid")
    async with await KubeClient.connect(path, "other") as client:
        assert client.configuration.host == "http://two.invalid"


def test_the_namespace_is_that_of_the_context_or_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path, "http://one.invalid", tmp_path / "none", other="http://two.invalid")
    named = yaml.safe_load(Path(path).read_text())
    named["contexts"][1]["context"]["namespace"] = "media"
    Path(path).write_text(yaml.safe_dump(named))
    monkeypatch.setattr(login, "SERVICE_NAMESPACE_FILENAME", str(tmp_path / "namespace"))
    other = named["contexts"][1]["name"]

    assert [login.current_namespace(*given) for given in ((path, None), (path, other), (None, None))] == [
        "default",
        "media",
        "default",
    ]
    (tmp_path / "namespace").write_text("shop\n")
    assert login.current_namespace(None, None) == "shop"
    with pytest.raises(login.NoClusterError, match="nowhere"):
        login.current_namespace(path, "nowhere")


async def test_no_way_to_a_cluster_says_what_was_looked_for(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("a: [")
    empty = tmp_path / "empty"
    empty.write_text("{}")

    with pytest.raises(login.NoClusterError, match="service account"):
        await KubeClient.connect(None)
    with pytest.raises(login.NoClusterError, match=str(tmp_path / "none")):
        await KubeClient.connect(str(tmp_path / "none"))
    for odd in (broken, empty):
        with pytest.raises(login.NoClusterError, match=odd.name):
            await KubeClient.connect(str(odd))


async def test_requests_say_who_asks(tmp_path: Path) -> None:
    agents: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        agents.append(request.headers["User-Agent"])
        return web.json_response({})

    async with web_server(answer) as url, KubeClient(Configuration(host=url)) as client:
        await client.get("/api/v1/namespaces/ns/configmaps/c")
    assert agents[0].startswith("flowy-operator/")


# -- who doesn't lead -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [0, 1])
async def test_a_write_is_kept_back_until_its_bytes_leave(api: Api, looks: int) -> None:
    """The right may end at any moment: `looks` are those for which it still held."""
    asked: list[bool] = []

    def may_write() -> bool:
        asked.append(len(asked) < looks)
        return asked[-1]

    async with serve(api) as url, KubeClient(Configuration(host=url), may_write=may_write) as client:
        for write in (
            client.create(paths.configmaps("ns"), configmap("c")),
            client.json_patch(paths.configmaps("ns", "c"), [{"op": "add", "path": "/data", "value": {}}]),
            client.delete(paths.configmaps("ns", "c")),
        ):
            asked.clear()
            with pytest.raises(errors.NotLeading if looks == 0 else errors.Unreachable, match="kept back"):
                await write
            assert len(asked) == looks + 1
        assert await client.list(paths.configmaps("ns")) == ([], "100"), "reading is harmless"
    assert set(api.calls) == {("list", "configmaps")}


async def test_who_leads_writes(api: Api) -> None:
    async with serve(api) as url, KubeClient(Configuration(host=url), may_write=lambda: True) as client:
        await client.create(paths.configmaps("ns"), configmap("c"))
        await client.json_patch(paths.configmaps("ns", "c"), [{"op": "add", "path": "/data", "value": {"a": "2"}}])
        assert (await client.get(paths.configmaps("ns", "c")))["data"] == {"a": "2"}
        await client.delete(paths.configmaps("ns", "c"))
    assert api.store.all(api.store.kind("configmaps")) == []
