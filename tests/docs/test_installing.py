"""The page about installing: its commands are taken by helm, its files are there, its figures are the alerts' and the dashboard's."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from charts.generator.schema import schema, walk
from tests.chart.helm import CHART, helm
from tests.docs.pages import blocks, codes, page, rows, section

PAGE = "installing.md"
ROOT = CHART.parents[1]
OF_THE_CLUSTER = {"--take-ownership", "--reset-then-reuse-values", "--create-namespace", "--wait"}
"""Flags that say what becomes of what is there; `helm template` doesn't have them."""


def commands(program: str) -> Iterator[list[str]]:
    for block in blocks(PAGE, "sh"):
        for line in block.text.splitlines():
            words = shlex.split(line)
            if words[0] == program:
                yield words[1:]


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("words", list(commands("helm")), ids=" ".join)
def test_helm_takes_the_command(words: list[str]) -> None:
    """Rendered instead of carried out: that is for tests/chart."""
    verb, release, *rest = words
    assert verb in {"install", "upgrade", "rollback", "uninstall"}
    known = set(re.findall(r"--[a-z-]+", helm(verb, "--help").stdout))
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known
    if verb in {"install", "upgrade"}:
        chart, *flags = rest
        rendered = [flag for flag in flags if flag not in OF_THE_CLUSTER]
        assert "kind: Deployment" in helm("template", release, ROOT / chart, *rendered).stdout


def test_its_dockerfiles_are_there() -> None:
    built = [ROOT / words[words.index("-f") + 1] for words in commands("docker") if words[0] == "build"]
    listed = [ROOT / codes(name)[0] for name, *_ in rows(section(PAGE, "Images"))]
    assert built
    assert set(built) <= set(listed)
    assert all(path.is_file() for path in listed)


def test_its_values_are_the_charts() -> None:
    known = {path for path, _ in walk(schema())}
    groups = {path.partition(".")[0] for path in known}
    named = {code for code in codes(page(PAGE)) if code.partition(".")[0] in groups and re.fullmatch(r"[\w.]+", code)}
    assert len(named) > 5
    assert named - {"gateway"} <= known


def test_alerts_and_dashboard_use_figures_that_there_are() -> None:
    listed = {codes(name)[0] for name, *_ in rows(section("operating.md", "Health and metrics"))}
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    asked = [alert["expr"] for alert in alerts] + [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in asked:
        found = re.findall(r"flowy_\w+", expression)
        assert found, expression
        for name in found:
            assert name in listed or re.sub("_(bucket|count|sum)$", "", name) in listed, name


def test_the_page_says_which_ports_are_let_out() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    said = re.sub(r"\s+", " ", page(PAGE))
    *first, last = values["networkPolicy"]["apiServerPorts"]
    assert f"than {', '.join(map(str, first))} or {last}" in said


def test_the_versions_are_those_of_the_tests() -> None:
    module = (ROOT / "tests/cluster/helm/go.mod").read_text()
    found = re.search(r"helm\.sh/helm/v4 v(\d+\.\d+)", module)
    assert found is not None
    assert f"Helm {found[1]}." in page(PAGE)
    oldest = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert f"Kubernetes {oldest.removeprefix('>=').removesuffix('.0-0')} or newer" in page(PAGE)


def test_the_sbom_is_where_the_page_says() -> None:
    for path in (ROOT / "images").glob("*/Dockerfile"):
        assert "/opt/flowy/sbom.cdx.json" in Path(path).read_text()
    assert "`/opt/flowy/sbom.cdx.json`" in page(PAGE)
