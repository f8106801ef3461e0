"""The command line before a cluster whose objects are whatever somebody has made of them, or an API server of another time."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path as File
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st

from flowy_cli import logs, waiting
from flowy_operator.adapters.kube.paths import resource_of
from flowy_operator.core.job import UID_LABEL, WORKFLOW_LABEL
from tests.cli.scene import NOW, copy_of, scene
from tests.cli.shell import Server, Shell, write_kubeconfig
from tests.fakes.api import Api, matches_fields
from tests.fakes.patches import copied
from tests.fakes.store import WORKFLOWS, Json, Refusal, Store
from tests.fuzz import shown
from tests.fuzz.changes import Change, Path, change, changes, values
from tests.fuzz.objects import pod_statuses, statuses
from tests.fuzz.texts import json_values

REQUESTS = 60
"""Of one command. None needs a third of them; one that asks again and again is refused everything from there on."""

ODD_ANSWERS = 10
"""So many of one that answers something else than it should: whoever waits for an end asks on until it is well again."""

NAMES = ("talk-42", "site", "paused", "broken", "long", "site-page-0-uysr5xu24g")
COMMANDS: Sequence[str] = (
    "list",
    "list -A --children",
    "list --open --status running",
    "list --definition video-v1 -o name",
    "list -o json",
    "list -A -o yaml",
    "get NAME",
    "get NAME -o json",
    "get NAME -o yaml",
    "describe NAME",
    "describe loop",
    "history NAME",
    "history loop",
    "history NAME -o json",
    "history NAME -o yaml",
    "export NAME",
    "definitions",
    "definitions video-v1 -o json",
    "definitions -o yaml",
    "logs NAME",
    "logs talk-42 embed --attempt 1",
    "logs talk-42 -f",
    "graph NAME --unlocked",
    "graph NAME --unlocked -o svg",
    "timeline NAME --unlocked",
    "report NAME --unlocked",
    "replay NAME --unlocked",
    "replay NAME --unlocked -o json",
    "start video-v1",
    "start video-v1 -o json",
    "start video-v1 --wait --timeout 0.05",
    "wait NAME --timeout 0.05",
    "wait talk-42 broken",
    "retry NAME",
    "retry NAME -o yaml",
    "cancel NAME paused",
    "terminate paused",
    "suspend NAME",
    "resume paused",
    "complete",
)
"""NAME is one of a case's own. The last one is no command: it is a shell that asks which names there are."""

_PLACES: Sequence[Path] = (
    [],
    ["metadata"],
    ["metadata", "name"],
    ["metadata", "uid"],
    ["metadata", "creationTimestamp"],
    ["metadata", "labels"],
    ["metadata", "annotations"],
    ["metadata", "annotations", "flowy.dev/task"],
    ["spec"],
    ["spec", "tasks"],
    ["spec", "definitionRef"],
    ["spec", "events"],
    ["status"],
    ["status", "conditions"],
    ["status", "conditions", 0],
    ["status", "progress"],
    ["status", "waitingOn"],
    ["status", "history"],
    ["status", "history", 2],
    ["status", "phase"],
    ["items"],
)
_KINDS = ("workflows", "workflows", "workflows", "pods", "historypages", "configmaps", "workflowdefinitions", "answers")
_whole = st.fixed_dictionaries(
    {"of": st.just("workflows"), "path": st.just(["status"]), "op": st.just("set"), "value": statuses}
) | st.fixed_dictionaries(
    {"of": st.just("pods"), "path": st.just(["status"]), "op": st.just("set"), "value": pod_statuses}
)


def _words(drawn: tuple[str, str]) -> list[str]:
    command, name = drawn
    return command.replace("NAME", name).split()


_claims = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).map(list)

served: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"words": st.tuples(st.sampled_from(COMMANDS), st.sampled_from(NAMES)).map(_words)},
    optional={
        "changes": st.lists(changes(_PLACES, values, of=st.sampled_from(_KINDS)) | _whole, min_size=1, max_size=3),
        "claims": st.lists(_claims, min_size=1, max_size=2),
        "events": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "ERROR", "BOOKMARK", "EVIL"])},
                optional={"object": st.dictionaries(st.sampled_from(["metadata", "status", "code"]), json_values)},
            )
            | json_values,
            min_size=1,
            max_size=2,
        ),
    },
)
"""`changes` are made in each object of a kind that is answered, or in the answers themselves; `claims` are Workflows that say
they are children of others; `events` come before all others in each first watch."""


