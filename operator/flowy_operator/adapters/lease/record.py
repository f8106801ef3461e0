"""A Lease as it is written and read. Its times are for people: clocks of different machines are never compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flowy_operator.adapters.kube.client import Json
from flowy_operator.adapters.kube.fields import mapping, text

SHARDS_ANNOTATION = "flowy.dev/shards"
"""How many shards there are; without it one. Whoever takes the first one's Lease decides it."""

WANTED_ANNOTATION = "flowy.dev/wanted-by"
"""The identity of one that holds less, and would take this shard from a holder of several."""

UNSETTLED = "0"
"""Instead of a number, while those who believe in an older one may still work."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease as it was read, and when this version was first seen, by our own clock."""

    version: str
    holder: str | None
    duration_s: float
    transitions: int
    at: float
    annotations: Mapping[str, str]

    @property
    def shards(self) -> int:
        return shards(self.annotations)


def version_of(body: Json) -> str:
    return str(body["metadata"]["resourceVersion"])


def parse(body: Json, at: float, *, duration_s: float) -> Seen:
    """`duration_s` is what counts where it says nothing of its own."""
    spec = mapping(body.get("spec"))
    return Seen(
        version=version_of(body),
        holder=text(spec.get("holderIdentity")),
        duration_s=_number(spec, "leaseDurationSeconds", duration_s),
        transitions=int(_number(spec, "leaseTransitions", 0)),
        at=at,
        annotations=annotations(body),
    )


def annotations(body: Json) -> Mapping[str, str]:
    return dict(mapping(body["metadata"].get("annotations")))


def shards(said: Mapping[str, str]) -> int:
    """How many shards there are by these annotations; 0 if that isn't settled, or can't be read."""
    number = said.get(SHARDS_ANNOTATION, "1")
    return int(number) if number.isdecimal() and number.isascii() else 0


def spec(*, holder: str | None, duration_s: int, acquired_at: datetime, renewed_at: datetime, transitions: int) -> Json:
    fields: Json = {
        # One that nobody holds is free at once; the API server wants a number above 0.
        "leaseDurationSeconds": 1 if holder is None else duration_s,
        "acquireTime": _micro_time(acquired_at),
        "renewTime": _micro_time(renewed_at),
        "leaseTransitions": transitions,
    }
    return fields if holder is None else {"holderIdentity": holder, **fields}


def is_held_by(identity: str) -> Json:
    """The test of a patch that holds only as long as this one is on record as the holder."""
    return {"op": "test", "path": "/spec/holderIdentity", "value": identity}


def is_still(seen: Seen) -> Json:
    """The test of a patch that holds only for what was read."""
    return {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}


def annotate(name: str, value: str) -> Json:
    """The change of one annotation, where there are others."""
    return {"op": "add", "path": f"/metadata/annotations/{name.replace('/', '~1')}", "value": value}


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name)
    return value if isinstance(value, int) and value >= 0 else default


def _micro_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
