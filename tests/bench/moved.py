"""What has moved since the runs before: the last figures beside their ranges.

python -m tests.bench.moved             docs/performance.json beside tests/bench/ranges.toml
python -m tests.bench.moved --strict    fails where a figure is worse
python -m tests.bench.moved --widen     takes the figures into the ranges, as one more run that was as it should be
"""

import argparse
import sys

from tests.bench import ranges, report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.moved", description="What has moved.")
    parser.add_argument("--strict", action="store_true", help="fail where a figure is worse")
    parser.add_argument("--widen", action="store_true", help="take the figures into the ranges")
    given = parser.parse_args()
    return tell(strict=given.strict, widen=given.widen)


def tell(*, strict: bool = False, widen: bool = False) -> int:
    """Print the table. Returns what to exit with."""
    figures, known = report.known(), ranges.load()
    rows = ranges.compared(figures, known)
    print(ranges.table(rows))
    if widen:
        ranges.save(ranges.widened(figures, known))
        report.write([])  # the page shows the ranges
    return int(strict and any(row.moved is ranges.Moved.WORSE for row in rows))


if __name__ == "__main__":
    sys.exit(main())
