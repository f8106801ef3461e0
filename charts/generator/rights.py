"""The operator's rights, as docs/operating.md grants them: that page is their source, and a test holds it to the code."""

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path("docs/operating.md")

_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def rules(root: Path) -> dict[str, str]:
    """The rules of each role on the page, as YAML, by the role's name."""
    roles: list[Any] = [yaml.safe_load(text) for text in _BLOCK.findall((root / PAGE).read_text())]
    return {
        role["metadata"]["name"]: yaml.safe_dump(role["rules"], sort_keys=False, default_flow_style=None)
        for role in roles
        if "rules" in role
    }
