"""HistoryPage as a pydantic model: the source of its CRD. The operator makes and reads pages as JSON (`core/pages.py`)."""

from typing import Annotated

from pydantic import ConfigDict, Field

from flowy_operator.adapters.crd import rules
from flowy_operator.adapters.crd.shape import MAX_COUNT, MAX_JSON, Shape

Digest = Annotated[str, Field(max_length=16, pattern="^([0-9a-f]{16})?$")]
Id = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class PageSpec(Shape):
    """Events that followed each other in one run."""

    workflow_uid: str = Field(min_length=1, max_length=64, description="metadata.uid of the Workflow.")
    run: Id = Field(description="Number of the run.")
    first: Id = Field(description="Id of the first event.")
    last: Id = Field(description="Id of the last event.")
    digest_before: Digest = Field(description="Digest of the run's events before these; empty if there are none.")
    digest_after: Digest = Field(description="Digest of the run's events up to the last of these.")
    events: str = Field(
        min_length=1,
        max_length=2 * MAX_JSON,  # what etcd takes is less
        description="The events as in a Workflow's status.history, a line of JSON each.",
    )


class HistoryPage(Shape):
    """Older events of a Workflow, moved here out of its status. The operator makes and deletes pages; never edit one."""

    model_config = ConfigDict(json_schema_extra=rules.PAGE)

    spec: PageSpec
