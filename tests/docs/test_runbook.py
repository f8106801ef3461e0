"""The pages for whoever is on call or upgrades: every alert and every stall is there, and recorded runs replay as promised."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from flowy_cli.main import flowy
from flowy_operator.core.conditions import Blocker
from flowy_operator.core.errors import StallReason
from tests.chart.helm import only, template
from tests.docs.pages import DOCS, blocks, codes, page, rows, section

PAGE = "runbook.md"
ROOT = DOCS.parent
HISTORIES = sorted((ROOT / "tests" / "histories").glob("*.json"))


def test_every_alert_has_a_section_and_there_is_no_other() -> None:
    alerts = [alert["alert"] for alert in yaml.safe_load((ROOT / "charts/flowy/files/alerts.yaml").read_text())]
    headings = [line.removeprefix("### ") for line in page(PAGE).splitlines() if line.startswith("### ")]
    assert headings == alerts
    assert all(section(PAGE, alert).strip() for alert in alerts)


def test_every_stall_has_a_row() -> None:
    listed = [codes(reason)[0] for reason, *_ in rows(section(PAGE, "Stalls"))]
    assert sorted(listed) == sorted([*Blocker, *StallReason])


def test_values_of_the_chart_that_the_pages_name_are_there() -> None:
    values = json.loads((ROOT / "charts/flowy/values.schema.json").read_text())["properties"]
    for name in (PAGE, "versioning.md"):
        for code in codes(page(name)):
            group, _, field = code.partition(".")
            if group in {"settings", "restrict", "monitoring"}:
                assert field in values[group]["properties"], code


@pytest.mark.cluster
@pytest.mark.timeout(600)  # helm may have to be built
def test_the_lease_is_the_one_that_the_chart_names() -> None:
    (container, *_) = only(template(), "Deployment")["spec"]["template"]["spec"]["containers"]
    (name,) = (one["value"] for one in container["env"] if one["name"] == "FLOWY_LEASE_NAME")
    assert f"The Lease `{name}` says" in page(PAGE)


@pytest.mark.parametrize("file", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_run_is_what_this_version_would_do(file: Path) -> None:
    """They were recorded by former versions and are never edited."""
    kinds = json.loads(file.read_text())
    found = kinds["items"] if kinds["kind"] == "List" else [kinds]
    names = [item["metadata"]["name"] for item in found if item["kind"] == "Workflow"]
    assert names
    for name in names:
        done = CliRunner().invoke(flowy, ["replay", str(file), "--name", name])
        assert done.exit_code == 0, f"{name}: {done.output}"


def test_the_page_about_versions_uses_the_command_by_which_they_are_tested() -> None:
    (loop,) = (block.text for block in blocks("versioning.md", "sh"))
    assert "flowy replay " in loop
    listing, options = "flowy list -n media --open --children -o name", {"--open", "--children", "-o", "-n"}
    assert listing in loop
    assert options <= {option for parameter in flowy.commands["list"].params for option in parameter.opts}
