"""Write the generated files of the chart, or find out whether they are up to date."""

import json
from pathlib import Path

import click

from charts.generator import page, rights
from charts.generator.schema import schema
from flowy_operator.adapters.crd.__main__ import settle

CHART = Path("charts/flowy")


def generated(root: Path) -> dict[Path, str]:
    """Make every file, by its path below the root of the repository."""
    files = {
        CHART / "values.yaml": page.values_yaml(),
        CHART / "values.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
        CHART / "README.md": page.readme(),
    }
    # Copies and no links: a chart must be whole where it is unpacked.
    for crd in sorted((root / "crds").glob("*.yaml")):
        files[CHART / "files" / "crds" / crd.name] = crd.read_text()
    for name, text in rights.rules(root).items():
        files[CHART / "files" / "rights" / f"{name}.yaml"] = text
    return files


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file differs.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".", show_default=True)
def main(check: bool, root: Path) -> None:  # noqa: FBT001 (click passes flags so)
    """Write the chart's values, schema, page, and its copies of CRDs and rights."""
    settle(generated(root), root, check=check)


if __name__ == "__main__":
    main()