def check(case: Mapping[str, Any]) -> None:
    """Raises if the command crashes, shows what it must not, or asks without end."""
    api = Hostile(_store(case.get("claims", ())), changes=case.get("changes", ()), events=case.get("events", ()))
    words = case["words"]
    with (
        TemporaryDirectory() as folder,
        Server(api).running() as server,
        patch.object(waiting, "_PAUSE_S", 0.01),
        patch.object(logs, "_PAUSE_S", 0.01),
    ):
        kubeconfig = write_kubeconfig(File(folder) / "kubeconfig", server.url)
        environment = {}
        if words == ["complete"]:
            environment = {"_FLOWY_COMPLETE": "bash_complete", "COMP_WORDS": "flowy describe ", "COMP_CWORD": "2"}
            words = []
        done = Shell(kubeconfig, lambda: NOW, environment)(*words)
    shown.check(words, done)
    assert api.asked.total() <= REQUESTS, f"it asks and asks: {api.asked.most_common(3)}"


@cache
def _played() -> Store:
    """The scene of the command line's tests, without the pods and Jobs of the long run in it."""
    played = scene()
    for kind, found in played._objects.items():
        for key in [key for key in found if kind.plural in {"jobs", "pods"} and key[1].startswith("loop-")]:
            del found[key]
    return played


def _store(claims: Sequence[Sequence[str]]) -> Store:
    store = copy_of(_played())
    for child, parent in claims:
        uid = store.see(WORKFLOWS, "ns", parent)["metadata"]["uid"]
        owner = {"apiVersion": "flowy.dev/v1alpha1", "kind": "Workflow", "name": parent, "uid": uid, "controller": True}
        labels = {UID_LABEL: uid, WORKFLOW_LABEL: parent}
        body = copied(store.see(WORKFLOWS, "ns", child))
        body["metadata"].update(labels=labels, ownerReferences=[owner])
        store._objects[WORKFLOWS]["ns", child] = body
    return store


@dataclass(slots=True)
class Hostile(Api):
    """Answers what the scene has, changed. A watch tells at last how everything really is, and then nothing more."""

    changes: Sequence[Change] = ()
    events: Sequence[Any] = ()
    asked: Counter[str] = field(default_factory=Counter)
    _watched: set[str] = field(default_factory=set)

    def said(self, path: str, answer: Json) -> Json:
        answer = copied(answer)
        bodies = answer.get("items", [answer])
        for wanted in self.changes:
            if wanted["of"] == "answers":
                if self.asked.total() <= ODD_ANSWERS:
                    change(answer, wanted)
            elif wanted["of"] == resource_of(path):
                for body in bodies:
                    change(body, wanted)
        return answer

    async def request(self, verb: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Json]:
        self._count(f"{verb} {resource_of(path)}")
        return await Api.request(self, verb, path, query, body)

    async def log(self, path: str, query: Mapping[str, str]) -> bytes:
        self._count("log")
        return b"a line\n"

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[Json, None]:
        self._count(f"watch {resource_of(path)}")
        return self._told(path, query)

    async def _told(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[Any, None]:
        resource, target = resource_of(path), self._target(path)
        found = self.store.seen(target.kind, target.namespace)
        found = [body for body in found if matches_fields(query.get("fieldSelector", ""), body)]
        if resource not in self._watched:
            self._watched.add(resource)
            for event in self.events:
                yield event
            for body in found:
                yield {"type": "ADDED", "object": self.said(path, body)}
        for body in found:
            yield {"type": "MODIFIED", "object": body}
        await asyncio.Event().wait()

    def _count(self, what: str) -> None:
        self.asked[what] += 1
        if self.asked.total() > REQUESTS:
            raise Refusal(403, "Forbidden", "that is enough")
