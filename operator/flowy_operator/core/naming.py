"""Names of Jobs, child Workflows and pages: deterministic, so that launching twice is harmless, and write-only.

Nothing is ever read out of a name; who a Job belongs to is told by its owner's uid, and which launch it is by comparing
its name with the one that the history implies. Jobs and children have names of one form: the history alone, without the
spec, says which names there are, and so a name can't depend on what the task is.
"""

import base64
import hashlib
import re

_HASH_CHARS = 10  # 50 bits, and only names with the same readable parts can meet
_WORKFLOW_CHARS = 22
_TASK_CHARS = 18
# 22 + 18 + 10 and two dashes are 52, what a Workflow's name may have; a Job's could have 58 before its pods' names are cut.

_NO_LABEL = re.compile("[^a-z0-9]+")


def job_name(*, workflow: str, uid: str, run: int, task: str, attempt: int, launch: int) -> str:
    """The name of the Job or child for launch `launch` (from 0) of attempt `attempt` (from 1) of a task in run `run` (from 1)."""
    digest = _digest(uid, run, task, attempt, launch)
    return "-".join((_readable(workflow, _WORKFLOW_CHARS), _readable(task, _TASK_CHARS), digest))


def page_name(*, workflow: str, uid: str, run: int, first: int) -> str:
    """The name of the HistoryPage of run `run` that begins with event `first`."""
    return f"{workflow}-{run}-{first}-{_digest(uid, run, first)}"


def _digest(*identity: str | int) -> str:
    text = "\n".join(map(str, identity))
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:_HASH_CHARS].lower()


def _readable(text: str, limit: int) -> str:
    """The part of a DNS label that a person recognizes."""
    return _NO_LABEL.sub("-", text.lower())[:limit].strip("-") or "x"
