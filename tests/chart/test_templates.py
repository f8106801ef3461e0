"""What the chart makes of values: every object, for each of the ci/ values, and what it refuses."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowy_operator.app.settings import Settings, read_settings
from tests.chart.helm import CHART, NAMESPACE, Object, helm, objects, of_kind, only, template
from tests.cluster import cluster
from tests.docs.test_operating import granted
from tests.e2e.kube import Kube

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]  # the first needs helm, which may have to be built

CASES = sorted((CHART / "ci").glob("*-values.yaml"))
FULL, NAMESPACED, BARE = (CHART / "ci" / f"{name}-values.yaml" for name in ("full", "namespaced", "bare"))


DECIDER_MIB = 2048


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.stem)
def rendered(request: pytest.FixtureRequest) -> tuple[Object, list[Object]]:
    """The values of one case, and its objects."""
    return yaml.safe_load(request.param.read_text()), template(f"--values={request.param}")


def pod_of(found: list[Object]) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = only(found, "Deployment")["spec"]["template"]
    return pod


def gateway(found: list[Object]) -> Object:
    (service,) = (one for one in of_kind(found, "Service") if not one["metadata"]["name"].endswith("-metrics"))
    return service


def environment(found: list[Object]) -> dict[str, str]:
    container, *_ = pod_of(found)["spec"]["containers"]
    return {one["name"]: one["value"] if "value" in one else _downward(one["valueFrom"]) for one in container["env"]}


def _downward(source: Object) -> str:
    """What Kubernetes would tell the operator's container."""
    if "resourceFieldRef" in source:
        assert source["resourceFieldRef"] == {"containerName": "decider", "resource": "limits.memory", "divisor": "1Mi"}
        return str(DECIDER_MIB)
    return {"metadata.name": "flowy-1", "metadata.namespace": NAMESPACE}[source["fieldRef"]["fieldPath"]]


# -- every case -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_helm_has_nothing_to_complain_of(case: Path) -> None:
    said = helm("lint", "--strict", CHART, f"--values={case}").stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in said
    assert set(re.findall(r"^\[(\w+)\]", said, re.MULTILINE)) <= {"INFO"}


def test_no_object_is_made_twice(rendered: tuple[Object, list[Object]]) -> None:
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in rendered[1]]
    assert len(names) == len(set(names))


def test_every_object_has_the_labels(rendered: tuple[Object, list[Object]]) -> None:
    values, found = rendered
    wanted = {"app.kubernetes.io/instance": "flowy", **values.get("commonLabels", {})}
    extra = {one["metadata"]["name"] for one in found if one["metadata"]["name"].endswith("-extra")}
    for one in found:
        if one["metadata"]["name"] not in extra:
            assert wanted.items() <= one["metadata"]["labels"].items(), one["metadata"]["name"]


