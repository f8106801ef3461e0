"""Logs read over loopback: the whole of a short one, the end of a long one."""

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client.configuration import Configuration

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.container_log import MOST_BYTES, TAIL_ENTRIES, read_log
from flowy_operator.adapters.kube import errors
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.core.collected import Log
from tests.fakes.api import LOG_ENTRY_BYTES, Api
from tests.fakes.faults import LoseAnswer, Refuse
from tests.fakes.server import serve


@pytest.fixture
def api() -> Api:
    api = Api()
    api.store.create(api.store.kind("pods"), "ns", {"metadata": {"name": "p"}})
    return api


@pytest.fixture
async def client(api: Api) -> AsyncIterator[KubeClient]:
    async with serve(api) as url, KubeClient(Configuration(host=url)) as client:
        yield client


SHORT = {
    "nothing": b"",
    "binary": bytes(range(256)),
    "the longest": b"x" * MOST_BYTES,
}


@pytest.mark.parametrize("content", SHORT.values(), ids=SHORT)
async def test_a_short_log_is_whole(api: Api, client: KubeClient, content: bytes) -> None:
    api.logs["ns", "p"] = content
    assert await read_log(client, "ns", "p") == Log(content, is_whole=True)


async def test_of_a_long_log_the_end_is_read(api: Api, client: KubeClient) -> None:
    noise = b"".join(b"%d %%\n" % n for n in range(200_000))
    line = b'"' + b"x" * (MAX_VALUE_BYTES - 2) + b'"\n'
    assert len(line) > 50 * LOG_ENTRY_BYTES
    api.logs["ns", "p"] = noise + line
    log = await read_log(client, "ns", "p")
    assert not log.is_whole
    assert len(log.content) == MOST_BYTES
    assert log.content.rsplit(b"\n", 2)[1] + b"\n" == line


async def test_of_many_short_lines_the_last_are_read(api: Api, client: KubeClient) -> None:
    lines = [b"%d\n" % n for n in range(300_000)]
    api.logs["ns", "p"] = b"".join(lines)
    assert await read_log(client, "ns", "p") == Log(b"".join(lines[-TAIL_ENTRIES:]), is_whole=False)


async def test_what_cannot_be_read(api: Api, client: KubeClient) -> None:
    with pytest.raises(errors.NotFound):
        await read_log(client, "ns", "other")
    api.faults.add(LoseAnswer(), resource="pods/log", times=2)  # aiohttp asks once more where a used connection ends
    with pytest.raises(errors.Unreachable):
        await read_log(client, "ns", "p")
    api.faults.add(Refuse(500), resource="pods/log")
    with pytest.raises(errors.ServerError):
        await read_log(client, "ns", "p")
    assert await read_log(client, "ns", "p") == Log(b"", is_whole=True)
