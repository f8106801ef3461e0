"""Who may talk to whom under the chart's NetworkPolicy. The cluster of these tests doesn't enforce it, so its rules are judged here.

As Kubernetes says it: a pod that a policy selects gets, and sends, what one of its rules lets through; a rule is peers and ports,
where none means all; a named port is the container's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from flowy_operator.core.job import MANAGED_BY
from tests.chart.helm import CHART, NAMESPACE, Object, only, template

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]  # the first needs helm, which may have to be built

NAMESPACED = CHART / "ci" / "namespaced-values.yaml"
SCRAPED = "--set=monitoring.serviceMonitor.enabled=true"


@dataclass(frozen=True)
class Peer:
    """A pod somewhere, or with no labels something that is none: an address."""

    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)


ACTIVITY = Peer("media", MANAGED_BY)
ELSEWHERE = Peer("hr", MANAGED_BY)
STRANGER = Peer("media", {"app": "web"})
PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
ADDRESS = Peer("", {})


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "judged by nothing here"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def is_peer(rule: Mapping[str, Any], peer: Peer) -> bool:
    assert set(rule) <= {"namespaceSelector", "podSelector"}
    if not peer.namespace:
        return False  # no selector finds what is no pod
    namespace = {"kubernetes.io/metadata.name": peer.namespace}
    here = rule.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}})
    return selects(here, namespace) and selects(rule.get("podSelector", {}), peer.labels)


def lets(rules: Sequence[Mapping[str, Any]], side: str, peer: Peer, ports: set[int | str], protocol: str) -> bool:
    for rule in rules:
        assert set(rule) <= {side, "ports"}
        peers, allowed = rule.get(side), rule.get("ports")
        if peers is not None and not any(is_peer(one, peer) for one in peers):
            continue
        if allowed is None or any(one["port"] in ports and one["protocol"] == protocol for one in allowed):
            return True
    return False


def verdict(found: list[Object], direction: str, peer: Peer, port: int, protocol: str) -> bool:
    policy = only(found, "NetworkPolicy")["spec"]
    pod = only(found, "Deployment")["spec"]["template"]
    assert selects(policy["podSelector"], pod["metadata"]["labels"])
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    named = {one["name"] for one in pod["spec"]["containers"][0]["ports"] if one["containerPort"] == port}
    if direction == "in":
        return lets(policy["ingress"], "from", peer, {port, *named}, protocol)
    return lets(policy["egress"], "to", peer, {port}, protocol)


# Values, direction, peer, port, protocol, whether it is let through.
FLOWS: Mapping[str, tuple[Sequence[str], str, Peer, int, str, bool]] = {
    "an activity calls the gateway": ([], "in", ACTIVITY, 8082, "TCP", True),
    "one on a port that was moved": (["--set=gateway.port=9000"], "in", ACTIVITY, 9000, "TCP", True),
    "but no longer on the old one": (["--set=gateway.port=9000"], "in", ACTIVITY, 8082, "TCP", False),
    "not over UDP": ([], "in", ACTIVITY, 8082, "UDP", False),
    "any other pod doesn't": ([], "in", STRANGER, 8082, "TCP", False),
    "nor what is no pod": ([], "in", ADDRESS, 8082, "TCP", False),
    "an activity of a namespace that is looked after": ([f"--values={NAMESPACED}"], "in", ACTIVITY, 8082, "TCP", True),
    "one of another namespace": ([f"--values={NAMESPACED}"], "in", ELSEWHERE, 8082, "TCP", False),
    "an activity doesn't read the figures": ([], "in", ACTIVITY, 8080, "TCP", False),
    "nobody scrapes unasked": ([], "in", PROMETHEUS, 8080, "TCP", False),
    "with a ServiceMonitor Prometheus does": ([SCRAPED], "in", PROMETHEUS, 8080, "TCP", True),
    "and still not the gateway": ([SCRAPED], "in", PROMETHEUS, 8082, "TCP", False),
    "the operator asks for names": ([], "out", Peer("kube-system", {"k8s-app": "kube-dns"}), 53, "UDP", True),
    "a long answer comes by TCP": ([], "out", Peer("kube-system", {"k8s-app": "kube-dns"}), 53, "TCP", True),
    "it calls the API server": ([], "out", ADDRESS, 6443, "TCP", True),
    "one on another port": (["--set=networkPolicy.apiServerPorts={7443}"], "out", ADDRESS, 7443, "TCP", True),
    "and then no longer the usual ones": (
        ["--set=networkPolicy.apiServerPorts={7443}"],
        "out",
        ADDRESS,
        6443,
        "TCP",
        False,
    ),
    "it calls no pod": ([], "out", STRANGER, 80, "TCP", False),
    "nor the world": ([], "out", ADDRESS, 80, "TCP", False),
}


@cache
def rendered(values: tuple[str, ...]) -> list[Object]:
    return template(*values)


@pytest.mark.parametrize("flow", FLOWS)
def test_flow(flow: str) -> None:
    values, direction, peer, port, protocol, allowed = FLOWS[flow]
    assert verdict(rendered(tuple(values)), direction, peer, port, protocol) is allowed


def test_without_a_policy_there_is_none() -> None:
    found = template("--set=networkPolicy.enabled=false")
    assert [one for one in found if one["kind"] == "NetworkPolicy"] == []
