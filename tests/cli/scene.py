"""Workflows that the simulated operator has really run: what commands are shown in these tests."""

import asyncio
from datetime import timedelta

from flowy_operator.app.settings import Settings
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, printed, value
from tests.app.world import START, World
from tests.fakes.clock import run_virtual
from tests.fakes.store import Store

NOW = START + timedelta(minutes=10)

VIDEO = """
def video(embed, encode, chapters):
    def workflow(film, formats=("mp4", "webm")):
        master = embed(film)
        copies = {f: encode(master, f) for f in formats}
        return {"copies": copies, "chapters": [c for c in chapters(film)]}

    return workflow
"""

BROKEN = """
def broken(check):
    def workflow():
        report = check("disk")
        if report["free"] < 1:
            raise RuntimeError("no space")
        return report

    return workflow
"""

SITE = """
def site(page, publish):
    def workflow(names):
        return publish([page(name) for name in names])

    return workflow


def page(sections, render):
    def workflow(name):
        return [render(name, section) for section in sections(name)]

    return workflow
"""

LOOP = """
from flowy import restart


def loop(step):
    def workflow(n):
        wide = [step(n, i) for i in range(150)]
        return restart(n - 1) if n and sum(wide) else sum(wide)

    return workflow
"""

LONG = {"name": "long", "activity": {"image": "busybox", "result": {"from": "Log"}}}

PAUSED = """
def paused(slow, quick):
    def workflow():
        return slow(), quick()

    return workflow
"""


def activity(call: Call) -> Act:
    """What each container of the scene does."""
    match call.name, call.args:
        case "embed", [film]:
            return failure("disk full\x1b[2J", exit_code=7) if call.attempt == 1 else value(f"{film}.master", 3)
        case "encode", [_, "webm"]:
            return failure("no codec", 2, exit_code=3)
        case "encode", [master, form]:
            return value(f"{master}.{form}", 4)
        case "chapters", _:
            return value(["intro", "end"])
        case "check", _:
            return value({"free": 0})
        case "sections", [name]:
            return value([f"{name}-1", f"{name}-2"])
        case "render", [name, section]:
            return value(f"<{name} {section}>", 2)
        case "publish", [pages]:
            return value(len(pages))
        case "step", [n, _]:
            return value(n)
        case "long", _:
            return printed("x" * 5000)
        case "slow", _:
            return NEVER_ENDS
        case _:
            return value(1)


def copy_of(played: Store) -> Store:
    """The same cluster, for one test to change. Objects are never changed in place, so they may be shared."""
    fresh = Store(played.kinds, now=lambda: NOW)
    fresh.version, fresh.floor = played.version, played.version
    fresh._objects = {kind: dict(found) for kind, found in played._objects.items()}
    fresh._there = set(played._there)
    fresh._uids = played._uids
    return fresh


def scene() -> Store:
    """The store of a cluster in which all of it has run."""
    retried = {"name": "embed", "retry": {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [5]}}

    async def played() -> Store:
        # Short tails, so that a history of some hundred events lies in several pages.
        world = World(activity, settings=Settings(history_tail_bytes=8 * 1024))
        world.start()
        world.define(VIDEO, retried, "encode", "chapters", name="video-v1")
        world.refer("video-v1", name="talk-41", input={"args": ["talk.mp4", ["mp4"]]})
        world.refer("video-v1", name="talk-42", input={"args": ["talk.mp4"]})
        world.submit(BROKEN, "check", name="broken")
        page = {"name": "page", "workflow": {"entrypoint": "page"}}
        world.submit(
            SITE, page, "publish", "sections", "render", name="site", entrypoint="site", input={"args": [["home"]]}
        )
        world.submit(LOOP, "step", name="loop", input={"args": [1]})
        world.submit(PAUSED, "slow", "quick", name="paused")
        world.submit("def f(long): return lambda: len(long())", LONG, name="long")
        await asyncio.sleep(120)
        await world.kill()
        return world.store

    store = run_virtual(played())
    store.now = lambda: NOW
    return store
