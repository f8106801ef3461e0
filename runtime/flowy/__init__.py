"""Workflows as plain single-threaded Python, replayed over their history."""

from flowy.combinators import finish_order, first, parallel_reduce, restart, wait
from flowy.errors import TaskCancelled, TaskError, TaskTimedOut

__all__ = [
    "TaskCancelled",
    "TaskError",
    "TaskTimedOut",
    "finish_order",
    "first",
    "parallel_reduce",
    "restart",
    "wait",
]
