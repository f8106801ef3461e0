"""Two operators outside of the cluster, of which one leads; one that ends is started again, as a Deployment does."""

import asyncio
import base64
import json
import signal
from collections import Counter
from pathlib import Path

import aiohttp

from tests.cluster import certificates
from tests.e2e.kube import Kube
from tests.e2e.operator import OperatorProcess

ACCOUNT = "chaos"
LEASE_S = 5
LOOK_S = 0.2
RESTART_S = 0.5


def user_of(namespace: str) -> str:
    """Who the operators are to the API server. Not the admin: its group is exempt from all limits."""
    return f"system:serviceaccount:{namespace}:{ACCOUNT}"


def make_account(kube: Kube, port: int, folder: Path) -> tuple[Path, str]:
    """A service account that may do everything: its kubeconfig, which leads to 127.0.0.1:`port`, and its token."""
    kube.run("create", "serviceaccount", ACCOUNT)
    words = ["--clusterrole=cluster-admin", f"--serviceaccount={kube.namespace}:{ACCOUNT}"]
    kube.run("create", "clusterrolebinding", kube.namespace, *words)
    token = kube.run("create", "token", ACCOUNT, "--duration=24h").stdout.strip()
    authority = base64.b64encode(certificates.CA.read_bytes()).decode()
    server = f"https://127.0.0.1:{port}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.touch(0o600)
    path.write_text(json.dumps(content))
    return path, token


class Replicas:
    """`ends` counts what processes ended with by themselves."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        options = [
            "--leader-election",
            f"--lease-namespace={namespace}",
            f"--lease-seconds={LEASE_S}",
            # So short that pages are made all the time.
            "--history-tail-bytes=2000",
            "--gateway-url=http://127.0.0.1:9",  # no activity calls it
        ]
        self.processes = [
            OperatorProcess(kubeconfig, namespace, folder / f"operator-{n}.log", log_level="info", options=options)
            for n in "ab"
        ]
        self.ends: Counter[int] = Counter()
        self.lives = 0

    def start(self) -> None:
        for process in self.processes:
            self._launch(process)

    def _launch(self, process: OperatorProcess) -> None:
        with process.log.open("a") as log:
            log.write("\n")  # whoever was killed in the middle of a line doesn't spoil the next one
        process.launch()
        self.lives += 1

    async def supervise(self) -> None:
        while True:
            for process in self.processes:
                code = process.exit_code
                if code is not None:
                    self.ends[code] += 1
                    await asyncio.sleep(RESTART_S)
                    self._launch(process)
            await asyncio.sleep(LOOK_S)

    async def leader(self) -> OperatorProcess | None:
        """The one that says so; nobody between two leaders."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0), trust_env=False) as session:
            for process in self.processes:
                try:
                    async with session.get(f"http://127.0.0.1:{process.health_port}/metrics") as answer:
                        text = await answer.text()
                except (aiohttp.ClientError, TimeoutError, OSError):
                    continue
                if "\nflowy_leader 1.0" in text:
                    return process
        return None

    def kill(self, process: OperatorProcess) -> None:
        process.kill()
        self._launch(process)

    def stop(self) -> list[int]:
        """In good order. Returns the exit codes."""
        for process in self.processes:
            process.send(signal.SIGCONT)
        return [process.stop(20) for process in self.processes]
