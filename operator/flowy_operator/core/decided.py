"""Up to which event the code has said all that it has to say: `status.decidedThrough`.

A decision that waits says the same again as long as no task has ended. The operator keeps it in memory, and an operator that
has just started would ask for it anew, once for each open workflow: thousands of processes, of which all but a few say what
is on record already. With this number they needn't be asked before something has happened.

It holds only while a task that the code waits for is open: when that ends, the code is asked. So a number that somebody has
put there by hand delays a workflow, and can't stop it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowy.wire.messages import AnsweredWait
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.status import SHOWN_WAITS

FIELD = "decidedThrough"


def recorded_waits(
    status: Mapping[str, Any], spec: WorkflowSpec, state: State, code: Mapping[str, str]
) -> Sequence[AnsweredWait] | None:
    """What the code waits for by a status, None if it has to be asked. `code` is what it would be asked with."""
    if status.get(FIELD) != state.events or status.get("code") != code:
        return None
    if spec.stop is not None or state.stop is not None:  # it is to be told, and its answer says what is held back
        return None
    try:
        waits = [AnsweredWait(key=wait["task"], line=wait.get("line")) for wait in status["waitingOn"]]
        is_open = any(state.tasks[wait.key].final is None for wait in waits)
    except (KeyError, TypeError, AttributeError):
        return None
    # A list of full length is cut.
    return waits if is_open and len(waits) < SHOWN_WAITS else None
