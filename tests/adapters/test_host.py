"""kopf as the host, against the fake API server over loopback."""

import asyncio
import json
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowy_operator.adapters import host as module
from flowy_operator.adapters.host import run_host
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.core.key import Key
from tests.fakes.api import Api
from tests.fakes.faults import Refuse
from tests.fakes.server import serve
from tests.fakes.store import HISTORY_PAGES, WORKFLOWS

KEY = Key("ns", "w")


class Seen:
    """What the host has told."""

    def __init__(self) -> None:
        self.events: list[tuple[Key, Mapping[str, Any] | None]] = []
        self._news = asyncio.Event()

    def __call__(self, key: Key, uid: str, body: Mapping[str, Any] | None) -> None:
        assert body is None or body["metadata"]["uid"] == uid
        self.events.append((key, body))
        self._news.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not enough():
                self._news.clear()
                await self._news.wait()

    def last(self, key: Key) -> Mapping[str, Any] | None:
        bodies = [body for seen, body in self.events if seen == key]
        return bodies[-1]


@asynccontextmanager
async def hosted(
    client: KubeClient,
    *,
    namespaces: Sequence[str] | None = None,
    signals: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[Seen, asyncio.Event, asyncio.Event]]:
    seen, ready, stop = Seen(), asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_host(client, seen, namespaces=namespaces, ready=ready, stop=stop, signals=signals))
        yield seen, ready, stop
        stop.set()


def create(api: Api, name: str = "w", namespace: str = "ns") -> None:
    api.store.create(WORKFLOWS, namespace, {"metadata": {"name": name}, "spec": {"source": "x"}})


async def test_workflows_that_were_there_and_those_that_come_are_told(client: KubeClient, api: Api) -> None:
    create(api, "before")
    async with hosted(client) as (seen, ready, _):
        await seen.until(lambda: len(seen.events) == 1)
        create(api)
        await seen.until(lambda: len(seen.events) == 2)
        api.store.edit("workflows", "ns", "w", lambda w: w.update(status={"x": 1}))
        await seen.until(lambda: len(seen.events) == 3)
        body = seen.last(KEY)
        api.store.delete(WORKFLOWS, "ns", "w")
        await seen.until(lambda: len(seen.events) == 4)
        assert ready.is_set()

    assert [key.name for key, _ in seen.events] == ["before", "w", "w", "w"]
    assert body is not None
    assert body["status"] == {"x": 1}
    assert seen.last(KEY) is None


async def test_it_runs_as_a_user_without_a_name(client: KubeClient, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, whose uid stands in no /etc/passwd."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", nobody)
    create(api)
    async with hosted(client) as (seen, _, _):
        await seen.until(lambda: len(seen.events) == 1)


async def test_nothing_is_written_to_the_cluster(client: KubeClient, api: Api) -> None:
    create(api)
    before = api.store.all(WORKFLOWS)
    async with hosted(client) as (seen, _, _):
        await seen.until(lambda: bool(seen.events))

    assert api.store.all(WORKFLOWS) == before
    assert {verb for verb, _ in api.calls} <= {"get", "list", "watch"}
    assert {resource for _, resource in api.calls} == {"workflows", "discovery"}


async def test_only_the_named_namespaces_are_watched(client: KubeClient, api: Api) -> None:
    for namespace in ("one", "two", "three"):
        create(api, namespace=namespace)
    async with hosted(client, namespaces=["one", "three"]) as (seen, _, _):
        await seen.until(lambda: len(seen.events) == 2)

    assert sorted(key.namespace for key, _ in seen.events) == ["one", "three"]


