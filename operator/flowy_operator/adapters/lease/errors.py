"""What ends a process that may not write any more."""


class LeaseLost(Exception):
    """This process must not write any more; `str()` says why."""
