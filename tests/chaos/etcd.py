"""etcd full, and what an administrator does about it: by its own HTTP interface, as `etcdctl` does by gRPC."""

import base64
import json
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any

from tests.cluster import build, network, processes, readiness, starting
from tests.cluster.component import Limits
from tests.cluster.components import all_components

ROOM_BYTES = 8 * 1024 * 1024
VALUE_BYTES = 512 * 1024
KEYS = "/chaos/fill/"
_QUOTA = "--quota-backend-bytes="


def fill() -> None:
    """Start it with a quota a little above what it holds, and write until it raises the alarm."""
    size = int(_ask("maintenance/status")["dbSize"])
    _restart(size + ROOM_BYTES)
    value = base64.b64encode(b"x" * VALUE_BYTES).decode()
    for n in range(1000):
        try:
            _ask("kv/put", key=_encoded(f"{KEYS}{n}"), value=value)
        except urllib.error.HTTPError:
            break
    assert is_full(), "etcd takes everything although its quota is used up"


def is_full() -> bool:
    return bool(_alarms())


def empty() -> None:
    """Delete what fills it, compact, defragment, disarm; then its quota is as it was."""
    _ask("kv/deleterange", key=_encoded(KEYS), range_end=_encoded(KEYS[:-1] + "0"))
    compact()
    _ask("maintenance/defragment")
    for alarm in _alarms():
        _ask("maintenance/alarm", action="DEACTIVATE", alarm=alarm["alarm"], memberID=alarm["memberID"])
    assert not _alarms()
    _restart(None)


def compact() -> None:
    """Forget what was, as an API server has it do every five minutes: who is in the midst of a list has to begin anew."""
    revision = _ask("maintenance/status")["header"]["revision"]
    # By this key API servers tell each other; without it they would go on serving lists out of their own memory.
    _ask("kv/put", key=_encoded("compact_rev_key"), value=_encoded(revision))
    _ask("kv/compaction", revision=revision, physical=True)


def _alarms() -> list[dict[str, Any]]:
    return list(_ask("maintenance/alarm", action="GET").get("alarms", ()))


def _restart(quota_bytes: int | None) -> None:
    etcd = all_components(build.kubernetes(), Limits.chosen())["etcd"]
    if quota_bytes is not None:
        argv = [word for word in etcd.argv if not word.startswith(_QUOTA)]
        etcd = replace(etcd, argv=(*argv, f"{_QUOTA}{quota_bytes}"))
    processes.stop("etcd", grace_s=etcd.grace_s)
    starting.start(etcd)
    readiness.wait_for(etcd)


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _ask(path: str, **body: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{network.ETCD_PORT}/v3/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found
