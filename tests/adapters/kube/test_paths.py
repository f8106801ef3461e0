"""Paths, and the resource that a path speaks of."""

import pytest

from flowy_operator.adapters.kube import paths

CASES = {
    paths.jobs(): ("/apis/batch/v1/jobs", "jobs"),
    paths.jobs("ns"): ("/apis/batch/v1/namespaces/ns/jobs", "jobs"),
    paths.jobs("ns", "j"): ("/apis/batch/v1/namespaces/ns/jobs/j", "jobs"),
    paths.pods("ns", "p"): ("/api/v1/namespaces/ns/pods/p", "pods"),
    paths.configmaps("ns"): ("/api/v1/namespaces/ns/configmaps", "configmaps"),
    paths.events("ns"): ("/api/v1/namespaces/ns/events", "events"),
    paths.workflows(): ("/apis/flowy.dev/v1alpha1/workflows", "workflows"),
    paths.workflow_status("ns", "w"): (
        "/apis/flowy.dev/v1alpha1/namespaces/ns/workflows/w/status",
        "workflows/status",
    ),
    paths.flowy_group(): ("/apis/flowy.dev/v1alpha1", "discovery"),
    "/api/v1/namespaces/ns": ("/api/v1/namespaces/ns", "namespaces"),
    "/api/v1/namespaces": ("/api/v1/namespaces", "namespaces"),
}


@pytest.mark.parametrize(("path", "expected", "resource"), [(path, *row) for path, row in CASES.items()])
def test_table(path: str, expected: str, resource: str) -> None:
    assert path == expected
    assert paths.resource_of(path) == resource