async def test_missing_crd_is_waited_for_and_told(
    client: KubeClient, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CRD_POLL_S", 0.02)
    api.store.kinds.remove(WORKFLOWS)
    api.store.kinds.remove(HISTORY_PAGES)
    async with hosted(client) as (seen, ready, _):
        await asyncio.sleep(0.1)
        assert not ready.is_set()
        api.store.kinds.append(HISTORY_PAGES)
        await asyncio.sleep(0.1)
        assert not ready.is_set()
        api.store.kinds.append(WORKFLOWS)
        create(api)
        await seen.until(lambda: bool(seen.events))

    warnings = [record for record in caplog.records if record.name == module.__name__]
    assert [record.levelno for record in warnings] == [logging.WARNING]


async def test_crd_that_goes_and_comes_back(
    client: KubeClient, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CRD_POLL_S", 0.02)
    monkeypatch.setattr(module, "RESTART_S", 0.02)
    create(api, "before")
    async with hosted(client) as (seen, _, _):
        await seen.until(lambda: len(seen.events) == 1)
        api.store.kinds.remove(WORKFLOWS)
        api.cut_watches()
        await asyncio.sleep(0.4)
        api.store.kinds.append(WORKFLOWS)
        create(api)
        await seen.until(lambda: any(key == KEY for key, _ in seen.events))

    assert any("starts again" in record.message for record in caplog.records)


async def test_stop_ends_it_soon_and_leaves_other_tasks_alone(client: KubeClient, api: Api) -> None:
    create(api)
    async with hosted(client) as (seen, _, stop):
        await seen.until(lambda: bool(seen.events))
        later = asyncio.create_task(asyncio.sleep(60))
        before = asyncio.get_running_loop().time()
        stop.set()
    took_s = asyncio.get_running_loop().time() - before

    assert took_s < 2
    assert not later.done()
    later.cancel()


async def test_stop_while_waiting_for_the_crd(client: KubeClient, api: Api) -> None:
    api.store.kinds.remove(WORKFLOWS)
    async with asyncio.timeout(1), hosted(client):
        await asyncio.sleep(0.05)


async def test_stop_while_waiting_to_start_again(
    client: KubeClient, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LASTING_S", 0.0)
    create(api)
    async with asyncio.timeout(2), hosted(client) as (seen, _, _):
        await seen.until(lambda: bool(seen.events))
        api.store.kinds.remove(WORKFLOWS)
        api.cut_watches()
        await asyncio.sleep(0.4)

    assert any("starts again" in record.message for record in caplog.records)


async def test_server_that_is_away_at_the_start_is_waited_for(
    client: KubeClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CRD_POLL_S", 0.02)
    api.faults.add(Refuse(503), resource="discovery", times=3)
    create(api)
    async with hosted(client) as (seen, _, _):
        await seen.until(lambda: bool(seen.events))


async def test_cancelled_host_leaves_no_task_behind(client: KubeClient, api: Api) -> None:
    create(api)
    before = asyncio.all_tasks()
    seen = Seen()
    running = asyncio.create_task(
        run_host(client, seen, namespaces=None, ready=asyncio.Event(), stop=asyncio.Event(), signals=lambda: None)
    )
    await seen.until(lambda: bool(seen.events))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    await asyncio.sleep(0)
    # What the fake server does for a stream that has just been left is its own.
    assert [task for task in asyncio.all_tasks() - before if "aiohttp" not in repr(task)] == []


async def test_signals_stay_ours(client: KubeClient, api: Api) -> None:
    loop = asyncio.get_running_loop()
    told: list[int] = []

    def install() -> None:
        loop.add_signal_handler(signal.SIGTERM, told.append, 15)

    create(api)
    try:
        async with hosted(client, signals=install) as (seen, _, stop):
            await seen.until(lambda: bool(seen.events))
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.05)
            assert told == [15]
            assert not stop.is_set()
            create(api, "after")
            await seen.until(lambda: len(seen.events) == 2)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


async def test_same_credentials_are_used_and_asked_for_again(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CREDENTIALS_S", 0.05)
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    create(api)
    async with serve(api, token="secret") as url:
        path.write_text(KUBECONFIG.replace("URL", url))
        async with await KubeClient.connect(str(path)) as client, hosted(client) as (seen, _, _):
            await seen.until(lambda: bool(seen.events))
            await asyncio.sleep(0.06)
            api.cut_watches()
            create(api, "after")
            await seen.until(lambda: len(seen.events) >= 2)


KUBECONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: c, user: c}}]
clusters: [{name: c, cluster: {server: URL}}]
users: [{name: c, user: {token: secret}}]
"""


async def test_neither_client_is_stricter_than_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python is, from 3.13 on: there are clusters whose authority's certificate says nothing of its key's usage."""
    made = ssl.create_default_context

    def strict(*words: Any, **named: Any) -> ssl.SSLContext:
        context = made(*words, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(BY_TOKEN))
    async with await KubeClient.connect(str(kubeconfig)) as client:
        own = client._api.rest_client.ssl_context
        of_kopf = (await module._connection(client)).as_ssl_context()
    for context in (own, of_kopf):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname


BY_TOKEN = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}
