"""What a container has printed, as far as it can be a result.

Kubernetes keeps standard output and standard error in one log, and of a rotated one only the newest file is served: what
its predecessor held is not there.
"""

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.core.collected import Log
from flowy_operator.core.job import MAIN

MOST_BYTES = MAX_VALUE_BYTES + 1024
"""Kept of a log: the longest result, and white space around it."""

TAIL_ENTRIES = 2048
"""Read of the end of a long log. The kubelet counts entries of its file, not lines, and a runtime splits long lines into
many (containerd: 16 KiB each). So many hold a line of 1 MiB even where an entry has 512 bytes, and are 32 MiB at most."""


async def read_log(client: KubeClient, namespace: str, pod: str) -> Log:
    """The log of the container `main`. Raises ApiError: NotFound without the pod, 400 if the node hasn't the log any more."""
    query = {"container": MAIN, "limitBytes": str(MOST_BYTES + 1)}
    content, size = await client.get_end(paths.pod_log(namespace, pod), query=query, most_bytes=MOST_BYTES)
    if size <= MOST_BYTES:
        return Log(content, is_whole=True)
    query = {"container": MAIN, "tailLines": str(TAIL_ENTRIES)}
    content, _ = await client.get_end(paths.pod_log(namespace, pod), query=query, most_bytes=MOST_BYTES)
    return Log(content, is_whole=False)
