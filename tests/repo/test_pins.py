"""What goes into the images is what was tested: the pins of the project, no more than the operator needs."""

import re
import tomllib

import pytest

from tests.repo.pins import ROOT, pins


def test_the_operators_pins_are_the_projects() -> None:
    project = pins("constraints.txt")
    assert pins("images/operator.txt").items() <= project.items(), "run make pins"


def test_every_dependency_is_in_the_operators_pins() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=]", one)[0].lower().replace("_", "-") for one in wanted}
    assert names <= {name for name, _ in pins("images/operator.txt")}, "run make pins"


@pytest.mark.parametrize("name", ["images/operator.txt", "images/build.txt"])
def test_every_pin_has_hashes_and_names_no_address(name: str) -> None:
    assert all(pins(name).values())
    assert "://" not in (ROOT / name).read_text()
