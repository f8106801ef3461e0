"""How long values may be, wherever a workflow runs: what is longer is refused, and never cut."""

from flowy.wire.messages import Answer, ErrorObject

MAX_VALUE_BYTES = 1024 * 1024
"""Longest value. Kubernetes allows as much for the content of a ConfigMap, keys not counted (ValidateConfigMap)."""

WAY_OUT = "let a task keep the data in files or objects, and pass on where it is"


def refused_end(answer: Answer) -> ErrorObject | None:
    """Why what the code ended with can't be kept, if so. No later decision would make it shorter."""
    for kind, what, text in (
        ("ResultTooLong", "the code returned", answer.result),
        ("RestartTooLong", "restart() was given", answer.restart),
    ):
        size = 0 if text is None else len(text.encode())
        if size > MAX_VALUE_BYTES:
            return {"type": kind, "message": f"{what} {size:,} bytes, at most {MAX_VALUE_BYTES:,} are kept: {WAY_OUT}"}
    return None
