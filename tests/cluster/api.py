"""Just enough of a client for the API server: the standard library's HTTPS with the admin certificate."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

from tests.cluster import certificates
from tests.cluster.network import API_PORT, NODE_ADDRESS

TIMEOUT_S = 10.0  # a healthy server answers in milliseconds; while it starts, the caller asks again


class ApiError(Exception):
    """An answer outside 200-299."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


def admin_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.CA))
    context.load_cert_chain(str(certificates.ADMIN.certificate), str(certificates.ADMIN.key))
    return context


def request(
    method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
) -> str:
    """Ask once. OSError where nobody listens, ApiError where the answer is no."""
    connection = http.client.HTTPSConnection(NODE_ADDRESS, API_PORT, timeout=TIMEOUT_S, context=admin_context())
    try:
        text = None if body is None else json.dumps(body)
        connection.request(
            method, path, body=text, headers={"Content-Type": content_type, "Accept": "application/json"}
        )
        answer = connection.getresponse()
        words = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if not http.client.OK <= answer.status < http.client.MULTIPLE_CHOICES:
        raise ApiError(answer.status, words)
    return words


def get(path: str) -> Any:
    return json.loads(request("GET", path))


def apply(path: str, manifest: Mapping[str, Any]) -> None:
    """Create or change by server-side apply, which is the same call for both."""
    name = manifest["metadata"]["name"]
    request("PATCH", f"{path}/{name}?fieldManager=flowy-cluster&force=true", manifest, "application/apply-patch+yaml")
