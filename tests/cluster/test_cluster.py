"""What other tests rely on: pods, addresses, volumes, tokens, evictions, and objects that outlive a killed API server or etcd.

Everything happens in a namespace of its own through kubectl, so that the suite holds on a cluster named by KUBECONFIG too, except
where a component is stopped.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cluster, place, processes, remains
from tests.cluster.added_node import pod_template
from tests.cluster.errors import ClusterError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

BUSYBOX = "flowy.local/busybox:1"
PATIENCE_S = 60.0
Manifest = dict[str, Any]


class Namespace:
    """A namespace that goes with its test."""

    def __init__(self, kubectl: Path, kubeconfig: Path, name: str) -> None:
        self.base = [str(kubectl), f"--kubeconfig={kubeconfig}", f"--namespace={name}"]

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run([*self.base, *words], input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, *manifests: Manifest) -> None:
        self.kubectl("create", "-f", "-", stdin="\n---\n".join(json.dumps(manifest) for manifest in manifests))

    def get(self, what: str) -> Manifest:
        found: Manifest = json.loads(self.kubectl("get", what, "--output=json"))
        return found

    def wait(self, what: str, condition: Callable[[Manifest], bool]) -> Manifest:
        deadline = time.monotonic() + PATIENCE_S
        while not condition(found := self.get(what)):
            assert time.monotonic() < deadline, f"{what} is still {json.dumps(found.get('status'))}"
            time.sleep(0.1)
        return found

    def output(self, pod: str) -> str:
        """Wait for the pod's end and return what it wrote."""
        found = self.wait(f"pod/{pod}", lambda one: one["status"]["phase"] in {"Succeeded", "Failed"})
        logs = self.kubectl("logs", pod)
        assert found["status"]["phase"] == "Succeeded", logs
        return logs


@pytest.fixture(scope="module")
def kubeconfig() -> Path:
    return cluster.up()


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[Namespace]:
    name = f"cluster-test-{uuid.uuid4().hex[:8]}"
    inside = Namespace(cluster.kubectl_path(), kubeconfig, name)
    inside.kubectl("create", "namespace", name)
    deadline = time.monotonic() + PATIENCE_S
    while "default" not in inside.kubectl("get", "serviceaccounts", "--output=name"):
        assert time.monotonic() < deadline, "no service account appeared"
        time.sleep(0.05)
    yield inside
    inside.kubectl("delete", "namespace", name, "--wait=false")


def pod(name: str, script: str, **spec: Any) -> Manifest:
    """Build a pod that runs a shell script; `spec` adds to the pod's, `container` in it to the container's."""
    container = {
        "name": "main",
        "image": BUSYBOX,
        "command": ["sh", "-euc", script],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def _conditions(job: Manifest) -> dict[str, str]:
    return {c["type"]: c["status"] for c in job["status"].get("conditions", ())}


def test_the_node_is_ready(namespace: Namespace) -> None:
    nodes = namespace.get("nodes")["items"]
    assert nodes
    for node in nodes:
        assert {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in node["status"]["conditions"]}.items()


def test_metrics_of_the_api_server_are_readable(namespace: Namespace) -> None:
    assert "apiserver_request_total{" in namespace.kubectl("get", "--raw", "/metrics")


def test_a_job_reads_its_input_file_and_gets_arguments_without_a_shell(namespace: Namespace) -> None:
    awkward = "a 'b' \"c\" $d\\ *"
    template = pod(
        "input",
        'cat /input/value; printf "[%s]" "$1"',
        container={
            "command": ["sh", "-euc", 'cat /input/value; printf "[%s]" "$1"', "sh"],
            "args": ["$(ARGUMENT)"],
            "env": [{"name": "ARGUMENT", "value": awkward}],
            "volumeMounts": [{"name": "input", "mountPath": "/input"}],
        },
        volumes=[
            {
                "name": "input",
                "downwardAPI": {
                    "items": [{"path": "value", "fieldRef": {"fieldPath": "metadata.annotations['flowy/input']"}}]
                },
            }
        ],
    )
    template["metadata"]["annotations"] = {"flowy/input": '{"n": 1}'}
    namespace.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "one"},
            "spec": {"backoffLimit": 0, "template": {"metadata": template["metadata"], "spec": template["spec"]}},
        }
    )

    # `SuccessCriteriaMet` may come by itself before it.
    job = namespace.wait("job/one", lambda one: not {"Complete", "Failed"}.isdisjoint(_conditions(one)))

    conditions = _conditions(job)
    assert conditions.get("Complete") == "True", job["status"]
    assert namespace.kubectl("logs", "job/one") == '{"n": 1}' + f"[{awkward}]"


