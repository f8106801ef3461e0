"""Shapes of core/v1, as far as mistakes in them can be seen early; the raw object is what is passed on.

A whole PodTemplateSpec would be ten times the CRD, and old as soon as Kubernetes has a new field.
"""

from typing import Annotated

from pydantic import Field

from flowy_operator.adapters.crd.shape import Object, Shape


class EnvVar(Shape):
    """An environment variable, as in a Pod."""

    name: str = Field(min_length=1, max_length=1024, description="Name of the variable. FLOWY_... is the operator's.")
    value: Annotated[str, Field(max_length=131_072)] | None = Field(
        None, description="Value, a string: put numbers and booleans in quotes. $(NAME) is expanded as in a Pod."
    )
    value_from: Annotated[Object, Field(max_length=8)] | None = Field(
        None, description="Source of the value, as in a Pod: secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef."
    )


class Resources(Shape):
    """Compute resources, as in a Pod."""

    requests: Annotated[Object, Field(max_length=64)] | None = Field(
        None, description="What the scheduler sets aside, for example {cpu: 500m, memory: 1Gi}."
    )
    limits: Annotated[Object, Field(max_length=64)] | None = Field(
        None, description="What the container may not pass, for example {memory: 2Gi}."
    )
    claims: Annotated[list[Annotated[Object, Field(max_length=8)]], Field(max_length=64)] | None = Field(
        None, description="Resource claims that the container uses, as in a Pod."
    )


class PodTemplate(Shape):
    """A PodTemplateSpec."""

    metadata: Annotated[Object, Field(max_length=32)] | None = Field(
        None, description="Labels and annotations of the pods, as in a Pod."
    )
    spec: Annotated[Object, Field(max_length=64)] | None = Field(
        None,
        description="The pod's spec, as in a Pod. The container named main is laid under the activity's short fields, others"
        " run beside it.",
    )


class Container(Shape):
    """What is looked at in a container of a template."""

    name: str
    image: str | None = None


class PodSpec(Shape):
    """What is looked at in the spec of a template. The CRD can't know it: see `schema.py` on preserved fields beside known ones."""

    containers: list[Container] | None = None
