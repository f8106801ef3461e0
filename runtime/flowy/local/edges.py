"""Whose outcome went into which call, as a trace shows it."""

from collections.abc import Sequence

from flowy.wire.messages import Record, RecordState, Trace


def edges_of(trace: Trace, records: Sequence[Record]) -> list[tuple[str, str]]:
    """Pairs of keys: from each finished call to the scheduled ones that got its result, in call order.

    A call that got an error is not scheduled and carries it on: it has one edge, from the error that finished first.
    """
    ranks = {record.key: record.rank or 0 for record in records if record.state is not RecordState.RUNNING}
    failed = {r.key: ranks[r.key] for r in records if r.key in ranks and r.state is not RecordState.COMPLETED}
    found: list[tuple[str, str]] = []
    for call in trace.calls:
        errors = [key for key in call.takes if key in failed]
        if errors:
            origin = min(errors, key=failed.__getitem__)
            failed.setdefault(call.key, failed[origin])
            found.append((origin, call.key))
        elif all(key in ranks for key in call.takes):
            found += [(key, call.key) for key in call.takes]
    return found
