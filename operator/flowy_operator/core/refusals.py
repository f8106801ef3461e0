"""What the gateway says to an activity that sends what can't be taken: the same in the cluster and in a local run."""

UPLOADED_ANOTHER = "this attempt has uploaded another result before: an attempt has one"


def too_long(what: str, length: int, limit: int) -> str:
    """`what` has more bytes than are taken."""
    return f"{what} has {length:,} bytes: at most {limit:,} bytes are taken"


def no_utf8(what: str, error: UnicodeDecodeError) -> str:
    """`what` is no text."""
    return f"{what} is no UTF-8 at byte {error.start}"
