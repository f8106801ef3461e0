"""Two tests at a time: those on the cluster one after the other, the others beside them.

The cluster is one, so one process has all modules that need it; the other modules are shared out one by one. Tests on the
cluster wait for most of their time, so the others cost CI hardly any (`-n 2` in the Makefile). Without `-n` all run in one
process, as ever.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
ON_THE_CLUSTER = "the cluster"

SHARED_OUT = "tests/sim/test_sim.py"
"""Its tests are alike, need nothing of each other, and take CI a quarter of an hour: they go to whoever is free, at the end."""


class OneForTheCluster(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """By module, but for the cluster's, which are one scope, and first since it has the most tests.

    xdist's own groups (`xdist_group`) are lost with pytest 9.2, which keeps no name that they could be written into.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module == SHARED_OUT:
            return nodeid
        return ON_THE_CLUSTER if _needs_the_cluster(module) else module


@cache
def _needs_the_cluster(module: str) -> bool:
    """By its text: the process that shares the tests out hasn't collected them, and knows no marks."""
    return module.startswith("tests/e2e/") or "mark.cluster" in (ROOT / module).read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who needs the cluster and doesn't say so in his own text would meet the others there, now and then."""
    marked = {item.nodeid.partition("::")[0] for item in items if item.get_closest_marker("cluster") is not None}
    unseen = sorted(module for module in marked if not _needs_the_cluster(module))
    if unseen:
        raise pytest.UsageError(f"on the cluster, and tests/conftest.py can't tell: {', '.join(unseen)}")


class _Named:
    """Says which test has failed when it fails, and not only half an hour later at the end."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter

    @pytest.hookimpl(trylast=True)  # after the letter of this test
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.write_line(f"\n{report.when} of {report.nodeid} failed", red=True)


@pytest.hookimpl(trylast=True)  # the reporter is made by this hook, too
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Named(reporter))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneForTheCluster:
    return OneForTheCluster(config, log)
