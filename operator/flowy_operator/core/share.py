"""Which Workflows are a shard's: by their uid, which never changes and which everything names that is theirs.

A child has a uid of its own, so it may be of another shard than its parent: a family of ten thousand is shared too.
"""

from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Share:
    """The shard `index` of `count`, counted from 0."""

    index: int
    count: int

    def has(self, uid: str | None) -> bool:
        """Whether the Workflow of this uid is of this shard. What belongs to none is the first one's, so that one counts it."""
        return self.count == 1 or shard_of(uid, self.count) == self.index


WHOLE = Share(0, 1)


def shard_of(uid: str | None, count: int) -> int:
    """The number of the shard, of so many, that the Workflow of this uid is of. Other programs may do the same sum."""
    return crc32((uid or "").encode()) % count