def test_a_pod_reaches_a_service_and_the_api_server(namespace: Namespace) -> None:
    server = pod("server", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www")
    server["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"port": 8080, "path": "/"},
        "periodSeconds": 1,
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    namespace.create(server, service)
    namespace.kubectl("wait", "pod/server", "--for=condition=Ready", "--timeout=60s")
    address = namespace.get("service/server")["spec"]["clusterIP"]

    # kube-proxy writes its rules a moment after the endpoint is known: until then the address refuses. Not wget's own -T, on
    # which Debian's busybox crashes.
    namespace.create(
        pod(
            "client",
            f"for i in $(seq 50); do timeout 2 wget -q -O - http://{address}/ && break; usleep 100000; done; "
            "nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo api",
        )
    )

    assert namespace.output("client") == "hello\napi\n"


def test_a_claim_is_bound_and_keeps_what_a_pod_wrote(namespace: Namespace) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    volume = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    namespace.create(claim, pod("writer", "echo kept >/data/file", container=mount, **volume))
    namespace.output("writer")
    namespace.create(pod("reader", "cat /data/file", container=mount, **volume))

    assert namespace.output("reader") == "kept\n"
    assert namespace.get("pvc/data")["status"]["phase"] == "Bound"


def test_a_projected_token_of_an_own_audience_names_its_pod(namespace: Namespace) -> None:
    token = {"serviceAccountToken": {"audience": "flowy", "expirationSeconds": 600, "path": "token"}}
    namespace.create(
        pod(
            "holder",
            "sleep 600",  # stays: a token is bound to its pod, and void after the pod's end
            container={"volumeMounts": [{"name": "token", "mountPath": "/token"}]},
            volumes=[{"name": "token", "projected": {"sources": [token]}}],
        )
    )
    namespace.kubectl("wait", "pod/holder", "--for=condition=Ready", "--timeout=60s")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": namespace.kubectl("exec", "holder", "--", "cat", "/token/token"), "audiences": ["flowy"]},
    }

    said = namespace.kubectl("create", "--output=json", "-f", "-", stdin=json.dumps(review))

    answer = json.loads(said)["status"]
    assert answer["authenticated"] is True
    assert answer["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["holder"]


def test_an_evicted_pod_says_so_before_it_ends(namespace: Namespace) -> None:
    name = "evicted"
    namespace.create(pod(name, "trap 'exit 1' TERM; sleep 600 & wait", terminationGracePeriodSeconds=5))
    namespace.kubectl("patch", f"pod/{name}", "--type=merge", "--patch", '{"metadata": {"finalizers": ["flowy/test"]}}')
    namespace.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    inside = namespace.get(f"pod/{name}")["metadata"]["namespace"]
    path = f"/api/v1/namespaces/{inside}/pods/{name}/eviction"

    namespace.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    ended = namespace.wait(f"pod/{name}", lambda one: one["status"]["phase"] == "Failed")
    namespace.kubectl("patch", f"pod/{name}", "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
    conditions = {c["type"]: c["status"] for c in ended["status"]["conditions"]}
    assert conditions["DisruptionTarget"] == "True"


@pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="its components are not ours to stop")
@pytest.mark.parametrize("component", ["etcd", "kube-apiserver"])
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_objects_outlive_a_component(namespace: Namespace, component: str, how: str) -> None:
    namespace.kubectl("create", "configmap", "kept", "--from-literal=key=value")

    if how == "restart":
        cluster.restart(component)
    else:
        cluster.kill(component)
        cluster.start(component)

    namespace.wait("configmap/kept", lambda one: one["data"] == {"key": "value"})
    namespace.create(pod("after", "echo runs"))
    assert namespace.output("after") == "runs\n"


@pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="nothing is built for it")
def test_an_image_is_built_once_and_runs(namespace: Namespace, tmp_path: Path) -> None:
    tag, word = "flowy.local/cluster-test:1", uuid.uuid4().hex
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY words /words\nRUN echo built >>/words\n")
    (tmp_path / "words").write_text(f"{word}\n")
    build_args = {"BASE": BUSYBOX}

    assert cluster.build_image(tmp_path, tag, build_args=build_args) == tag
    assert tag in cluster.list_images()
    namespace.create(pod("built", "cat /words", container={"image": tag}))
    assert namespace.output("built") == f"{word}\nbuilt\n"


@pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="nothing is built for it")
def test_an_image_on_an_unknown_base_is_refused_with_a_way_out(kubeconfig: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE=python:3.13-slim\nFROM ${BASE}\n")

    with pytest.raises(ClusterError, match=r"--build-arg BASE=flowy\.local/python:3"):
        cluster.build_image(tmp_path, "flowy.local/never:1")


ADDING = """
from tests.cluster.added_node import added_nodes

with added_nodes(9) as [node]:
    print(node.name, flush=True)
    input()
"""


@pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="no node can be added to it")
def test_an_added_node_goes_with_whoever_is_killed(namespace: Namespace) -> None:
    where = place.added(9)
    # Its own folder is where `tests` is found.
    asker = subprocess.Popen(
        [sys.executable, "-c", ADDING],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == f"{where.name}\n"
        namespace.create(pod("there", "echo here; sleep 600", **pod_template(where.name)["spec"]))
        found = namespace.wait("pod/there", lambda one: one["status"]["phase"] == "Running")
        assert found["spec"]["nodeName"] == where.name
        assert namespace.kubectl("logs", "there") == "here\n", "its kubelet can be asked"

        asker.kill()

    deadline = time.monotonic() + PATIENCE_S
    while where.name in namespace.kubectl("get", "nodes", "--output=name"):
        assert time.monotonic() < deadline, f"{where.name} is still there"
        time.sleep(0.1)
    assert namespace.kubectl("get", "pods", "--output=name") == ""
    assert not where.run.exists()
    assert not where.kept.exists()
    assert processes.find(where.component("kubelet")) is None


@pytest.mark.cluster_lifecycle
@pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="it is not ours to stop")
def test_nothing_is_left_after_down(kubeconfig: Path) -> None:
    """Also not of a container that was being made: its control groups are there, and containerd doesn't know it yet."""
    parents = [
        folder for folder in (remains.CGROUPS, *remains.CGROUPS.glob("*/")) if (folder / remains.CGROUP_PARENT).is_dir()
    ]
    assert parents
    for folder in parents:
        (folder / remains.CGROUP_PARENT / f"unknown-{uuid.uuid4().hex}").mkdir()
    cluster.down()

    assert remains.listing() == []
    assert all(component.pid is None for component in cluster.status())
    cluster.up()
