"""Shapes of core/v1, as far as mistakes in them can be seen early; the raw object is what is passed on.

A whole PodTemplateSpec would be ten times the CRD, and old as soon as Kubernetes has a new field.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from flowy_operator.adapters.crd.shape import PRESERVED, Object, Shape, list_map


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
    claims: Annotated[list[Object], Field(max_length=64)] | None = Field(
        None, description="Resource claims that the container uses, as in a Pod."
    )


class Container(Shape):
    """A container, as in a Pod. All its fields are passed on."""

    model_config = ConfigDict(json_schema_extra=PRESERVED)

    name: str = Field(
        min_length=1,
        max_length=63,
        description="Name of the container. The activity itself runs in the one named main.",
    )
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, description="Image of the container."
    )


class PodSpec(Shape):
    """The pod's spec, as in a Pod. All its fields are passed on."""

    model_config = ConfigDict(json_schema_extra=PRESERVED)

    containers: Annotated[list[Container], Field(max_length=32, json_schema_extra=list_map("name"))] | None = Field(
        None,
        description="Containers. One named main is laid under the activity's short fields, others run beside it.",
    )


class PodTemplate(Shape):
    """A PodTemplateSpec."""

    metadata: Annotated[Object, Field(max_length=32)] | None = Field(
        None, description="Labels and annotations of the pods, as in a Pod."
    )
    spec: PodSpec | None = None
