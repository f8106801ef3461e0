"""kopf as the host: it watches our own kind and says which keys are worth a look. Nothing else of it is used.

One `on.event` handler, so no finalizers, no annotations, no state of kopf's in the cluster. Pods and Jobs have a
reflector of their own (`reflector.py`): kopf costs ten times as much per event, and after a 410 it doesn't tell what
has been deleted meanwhile. That last holds for Workflows too: who counts on their end must list them now and then.

What embedding it needs to know (read in kopf 1.45.2, `_core/reactor/running.py`):

* `kopf.operator()` ends by cancelling every task of the loop that started after it, ours too. So its two halves are
  called instead, and the second is told that there are no such tasks: with one `on.event` handler kopf leaves none,
  its watchers wait for their own workers. A loop and thread of its own was the other way: it costs a hand-over per
  event, and two threads that fight for the interpreter lock.
* In the main thread it puts its handlers on SIGINT and SIGTERM. `signals` is called right afterwards, without a
  pause, to put ours back.
* With scanning disabled it looks for our kind once, at its start, and would then wait in silence. So it is started
  when the CRD is there, and again when it fails, as it does when the CRD goes away or a stream breaks in an odd way.
* Ten minutes after being cancelled it would kill its thread; switched off.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, NotFound
from flowy_operator.adapters.kube.paths import flowy_group
from flowy_operator.core.key import Key

GROUP = "flowy.dev"
VERSION = "v1alpha1"
PLURAL = "workflows"

CRD_POLL_S = 2.0
"""How often discovery is asked while the CRD isn't there: installing it right after the operator is usual."""

RESTART_S = 1.0
"""Wait before kopf is started again, doubled up to RESTART_CAP_S while it doesn't last LASTING_S."""
RESTART_CAP_S = 60.0
LASTING_S = 120.0

CREDENTIALS_S = 240.0
"""How long kopf may use a token before asking us again; a service account's is renewed 12 min before its end.

A change closes kopf's connections, so it isn't done more often than streams end anyway.
"""

_log = logging.getLogger(__name__)

Changed = Callable[[Key, str, Mapping[str, Any] | None], None]
"""Told the key, the object's uid and its body, None once it is gone.

The uid, because kopf keeps a queue for each: the end of an object may be told after the first event of the next one that
has its name.
"""


async def run_host(
    client: KubeClient,
    changed: Changed,
    *,
    namespaces: Sequence[str] | None,
    ready: asyncio.Event,
    stop: asyncio.Event,
    signals: Callable[[], None],
) -> None:
    """Watch Workflows until `stop` is set, in the whole cluster if `namespaces` is None.

    `changed` is called on the loop's thread for every event. `ready` is set when the CRD is there and kopf has started; its first listing follows.
    """
    clock = asyncio.get_running_loop().time
    wait_s = RESTART_S
    while not stop.is_set():
        if not await _crd_is_there(client, stop):
            return
        started_at = clock()
        try:
            await _until(stop, _run_kopf(client, changed, namespaces, ready=ready, signals=signals))
        except Exception as error:  # noqa: BLE001 - kopf ends with whatever broke one of its tasks
            _log.warning("kopf has failed and starts again", extra={"error": repr(error)})
        if clock() - started_at > LASTING_S:
            wait_s = RESTART_S
        if await _set_within(stop, wait_s):
            return
        wait_s = min(wait_s * 2, RESTART_CAP_S)


async def _run_kopf(
    client: KubeClient,
    changed: Changed,
    namespaces: Sequence[str] | None,
    *,
    ready: asyncio.Event,
    signals: Callable[[], None],
) -> None:
    tasks = await kopf.spawn_tasks(
        registry=_registry(client, changed),
        settings=_settings(),
        standalone=True,
        # Its own guess asks for the name of the user, and the uid of a container has none. Nobody else hears of it.
        identity="flowy",  # type: ignore[arg-type]  # a NewType that kopf doesn't export
        clusterwide=namespaces is None,
        namespaces=namespaces or (),
        ready_flag=ready,
    )
    signals()
    await kopf.run_tasks(tasks, ignored=_Everything())


def _registry(client: KubeClient, changed: Changed) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(client)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def event(event: kopf.RawEvent, **_: Any) -> None:
        body = event["object"]
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        changed(key, metadata["uid"], None if event["type"] == "DELETED" else body)

    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.scanning.disabled = True  # it would list and watch CRDs and namespaces, which our role doesn't allow
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.watching.server_timeout = 300  # an integer: the API server refuses "300.0"
    settings.watching.client_timeout = 310  # somewhat longer: the server's own end of a stream is the cleaner one
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 1.0  # a task per object while it is busy; our handler takes microseconds
    # An INFO line for every event otherwise, three for every look at the credentials.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    return settings


class _ConnectionInfo(kopf.ConnectionInfo):
    """As strict about certificates as our own client is: see `load_configuration`."""

    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


async def _connection(client: KubeClient) -> kopf.ConnectionInfo:
    """Say how our own client reaches the cluster, in kopf's terms."""
    configuration = client.configuration
    scheme, _, token = (await client.authorization() or "").partition(" ")
    return _ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme.capitalize() or None,
        token=token.strip() or None,
        proxy_url=configuration.proxy,
        # Renewed before the token's end, and never equal to a connection that was refused once: kopf would not take
        # the same again, and would fail for good after a passing 401.
        expiration=datetime.now(UTC) + timedelta(seconds=CREDENTIALS_S),
    )


async def _crd_is_there(client: KubeClient, stop: asyncio.Event) -> bool:
    """Wait for our kind to be served. False if `stop` came first."""
    told = False
    while not stop.is_set():
        try:
            group = await client.get(flowy_group())
            if any(isinstance(r, dict) and r.get("name") == PLURAL for r in group.get("resources") or ()):
                return True
            error: object = "other kinds of the group are there"
        except NotFound:
            error = "not found"
        except ApiError as refusal:
            error = refusal
        if not told:
            told = True
            _log.warning("the CRD workflows.flowy.dev isn't served yet; waiting for it", extra={"answer": str(error)})
        if await _set_within(stop, CRD_POLL_S):
            break
    return False


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, or cancel it when `stop` is set: kopf's own stop flag would leave a task that waits for it."""
    working = asyncio.create_task(work, name="kopf")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
    if not working.cancelled() and not stop.is_set():
        working.result()


async def _set_within(flag: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await flag.wait()
    except TimeoutError:
        return False
    return True


class _Everything(Collection[Any]):
    """A collection that has everything: what kopf is not to touch."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing: otherwise kopf copies every body five times, although no handler asks what has changed."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass
