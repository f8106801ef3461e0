"""One fake API server a test, and a client that reaches it over loopback."""

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client.configuration import Configuration

from flowy_operator.adapters.kube.client import KubeClient
from tests.fakes.api import Api
from tests.fakes.server import serve


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[KubeClient]:
    async with serve(api) as url, KubeClient(Configuration(host=url), timeout_s=1.0) as client:
        yield client
