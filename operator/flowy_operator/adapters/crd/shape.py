"""What all shapes of the resource share: the base model, bounds, and the marks that `schema.py` reads."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_SECONDS = 10 * 366 * 86_400  # ten years: far from any wait that is meant, near enough for sums of instants
MAX_JSON = 1024 * 1024  # an object is at most 1.5 MiB in etcd
MAX_COUNT = 2**31 - 1

RENAMED = {"json_text": "json", "keywords": "kwargs", "read_from": "from", "workflow_uid": "workflowUID"}
"""Names that pydantic, mypy and Python take, and an abbreviation, which Kubernetes writes in capitals."""

PRESERVED: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


def outside(name: str) -> str:
    """Give the name in the manifest of a field's name here."""
    return RENAMED.get(name) or to_camel(name)


def absent(meaning: str) -> dict[str, Any]:
    """Attach what it means to leave a field out; `schema.py` and `reference.py` show it."""
    return {"absent": meaning}


def list_map(key: str) -> dict[str, Any]:
    """Attach the list type whose items are told apart by one field; two with the same are refused."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Object = dict[str, Any]
"""A JSON object that the API server keeps as it is."""


class Shape(BaseModel):
    """Every object of the resource: camelCase outside, nothing converted, unknown fields ignored.

    What checks it is built when the first one is read: half of the shapes are there for the schema alone.
    """

    model_config = ConfigDict(alias_generator=outside, extra="ignore", frozen=True, strict=True, defer_build=True)
