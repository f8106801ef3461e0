"""What a suspended decision waits for: which further outcomes could make the next one say something else.

Up to its barrier the code has seen nothing that isn't final, so a replay over more outcomes makes the same calls with the
same arguments and comes to the same barrier, unless the barrier passes, a call that was held back becomes ready, or a race
is decided. Each of these is a group of calls whose results are needed together; an error among them may be all that was
needed. An outcome outside of all groups changes nothing.

A call that takes only calls that are held back themselves is in no group: the one that comes first of them must be scheduled
before, by a decision that tells its needs anew. So a chain of n calls that nobody looks at tells of its first one alone, and
not of n at each of its n steps.
"""

from collections.abc import Iterator, Sequence

from flowy.replay.barrier import Suspended
from flowy.replay.calls import Kept
from flowy.replay.result import Pending, Race
from flowy.replay.run import Run
from flowy.wire.messages import MAX_NEEDS


def groups(run: Run) -> Iterator[tuple[Sequence[str], Kept | None]]:
    """Give the groups of a suspended decision, each with the call that it makes ready: None for the barrier and for races."""
    races: dict[int, Race] = {}  # by id, which only tells them apart
    members: dict[str, None] = {}
    end = run.end
    waits: list[tuple[Sequence[Pending], Kept | None]] = [(kept.walked.pending, kept) for kept in run.kept]
    for pending, call in [*waits, (end.pending if isinstance(end, Suspended) else (), None)]:
        if any(isinstance(state, Race) for state in pending):
            # What stands beside a race doesn't matter before it is decided, but for an error.
            _look_into(pending, races, members)
        elif pending:
            yield tuple(dict.fromkeys(state.key for state in pending)), call
    for key in members:
        yield (key,), None


def needs_of(run: Run) -> Sequence[Sequence[str]] | None:
    """Give the groups for an answer. None: they are too many, or nobody knows which calls there would be; never none of them."""
    if run.more:
        return None
    held_back = {kept.key for kept in run.kept}
    found: dict[tuple[str, ...], None] = {}
    size = 0
    for group, _ in groups(run):
        keys = tuple(group)
        if held_back.issuperset(keys):
            continue
        size += len(keys)
        if size > MAX_NEEDS:
            return None
        found[keys] = None
    return tuple(found) or None


def _look_into(pending: Sequence[Pending], races: dict[int, Race], members: dict[str, None]) -> None:
    """Add all calls that these stand for, and those of the races in them."""
    ahead = list(pending)
    while ahead:
        state = ahead.pop()
        if not isinstance(state, Race):
            members[state.key] = None
        elif id(state) not in races:
            races[id(state)] = state
            ahead += state.waits_for
