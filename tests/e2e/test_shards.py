"""Two shards on the cluster: from one to two and back while workflows run, and a replica that is killed. Nothing lost, nothing twice.

Activities call the gateway at one address, as by a Service: each connection comes to any replica that works.
"""

import random
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from flowy_operator.adapters.gateway.server import address
from flowy_operator.core.share import shard_of
from tests.cluster import cluster
from tests.e2e.kube import Kube, result
from tests.e2e.manifests import CHAIN, mount_folder, shell, workflow
from tests.e2e.operator import OperatorProcess
from tests.e2e.shares import figures, held, wait_for_shares

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="the log is a folder of the node"),
]

WIDTH, LENGTH = 4, 11
LEADS = "this operator leads"
STEP = """
echo "$FLOWY_WORKFLOW $FLOWY_TASK $FLOWY_ATTEMPT" >> /log/ran
call() { wget -q -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" "$@"; }
for n in 1 2 3; do call --post-data $n $FLOWY_URL/heartbeat >> /log/beats && echo >> /log/beats; sleep 1; done
echo $(($1 + 1)) > /tmp/result
until call --post-file /tmp/result $FLOWY_URL/result > /dev/null; do sleep 1; done
"""


class _Relay(socketserver.BaseRequestHandler):
    server: "Balancer"

    def handle(self) -> None:
        behind = self.server.connect()
        if behind is None:
            return
        with behind:
            back = threading.Thread(target=_pour, args=(behind, self.request))
            back.start()
            _pour(self.request, behind)
            back.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    try:
        while block := source.recv(65_536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


class Balancer(socketserver.ThreadingTCPServer):
    """What a Service is to the gateways: those of replicas that wait refuse."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str) -> None:
        super().__init__(("", 0), _Relay)
        self.url = f"http://{host}:{self.server_address[1]}"
        self.ports: list[int] = []
        self.relayed: Counter[int] = Counter()

    def connect(self) -> socket.socket | None:
        for port in random.sample(self.ports, len(self.ports)):
            try:
                found = socket.create_connection(("127.0.0.1", port), timeout=10)
            except OSError:
                continue
            self.relayed[port] += 1
            return found
        return None


def own_address(kubeconfig: Path) -> str:
    """Where pods find this machine: as the operator finds that out for itself."""
    server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return str(urlsplit(address(server, 80)).hostname)


@contextmanager
def balancer(kubeconfig: Path) -> Iterator[Balancer]:
    with Balancer(own_address(kubeconfig)) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            made.shutdown()


Starts = Callable[[str, int], OperatorProcess]


@contextmanager
def starting(kubeconfig: Path, kube: Kube, folder: Path, service: Balancer) -> Iterator[Starts]:
    made: list[OperatorProcess] = []

    def start(name: str, shards: int) -> OperatorProcess:
        options = (
            "--leader-election",
            f"--lease-namespace={kube.namespace}",
            "--lease-name=flowy",
            f"--shards={shards}",
            f"--gateway-url={service.url}",
            "--insecure-decider",
        )
        operator = OperatorProcess(kubeconfig, kube.namespace, folder / f"{name}.log", options=options)
        made.append(operator)
        operator.start(until="waiting for the lease")
        service.ports.append(operator.gateway_port)
        return operator

    try:
        yield start
    finally:
        for operator in made:
            operator.stop(30)


def begin(kube: Kube, folder: Path, prefix: str) -> list[str]:
    names = [f"{prefix}-{n}" for n in range(WIDTH)]
    for name in names:
        step = shell("step", STEP, "$(FLOWY_ARG_0)", activity={"gateway": True}, timeouts={"heartbeatSeconds": 12})
        mount_folder(step, folder, "/log")
        kube.apply(workflow(name, CHAIN, [step], LENGTH, jobs={"keepSucceededSeconds": 1}))
    return names


def check_each_once(kube: Kube, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        assert result(kube.wait_end(name)) == LENGTH
    ran = Counter(tuple(line.split()) for line in (folder / "ran").read_text().splitlines())
    assert ran == {(name, f"step-{n}", "1"): 1 for name in names for n in range(LENGTH)}


def test_from_one_shard_to_two_and_a_replica_that_is_killed(kubeconfig: Path, kube: Kube, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with balancer(kubeconfig) as service, starting(kubeconfig, kube, tmp_path, service) as start:
        old = start("old", 1)
        old.says(LEADS, 1)
        names = begin(kube, tmp_path, "growing")
        uids = [kube.get("workflow", name)["metadata"]["uid"] for name in names]
        kube.wait_until(
            "workflow", names[0], lambda body: body.get("status", {}).get("progress", {}).get("succeeded", 0) >= 2
        )
        new = [start("new", 2), start("newer", 2)]
        assert old.stop() == 0
        for operator in new:
            operator.says(LEADS, 1)
        wait_for_shares(new, [[0], [1]])
        wanted: dict[str, Any] = {"flowy": "2", "flowy-shard-1": "2"}
        found = {
            body["metadata"]["name"]: body["metadata"]["annotations"]["flowy.dev/shards"]
            for body in kube.list("leases")
        }
        assert found == wanted
        kube.wait_until("workflow", names[0], lambda body: body["status"]["progress"]["succeeded"] >= 5)
        kube.wait_until("workflow", names[-1], lambda body: body["status"]["progress"]["succeeded"] >= 5)
        for operator in new:
            (shard,) = held(operator)
            share = [uid for uid in uids if shard_of(uid, 2) == shard]
            assert figures(operator)["flowy_open_workflows"] == len(share)
        new[0].kill()
        service.ports.remove(new[0].gateway_port)
        wait_for_shares(new[1:], [[0, 1]])
        check_each_once(kube, tmp_path, names)
        assert set(service.relayed) == {operator.gateway_port for operator in (old, *new)}, "calls came by each of them"
        for operator in new:
            assert operator.lines(level="ERROR") == []
