import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what stops everybody's cluster unless it is asked for by name: `-m cluster_lifecycle`."""
    if "cluster_lifecycle" in config.getoption("markexpr"):
        return
    stopping = [item for item in items if item.get_closest_marker("cluster_lifecycle")]
    config.hook.pytest_deselected(items=stopping)
    items[:] = [item for item in items if item not in stopping]
