"""The whole operator beside hostile objects: it doesn't end, doesn't spin, and a good neighbour gets its result."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from flowy_operator.app.logs import JsonLines, Text
from flowy_operator.app.settings import Settings
from flowy_operator.core.history import Chain, HistoryInvalid, event_line, parse_event
from flowy_operator.core.naming import page_name
from flowy_operator.core.values import input_name
from tests.app.kubelet import Act, Call, value
from tests.app.world import NAMESPACE, World, world
from tests.fakes.clock import VirtualLoop
from tests.fakes.store import WORKFLOWS, Json, Refusal
from tests.fuzz.objects import Case
from tests.fuzz.schema import schema_of, troubles
from tests.fuzz.texts import MARK

AFTERWARDS_S = 1800.0
"""For how long it is looked on after the last step."""

REQUESTS = 2_000
"""Of one operator in all that time. One that asks again after a second, and does so for ever, has more."""

TURNS = 200_000
"""Of the event loop: one that does something again and again without any time going by has more."""

GOOD = """
def f(a):
    return lambda: a(20) + a(22)
"""


def fits_a_terminal(text: str) -> bool:
    """Whether nothing in it could steer one."""
    return text.translate({ord("\n"): " ", ord("\t"): " "}).isprintable()


class Spins(BaseException):  # not an Exception: nobody may catch it and go on
    """It goes on and on."""


class Fuelled(VirtualLoop):
    """Virtual time that ends after so many turns."""

    def __init__(self) -> None:
        super().__init__()
        selector: Any = self._selector  # type: ignore[attr-defined]  # asyncio's own, and there is no other way between
        turn, turns = selector.select, iter(range(TURNS))

        def select(timeout: float | None = None) -> Any:
            if next(turns, None) is None:
                selector.select = turn  # what is under way is to be cancelled yet
                raise Spins(f"{TURNS:,} turns of the event loop at {self.now:.3f} s")
            return turn(timeout)

        selector.select = select


def check(case: Case) -> None:
    """Raises if anything is not as it must be."""
    with logs(), asyncio.Runner(loop_factory=Fuelled) as runner:
        runner.run(_play(case))


async def _play(case: Case) -> None:
    acts = iter(case["acts"])

    def activity(call: Call) -> Act:
        if call.workflow == "good":
            return value(call.args[0])
        made = dict(next(acts, {"message": "null"}))
        return Act(**{**made, "log": made.get("log", "").encode("latin-1")})

    # Short tails, so that there are pages.
    async with world(activity, settings=Settings(history_tail_bytes=1024)) as made:
        refused = _watched(made)
        stage = Stage(made)
        body = {"metadata": {**stage.filled(case.get("metadata", {})), "name": "w"}, "spec": case["spec"]}
        made.store.create(WORKFLOWS, NAMESPACE, body)
        for step in case["steps"]:
            with suppress(Refusal):  # one of the API server's: nobody can do so
                await stage.play(step)
        made.submit(GOOD, "a", name="good")
        await made.settle(AFTERWARDS_S)
        assert made.condition("good")["status"] == "True", f"the neighbour: {made.condition('good')}"
        assert made.result("good") == 42
        assert not refused, refused[0]
        for running in made.operators:
            asked = sum(running.line.requests.values())
            assert asked < REQUESTS, f"{asked:,} requests: {running.line.requests.most_common(3)}"
            figures, _ = running.metrics.text()
            assert MARK not in figures.decode(), "a stranger's text is a label of a metric"
        for reason, message in made.events():
            assert fits_a_terminal(reason + message), f"Kubernetes Event: {reason} {message!r}"


def _watched(made: World) -> list[str]:
    """What an API server would have refused of the statuses that were written."""
    found: list[str] = []

    def look() -> None:
        change = made.store.log[-1]
        if change.kind is WORKFLOWS and change.new is not None:
            found.extend(troubles(change.new.get("status") or {}, schema_of("workflows", "status"), "status"))

    made.store.news.append(look)
    return found


class Stage:
    """Does what a case says."""

    def __init__(self, made: World) -> None:
        self._world = made
        self._store = made.store

    async def play(self, step: Json) -> None:
        world = self._world
        match step:
            case {"do": "wait", "seconds": seconds}:
                await world.settle(seconds)
            case {"do": "create", "object": made, "name": name}:
                self._create(self.filled(made), self._filled(name))
            case {"do": "status", "fields": fields}:
                self._edit(lambda body: body.setdefault("status", {}).update(fields))
            case {"do": "replace-status", "fields": fields}:
                self._edit(lambda body: body.update(status=fields))
            case {"do": "event", "at": at, "fields": fields}:
                self._edit(lambda body: body["status"]["history"][at].update(fields))
            case {"do": "drop-event", "at": at}:
                self._edit(lambda body: body["status"]["history"].pop(at))
            case {"do": "history", "events": events, "keeps": keeps}:
                rest = {name: step[name] for name in ("run", "launchedThrough", "decidedThrough") if name in step}
                await world.kill()  # whoever has seen the history before knows better
                try:
                    self._edit(lambda body: body["status"].update(_rewritten(body["status"], keeps, events) | rest))
                finally:
                    world.start()
            case {"do": "spec", "fields": fields}:
                world.edit(lambda body: body.update(spec=fields))
            case {"do": "pod-status", "fields": fields}:
                self._change("pods", lambda body: body.setdefault("status", {}).update(fields))
            case {"do": "job-status", "fields": fields}:
                self._change("jobs", lambda body: body.setdefault("status", {}).update(fields))
            case {"do": "metadata", "of": plural, "fields": fields}:
                self._change(plural, lambda body: body["metadata"].update(self.filled(fields)))
            case {"do": "delete", "of": plural}:
                for body in [body for body in world.objects(plural) if body["metadata"]["name"] != "good"][-1:]:
                    world.delete(plural, body["metadata"]["name"])
            case {"do": "restart"}:
                await world.restart()
            case _:
                raise AssertionError(step)

    def _edit(self, change: Callable[[Json], Any]) -> None:
        with suppress(LookupError):  # no history so far
            self._store.edit("workflows", NAMESPACE, "w", change)

    def _change(self, plural: str, change: Callable[[Json], Any]) -> None:
        for body in self._world.objects(plural)[-1:]:
            self._store.edit(plural, NAMESPACE, body["metadata"]["name"], change)

    def _create(self, made: Json, name: str) -> None:
        kind = self._store.kind(made["kind"])
        body = {key: inner for key, inner in made.items() if key not in {"kind", "status"}}
        body["metadata"] = {**made["metadata"], "name": name}
        self._store.create(kind, NAMESPACE, body)
        if "status" in made:
            self._store.edit(kind.plural, NAMESPACE, name, lambda found: found.update(status=made["status"]))

    def filled(self, value: Any) -> Any:
        """With the uids and names that stand for others."""
        match value:
            case str():
                return self._filled(value)
            case dict():
                return {key: self.filled(inner) for key, inner in value.items()}
            case list():
                return [self.filled(inner) for inner in value]
            case _:
                return value

    def _filled(self, text: str) -> str:
        if not text.startswith("$"):
            return text
        jobs = self._world.objects("jobs")
        job = jobs[-1]["metadata"]["name"] if jobs else "none"
        match text:
            case "$job":
                return str(job)
            case "$input":
                return input_name(job)
            case "$w" | "$good":
                with suppress(Refusal):
                    return str(self._world.body(text[1:])["metadata"]["uid"])
                return "none"
            case "$page":
                return page_name(workflow="w", uid=self._filled("$w"), run=1, first=1)
            case _:
                return text


def _rewritten(status: Json, keeps: int, events: Sequence[Json]) -> Json:
    """A history that goes on otherwise than it did, with a digest that fits: somebody knows how we do it."""
    kept = status.get("history", [])[:keeps]
    first, time = status.get("historyStart", 1), kept[-1]["time"] if kept else "2026-01-01T12:00:00.000Z"
    history = kept + [{**event, "id": first + len(kept) + n, "time": time} for n, event in enumerate(events)]
    try:
        lines = [event_line(parse_event(event)) for event in history]
    except HistoryInvalid:
        return {"history": history}
    return {"history": history, "historyDigest": Chain().over(lines).digest} if lines else {}


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.bugs: list[str] = []
        self._forms: Mapping[str, logging.Formatter] = {"json": JsonLines(), "text": Text()}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:  # a bug of ours: nobody else logs errors
            self.bugs.append(logging.Formatter().format(record))
            return
        if not record.name.startswith("flowy_operator"):
            return
        whole = self._forms["json"].format(record)
        json.loads(whole)
        self.lines += [whole, self._forms["text"].format(record)]


@contextmanager
def logs() -> Iterator[None]:
    """Look at all that the operator says, in both forms: no errors, a line each, and nothing that steers a terminal."""
    kept, root, own = _Kept(), logging.getLogger(), logging.getLogger("flowy_operator")
    level = own.level
    own.setLevel(logging.DEBUG)
    root.addHandler(kept)
    try:
        yield
    finally:
        root.removeHandler(kept)
        own.setLevel(level)
    assert not kept.bugs, kept.bugs[0]
    for line in kept.lines:
        assert line.isprintable(), f"log: {line!r}"