def test_the_service_and_the_deployment_find_their_pods(rendered: tuple[Object, list[Object]]) -> None:
    found = rendered[1]
    labels = pod_of(found)["metadata"]["labels"].items()
    # The operator itself lays the leader's label on its pod.
    assert gateway(found)["spec"]["selector"].items() <= {*labels, ("flowy.dev/leader", "true")}
    assert gateway(found)["spec"]["selector"]["flowy.dev/leader"] == "true"
    assert only(found, "Deployment")["spec"]["selector"]["matchLabels"].items() <= labels
    for policy in of_kind(found, "NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels


def test_the_operator_reads_its_settings(rendered: tuple[Object, list[Object]]) -> None:
    """Every value of `settings` arrives as what it was, read by the operator's own code."""
    values, found = rendered
    said = read(environment(found))
    for name, value in values.get("settings", {}).items():
        assert getattr(said, re.sub("([A-Z])", r"_\1", name).lower()) == value
    assert said.namespaces == tuple(values.get("namespaces", ()))
    (decider,) = pod_of(found)["spec"]["initContainers"]
    limited = "memory" in (decider["resources"] or {}).get("limits", {})
    assert said.decider_memory_mib == (DECIDER_MIB if limited else None)
    assert said.definitions_only is values.get("restrict", {}).get("inlineCode", False)
    container, *_ = pod_of(found)["spec"]["containers"]
    assert said.gateway_port == container["ports"][0]["containerPort"] == gateway(found)["spec"]["ports"][0]["port"]


def read(given: Mapping[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        return read_settings({}, given)


def test_the_decider_has_the_socket_and_nothing_else(rendered: tuple[Object, list[Object]]) -> None:
    spec = pod_of(rendered[1])["spec"]
    (decider,) = spec["initContainers"]
    operator = spec["containers"][0]
    assert spec["automountServiceAccountToken"] is False
    assert [mount["name"] for mount in decider["volumeMounts"]] == ["decider"]
    assert "token" in [mount["name"] for mount in operator["volumeMounts"]]
    assert decider["image"] == operator["image"]
    assert decider["args"][:3] == ["decider", "--socket", read(environment(rendered[1])).decider_socket]
    user = spec["securityContext"]["runAsUser"]
    assert decider["securityContext"]["runAsUser"] not in {0, user}
    assert "env" not in decider


def test_nobody_gets_more_than_the_page_says(rendered: tuple[Object, list[Object]]) -> None:
    values, found = rendered
    roles = {(role["kind"], role["metadata"]["name"]): role for role in of_kind(found, "Role", "ClusterRole")}
    bindings = [one for one in of_kind(found, "RoleBinding", "ClusterRoleBinding") if "hook" not in json.dumps(one)]
    has = set()
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert subject["name"] == pod_of(found)["spec"]["serviceAccountName"]
        assert subject["namespace"] == NAMESPACE
        for rule in roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]["rules"]:
            has |= {(verb, resource) for resource in rule["resources"] for verb in rule["verbs"]}
    assert has == (set() if values.get("rbac", {}).get("create") is False else granted())
    forbidden = re.compile(r"^(secrets|pods/exec|pods/attach|nodes.*|\*)$")
    for role in roles.values():
        for rule in role["rules"]:
            named = (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert not [one for one in named if forbidden.match(one)]


# -- values and what they change --------------------------------------------------------------------------------------


def test_the_crds_are_the_repositorys() -> None:
    kept = of_kind(template(), "CustomResourceDefinition")
    assert len(kept) == 3
    for found in kept:
        text = (CHART.parents[1] / "crds" / f"{found['metadata']['name']}.yaml").read_text()
        assert len(text) < 100_000
        source = yaml.safe_load(text)
        assert found["spec"] == source["spec"]
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert of_kind(template("--set=crds.enabled=false"), "CustomResourceDefinition") == []
    unkept = of_kind(template("--set=crds.keep=false"), "CustomResourceDefinition")
    assert [one["metadata"].get("annotations") for one in unkept] == [None] * 3


def test_one_value_chooses_between_the_cluster_and_namespaces() -> None:
    everywhere = template()
    assert {one["metadata"].get("namespace") for one in of_kind(everywhere, "ClusterRoleBinding")} == {None}
    some = template(f"--values={NAMESPACED}")
    roles = [
        one for one in of_kind(some, "RoleBinding") if "helm.sh/hook" not in one["metadata"].get("annotations", {})
    ]
    assert {one["metadata"]["namespace"] for one in roles} == {"media", "ads", NAMESPACE}
    # Tokens belong to no namespace.
    (tokens,) = of_kind(some, "ClusterRoleBinding")
    assert tokens["metadata"]["name"].endswith("-tokens")


def test_a_budget_only_where_there_is_somebody_to_spare() -> None:
    assert len(of_kind(template(), "PodDisruptionBudget")) == 1
    assert of_kind(template("--set=replicas=1"), "PodDisruptionBudget") == []
    assert of_kind(template("--set=podDisruptionBudget=false"), "PodDisruptionBudget") == []
    assert read(environment(template("--set=replicas=1"))).leader_election  # for the moment in which a roll-out has two


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    found = template(
        "--set=image.repository=r.example.com/f", f"--set=image.digest={digest}", "--set-string=image.tag=9"
    )
    assert pod_of(found)["spec"]["containers"][0]["image"] == f"r.example.com/f@{digest}"
    assert pod_of(template("--set-string=image.tag=9"))["spec"]["containers"][0]["image"] == "flowy-operator:9"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert pod_of(template())["spec"]["containers"][0]["image"] == f"flowy-operator:{version}"


def test_activities_are_told_the_services_name() -> None:
    assert read(environment(template())).gateway_url == f"http://flowy.{NAMESPACE}.svc:8082"
    assert read(environment(template(f"--values={FULL}"))).gateway_url == "https://flowy.example.com/gateway"


def test_two_releases_share_no_name() -> None:
    one, other = (
        objects(helm("template", "flowy", CHART, f"--namespace={namespace}", "--set=crds.enabled=false").stdout)
        for namespace in ("a", "b")
    )
    names = [
        {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found} for found in (one, other)
    ]
    assert names[0].isdisjoint(names[1])


def test_strings_of_extra_objects_are_templates() -> None:
    found = [one for one in template(f"--values={FULL}") if one["metadata"]["name"] == "runner-extra"]
    assert [one["data"] for one in found] == [{"release": "flowy"}]


def test_the_notes_name_what_to_do_first() -> None:
    said = helm("install", "flowy", CHART, f"--namespace={NAMESPACE}", "--dry-run=client").stdout
    notes = said.partition("NOTES:\n")[2]
    commands = re.findall(r"^  (\S+ \S+)", notes, re.MULTILINE)
    assert commands == ["helm test", "kubectl apply", "kubectl get"]


def test_a_decider_without_a_limit_tells_the_operator_none() -> None:
    """Kubernetes would say 0 of a sidecar's, or the node's memory."""
    for given in ("--set=decider.resources.limits=null", "--set=decider.resources=null"):
        assert "FLOWY_DECIDER_MEMORY_MIB" not in environment(template(given))
    assert "FLOWY_DECIDER_MEMORY_MIB" in environment(template())


def test_what_is_taken_away_by_null_is_as_if_it_were_not_given() -> None:
    found = template("--set=namespaces=null", "--set=health.liveness=null", "--set=pod.labels=null")
    assert of_kind(found, "ClusterRole")
    assert pod_of(found)["spec"]["containers"][0]["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": "health"}
    }


def test_a_label_of_the_pod_wins_over_a_common_one() -> None:
    found = template("--set=commonLabels.team=all", "--set=pod.labels.team=media")
    assert pod_of(found)["metadata"]["labels"]["team"] == "media"
    assert only(found, "Deployment")["metadata"]["labels"]["team"] == "all"


def test_a_constraint_of_ones_own_keeps_its_selector() -> None:
    zone = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = zone | {"labelSelector": {"matchLabels": {"x": "y"}}}
    found = template(f"--set-json=pod.topologySpreadConstraints={json.dumps([zone, own])}")
    spec = only(found, "Deployment")["spec"]
    assert spec["template"]["spec"]["topologySpreadConstraints"] == [zone | {"labelSelector": spec["selector"]}, own]


REFUSED = {
    "an unknown value": (["--set=replicaz=1"], "replicaz"),
    "an unknown value of a group": (["--set=image.name=x"], "name"),
    "an unknown setting": (["--set=settings.workerz=1"], "workerz"),
    "a setting out of its bounds": (["--set=settings.workers=1000"], "256"),
    "a setting that the chart fills in": (["--set=settings.gatewayPort=1"], "gatewayPort"),
    "another type": (["--set=crds.enabled=perhaps"], "boolean"),
    "text for a number": (["--set-string=gateway.port=80"], "integer"),
    "a digest that is none": (["--set=image.digest=latest"], "digest"),
    "a policy that isn't one": (["--set=image.pullPolicy=Sometimes"], "IfNotPresent"),
    "a list for a text": (["--set=namespaces=media"], "array"),
    "a namespace without a name": (["--set=namespaces={}"], "namespaces/0"),
    "a namespace that can't be there": (["--set=namespaces={Media}"], "namespaces/0"),
    "a namespace twice": (["--set=namespaces={media,media}"], "equal"),
    "a label of the chart's own": ([r"--set=commonLabels.app\.kubernetes\.io/name=x"], "app.kubernetes.io/name"),
    "no port to the API server": (["--set-json=networkPolicy.apiServerPorts=[]"], "apiServerPorts"),
    "one port for both": (["--set=gateway.port=8080"], "gateway.port and health.port must differ"),
}


@pytest.mark.parametrize(("words", "named"), REFUSED.values(), ids=REFUSED)
def test_it_refuses(words: list[str], named: str) -> None:
    done = helm("template", "flowy", CHART, *words, check=False)
    assert done.returncode != 0
    assert named in done.stderr


# -- as the API server sees it ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def restricted() -> Iterator[Kube]:
    """A namespace that takes no pod but what Pod Security calls restricted."""
    kube = Kube(cluster.up(), f"chart-templates-{uuid.uuid4().hex[:6]}")
    kube.run("create", "namespace", kube.namespace)
    kube.run("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    yield kube
    kube.run("delete", "namespace", kube.namespace, "--wait=false")


def test_the_api_server_takes_every_object(rendered: tuple[Object, list[Object]], restricted: Kube) -> None:
    found = []
    for one in rendered[1]:
        if one["kind"] in {"Pod", "ServiceMonitor", "PrometheusRule"}:
            continue  # wants its service account; kinds that this cluster doesn't have
        metadata = {**one["metadata"]}
        if "namespace" in metadata or one["kind"] == "ConfigMap":
            metadata["namespace"] = restricted.namespace
        found.append({**one, "metadata": metadata})
    said = restricted.run(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=yaml.safe_dump_all(found),
    )
    assert said.stdout.count("serverside-applied") == len(found)
    assert said.stderr == ""


def test_its_pods_are_restricted(rendered: tuple[Object, list[Object]], restricted: Kube) -> None:
    """The Deployment alone would be taken with a warning: it is the pod that is refused."""
    for one in (pod_of(rendered[1]), only_hook(rendered[1])):
        spec = {**one["spec"]}
        spec.pop("serviceAccountName")
        spec.pop("priorityClassName", None)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "looked-at"}, "spec": spec}
        restricted.run("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(pod))


def only_hook(found: list[Object]) -> Object:
    (pod,) = of_kind(found, "Pod")
    return pod
