"""Metrics as Prometheus reads them."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from flowy_operator.adapters.metrics import Metrics


def scraped(metrics: Metrics) -> dict[str, float]:
    """All samples of one scrape, see `samples`."""
    body, _ = metrics.text()
    return samples(body.decode())


def samples(text: str) -> dict[str, float]:
    """The values by name and labels, these in the order of the alphabet: `flowy_tasks_total{outcome="failed"}`."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[_written(sample.name, sample.labels)] = sample.value
    return found


def _written(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name
