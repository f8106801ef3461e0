"""`python -m video STEP ARGUMENT...`: run one step; what is not said on the command line is in `activity`.

Paths are relative to the current folder: that of the shared volume in the cluster, any other on a laptop.
"""

import sys
from collections.abc import Callable, Mapping

from . import activity, ads, chapters, film, subtitle

STEPS: Mapping[str, Callable[..., object]] = {
    "shoot": film.shoot,
    "fetch-subtitle": subtitle.fetch,
    "embed": film.embed,
    "encode": film.encode,
    "find-chapters": chapters.find,
    "thumbnail": chapters.thumbnail,
    "analyse-subtitle": subtitle.analyse,
    "target-ads": ads.target,
}

if __name__ == "__main__":
    sys.exit(activity.run(STEPS, sys.argv[1:]))
