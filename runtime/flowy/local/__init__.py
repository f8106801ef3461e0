"""Workflows on this machine, without a cluster: the same replay, the same retries and timeouts.

from flowy.local import LocalWorkflow

LocalWorkflow(video, activities={"embed": embed, "encode": encode}).run("talk.mp4")
"""

from flowy.local.workflow import LocalWorkflow, WorkflowWarning

__all__ = ["LocalWorkflow", "WorkflowWarning"]
