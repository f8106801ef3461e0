"""Write the files that are generated from the models, or find out whether they are up to date."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from flowy_operator.adapters.crd import reference, schema
from flowy_operator.adapters.crd.kinds import GROUP, KINDS


def generated() -> dict[Path, str]:
    """Make every file, by its path below the root of the repository."""
    files: dict[Path, str] = {}
    for kind in KINDS:
        files[Path(f"crds/{kind.plural}.{GROUP}.yaml")] = schema.to_yaml(schema.crd(kind))
        files[Path(f"docs/reference/{kind.name.lower()}.md")] = reference.page(kind)
    return files


def settle(files: Mapping[Path, str], root: Path, *, check: bool) -> None:
    """Write the files below `root`, or with `check` end with 1 if one of them differs."""
    for path, text in files.items():
        if check:
            if not (root / path).is_file() or (root / path).read_text() != text:
                click.echo(f"{path} is not what its sources say: run make generate", err=True)
                sys.exit(1)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file differs.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".", show_default=True)
def main(check: bool, root: Path) -> None:  # noqa: FBT001 (click passes flags so)
    """Write the CRDs and their reference."""
    settle(generated(), root, check=check)


if __name__ == "__main__":
    main()
