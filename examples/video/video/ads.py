"""Ads for a film: those that ask for a word of its subtitle."""

import json
from pathlib import Path
from typing import TypedDict

from .activity import Failure
from .ffmpeg import existing

CATALOGUE = Path(__file__).with_name("ads.json")


class Ad(TypedDict):
    ad: str
    words: list[str]


def target(input_file: str) -> list[Ad]:
    """The ads for an analysis, in the order of the catalogue, each with the words that called for it.

    `input_file` is the file with the task's arguments; the one argument is what `analyse-subtitle` gives.
    """
    try:
        (analysis,) = json.loads(existing(input_file).read_text(encoding="utf-8"))["args"]
        spoken = set(analysis["words"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure("BadAnalysis", "the one argument must be the analysis of a subtitle") from error
    catalogue: list[Ad] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    matches = [Ad(ad=ad["ad"], words=[word for word in ad["words"] if word in spoken]) for ad in catalogue]
    return [match for match in matches if match["words"]]
