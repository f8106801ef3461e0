"""What pytest loads wherever Flowy is installed: the fixtures `flowy_code`, `flowy_rehearse`, `flowy_replays`.

Everything but pytest itself is imported by the fixtures, so that other projects' tests start as fast as before.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from flowy.testing import Rehearsal, Rehearsed

_SHOWN = 3
"""Rehearsals that a failed test shows: its last ones."""

_WIDTH = 100


class Replays(Protocol):
    """`flowy_replays(history, code)`; `history` and a file of code are relative to the test's file."""

    def __call__(
        self,
        history: str | PathLike[str],
        code: str | PathLike[str] | Callable[..., Any] | None = None,
        *,
        entrypoint: str | None = None,
        name: str | None = None,
    ) -> int: ...


class CodeOf(Protocol):
    """`flowy_code(file)`; `file` is relative to the test's file."""

    def __call__(self, file: str | PathLike[str], entrypoint: str | None = None) -> tuple[str, str | None]: ...


class Rehearse(Protocol):
    """`flowy_rehearse(rehearsal, args=[...])`."""

    def __call__(
        self, rehearsal: "Rehearsal", args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None
    ) -> "Rehearsed": ...


_REHEARSED = pytest.StashKey["list[Rehearsed]"]()


@pytest.fixture
def flowy_code(request: pytest.FixtureRequest) -> CodeOf:
    """Read the code of a manifest or a Python file, as `decide` and `Rehearsal` take it."""
    folder = request.path.parent

    def read(file: str | PathLike[str], entrypoint: str | None = None) -> tuple[str, str | None]:
        from flowy_pytest.captured import code_of  # noqa: PLC0415

        return code_of(folder / file, entrypoint)

    return read


@pytest.fixture
def flowy_replays(request: pytest.FixtureRequest) -> Replays:
    """Assert that code replays a captured history; gives the number of decisions."""
    folder = request.path.parent

    def replays(
        history: str | PathLike[str],
        code: str | PathLike[str] | Callable[..., Any] | None = None,
        *,
        entrypoint: str | None = None,
        name: str | None = None,
    ) -> int:
        __tracebackhide__ = True
        from flowy_pytest.captured import assert_replays  # noqa: PLC0415

        present = folder / code if isinstance(code, str | PathLike) else code
        return assert_replays(folder / history, present, entrypoint=entrypoint, name=name)

    return replays


@pytest.fixture
def flowy_rehearse(request: pytest.FixtureRequest) -> Rehearse:
    """Run a Rehearsal, and draw its timeline into the report if the test fails."""
    runs = request.node.stash.setdefault(_REHEARSED, [])

    def rehearse(
        rehearsal: "Rehearsal", args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None
    ) -> "Rehearsed":
        from flowy.testing.deciding import check_args  # noqa: PLC0415

        check_args(args)
        run = rehearsal.run(*args, **(kwargs or {}))
        runs.append(run)
        return run

    return rehearse


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Draw what was rehearsed in a test that failed."""
    report = yield
    if report.when == "call" and report.failed:
        for run in item.stash.get(_REHEARSED, [])[-_SHOWN:]:
            report.sections.append((f"flowy: {run.trace['workflow']}", _drawn(run)))
    return report


def _drawn(run: "Rehearsed") -> str:
    from flowy_cli.pictures.local import execution_of_trace  # noqa: PLC0415
    from flowy_cli.pictures.timeline import timeline_of  # noqa: PLC0415
    from flowy_cli.pictures.timeline_text import timeline_text  # noqa: PLC0415

    said = run.error if run.error is not None else run.result
    return f"{run.outcome}: {said!r}\n\n{timeline_text(timeline_of(execution_of_trace(run.trace)), _WIDTH)}"
