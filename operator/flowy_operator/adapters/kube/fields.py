"""Reading JSON of objects that somebody else may have written: what is missing or of an odd type is as if not there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Raw = Mapping[str, Any]

NOTHING: Raw = {}


def mapping(value: object) -> Raw:
    return value if isinstance(value, dict) else NOTHING


def mappings(value: object) -> list[Raw]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def name(value: object) -> str:
    """Return what a record can't be without. Raises TypeError."""
    if not isinstance(value, str) or not value:
        raise TypeError("not a name")
    return value


def instant(value: object) -> datetime | None:
    """Read a time as the API writes it; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def controller(metadata: Raw) -> Raw:
    """Find the owner reference of the controller, empty if there is none."""
    for reference in mappings(metadata.get("ownerReferences")):
        if reference.get("controller") is True:
            return reference
    return NOTHING


def is_owned(body: Raw, uid: str) -> bool:
    """Whether the object's controller is the one of this uid. Labels anybody may set; so counts nothing but this."""
    return controller(mapping(body.get("metadata"))).get("uid") == uid
