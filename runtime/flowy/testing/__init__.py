"""For tests of workflow code: one decision over a made-up history, whole runs in virtual time, every order of completion.

from flowy.testing import Attempts, Fails, Rehearsal, Takes, TimesOut, decide, same_in_every_order

Rehearsal(video, tasks={"embed": Takes(30, "m.mp4"), "encode": Attempts(Fails("OOMKilled"), "film.webm")}).run("talk.mov")
"""

from flowy.testing.behaviour import Attempts, Fails, Takes, TimesOut
from flowy.testing.deciding import Call, Decision, Outcome, decide
from flowy.testing.orders import Orders, same_in_every_order
from flowy.testing.rehearsal import CallMade, Rehearsal, Rehearsed

__all__ = [
    "Attempts",
    "Call",
    "CallMade",
    "Decision",
    "Fails",
    "Orders",
    "Outcome",
    "Rehearsal",
    "Rehearsed",
    "Takes",
    "TimesOut",
    "decide",
    "same_in_every_order",
]
