"""What one decision may use, and how many run at once."""

import logging
import os
from dataclasses import dataclass, field, replace

log = logging.getLogger(__name__)

KIB = 1024
MIB = 1024 * KIB

REQUEST_BYTES = 16 * MIB
"""Longest request: source, input and every recorded result. The child parses it, which takes about five times as much."""


def _cores() -> int:
    # The affinity mask, since a container's processes are often pinned to a few of the node's cores. A CPU quota is not
    # seen here; with one, the operator's settings say how many children there may be.
    return len(os.sched_getaffinity(0))


def _half(places: int) -> int:
    return (places + 1) // 2


# Two zygotes and what else is there. A decision has page tables on top of its memory, half as much again, and one that stays
# has no more than this, with its tables (docs/design/0028).
_IDLE_BYTES = 64 * MIB
_STAYS_AT_MOST_BYTES = 60 * MIB
_LANES = 3  # of decisions: each has a place


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Per decision, unless it says otherwise. The wall clock is not among them: it stands in the workflow's spec."""

    # A small decision takes 3 ms, each 100 records 1 ms more (measured on two slow cores). 1 s is far above, because
    # CPU seconds are long on a machine that is shared by many, where the first touch of each memory page is paid too;
    # and far below what a neighbour notices, since a namespace holds only half of the children. Below 0.2 s, honest
    # code gets stopped.
    cpu_s: float = 1.0
    cpu_per_100_records_s: float = 0.005  # on top
    # On top of that: results that are 16 MiB of text take 0.9 s, decoded for the digests of the calls that got them.
    cpu_per_request_mib_s: float = 0.1

    # Over what the zygote has mapped. The request is parsed within it (about five times its size), hence not below
    # 32 MiB. Times all children at once it has to fit into the container, see `within`.
    memory_bytes: int = 128 * MIB

    source_bytes: int = 256 * KIB  # a Workflow object holds 1.5 MiB in all, and a parser bomb needs room
    request_bytes: int = REQUEST_BYTES
    # Two calls with the longest arguments, a new one and a repeated one: 1 MiB each, twice that where all is to be
    # escaped; the rest is for errors and printed text. It is parsed by the operator, hence no more.
    answer_bytes: int = 4 * MIB + 256 * KIB

    children: int = field(default_factory=lambda: 2 * _cores())  # twice: while one exits, the next starts
    # One namespace must leave room for the others; the whole machine may still be used by one alone.
    children_per_namespace: int = field(default_factory=_cores)

    # Beside `children`, which are for decisions that are known to be fast (see `lanes`): at once of new ones, and of slow ones.
    new_children: int = field(default_factory=_cores)
    new_children_per_namespace: int = field(default_factory=lambda: _half(_cores()))
    slow_children: int = field(default_factory=_cores)
    slow_children_per_namespace: int = field(default_factory=lambda: _half(_cores()))
    # The time of a decision that is not slow: more than ten times what a small one takes. On top what comes on top above.
    brief_cpu_s: float = 0.05
    brief_wall_s: float = 0.2  # beside the CPU, since others may have that meanwhile

    # Waiting beyond those, forked and locked ahead, while nothing is decided. A second one would be asked only where two
    # decisions begin within milliseconds of each other after a pause. Each has three MiB for itself.
    children_ready: int = 1

    # Beyond all of those: that stay behind their answer, since the next decision of their run would be a step. Each holds 3 MiB.
    staying_children: int = 16
    # Counted in pages that it has touched, those of the zygote that it has overwritten included, and each time again those that it
    # has given back: 4 MiB for a short history, 12 to 15 for 10,000 records. One that has touched more is ended.
    staying_memory_bytes: int = 16 * MIB
    staying_memory_per_record_bytes: int = 512  # on top
    staying_records: int = 20  # a shorter history is replayed in two milliseconds, and pushes nobody out
    stay_s: float = 300.0  # a task that takes longer won't be slowed down by a replay
    # Beside `brief_wall_s`, which is measured from here for these, with the fork and the connection.
    stay_grace_s: float = 0.25

    # For a decider in another container, which ends and is started again, for the first time at once. Not for long: a decision
    # that waits holds one of the few workers that could do something else.
    back_s: float = 3.0

    start_s: float = 30.0  # the zygote imports 100 modules: 0.1 s here, more from a cold disk

    def within(self, container_bytes: int) -> "Limits":
        """As many decisions at once, and as many that stay, as a container of this size holds if each of them takes what it can.

        A container that has too much ends with all of its decisions, those of other namespaces too. Each lane keeps a place at
        least, as each namespace in it.
        """
        room_bytes = container_bytes - _IDLE_BYTES
        each_bytes = self.memory_bytes + self.memory_bytes // 2
        # A third of it: more decisions at once are of use to everybody, more that stay to long chains alone.
        for_staying_bytes = min(room_bytes // 3, room_bytes - _LANES * each_bytes)
        staying = max(min(self.staying_children, for_staying_bytes // _STAYS_AT_MOST_BYTES), 0)
        at_once = (room_bytes - staying * _STAYS_AT_MOST_BYTES) // each_bytes
        others = max(min(self.new_children, at_once // 4), 1)
        children = max(min(self.children, at_once - 2 * others), 1)
        if at_once < children + 2 * others:
            log.warning(
                "The decider's container is too small for three decisions at once: hostile code could end it",
                extra={"container_mib": container_bytes // MIB, "decision_memory_mib": self.memory_bytes // MIB},
            )
        return replace(
            self,
            staying_children=staying,
            children=children,
            children_per_namespace=_half(children),
            new_children=others,
            new_children_per_namespace=_half(others),
            slow_children=others,
            slow_children_per_namespace=_half(others),
        )

    def staying_bytes(self, records: int) -> int:
        """What a child that stays may have touched: less than any may have, or nobody could see that this bound holds."""
        wanted_bytes = self.staying_memory_bytes + self.staying_memory_per_record_bytes * records
        return min(wanted_bytes, self.memory_bytes // 2)

    def cpu_of(self, records: int, request_bytes: int) -> float:
        """The CPU seconds for a decision over so many records, in a request of this size."""
        return self.cpu_s + self._cpu_on_top_s(records, request_bytes)

    def brief_cpu_of(self, records: int, request_bytes: int) -> float:
        """The same for one that is not slow; never more than it has in all."""
        return min(self.brief_cpu_s, self.cpu_s) + self._cpu_on_top_s(records, request_bytes)

    def _cpu_on_top_s(self, records: int, request_bytes: int) -> float:
        return self.cpu_per_100_records_s * records / 100 + self.cpu_per_request_mib_s * request_bytes / MIB
