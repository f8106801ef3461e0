"""What the code of each run compiles to, as its last decision has said it, for its next one.

A child has run the code when it says so: what is kept may be anything. It goes to the children of the same run and to
nobody else, who trust it no more than the code. Whatever is here may go at any time: it is compiled again then.
"""

from dataclasses import replace

from flowy.replay.bytecode import MOST_BYTES
from flowy_operator.adapters.decider.asking import Asked
from flowy_operator.adapters.decider.exchange import Finding, Said

TOTAL_BYTES = 8 * 1024 * 1024
"""Of all runs. A usual one takes 5 KB: this is for those that decide just now."""


class Bytecodes:
    """By run. What was used the longest time ago goes first."""

    def __init__(self, total_bytes: int = TOTAL_BYTES) -> None:
        self._room_bytes = total_bytes
        self._kept: dict[tuple[str, str], bytes] = {}  # in the order of their last use

    def added(self, asked: Asked) -> Asked:
        """The same with what is known of its run."""
        run = _run(asked)
        known = self._kept.pop(run, None)
        if known is None:
            return asked
        self._kept[run] = known
        return replace(asked, bytecode=known)

    def keep(self, asked: Asked, finding: Finding) -> None:
        """Take what came with the answer, if anything did."""
        if isinstance(finding, Said) and 0 < len(finding.bytecode) <= MOST_BYTES and asked.request.seed:
            self.forget(asked)
            self._kept[_run(asked)] = finding.bytecode
            self._room_bytes -= len(finding.bytecode)
            while self._room_bytes < 0:
                self._drop(next(iter(self._kept)))

    def forget(self, asked: Asked) -> None:
        """Drop what is known of its run: a decision with it came to no answer."""
        if _run(asked) in self._kept:
            self._drop(_run(asked))

    def clear(self) -> None:
        """Drop all: another zygote may be of another Python."""
        for run in tuple(self._kept):
            self._drop(run)

    def _drop(self, run: tuple[str, str]) -> None:
        self._room_bytes += len(self._kept.pop(run))


def _run(asked: Asked) -> tuple[str, str]:
    """The namespace tells nothing that the run's own uid doesn't, and is one wall more between tenants."""
    return asked.namespace, asked.request.seed
