"""The cache agrees with the cluster, whatever happens on the way; in virtual time over the fake API server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy_operator.adapters.jobs import parse_job
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.reflector import QUIET_FAILURES, RELIST_FAILURES, Reflector
from flowy_operator.core.records import JobRecord
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.clock import run_virtual
from tests.fakes.faults import Refuse

SELECTOR = "app.kubernetes.io/managed-by=flowy"

Changes = list[tuple[str | None, str | None]]


def job(name: str, workflow: str = "w", **labels: str) -> dict[str, Any]:
    ours = {"app.kubernetes.io/managed-by": "flowy", "flowy.dev/workflow": workflow}
    return {"metadata": {"name": name, "labels": ours | labels}}


class World:
    """A cluster, a reflector of its Jobs, and what it told."""

    def __init__(
        self, *, namespaces: Sequence[str] | None = None, client: Callable[[Api], KubeClient] = LocalClient
    ) -> None:
        self.api = Api()
        self.jobs = self.api.store.kind("jobs")
        self.told: Changes = []
        self.reflector: Reflector[JobRecord] = Reflector(
            client(self.api),
            paths.jobs,
            label_selector=SELECTOR,
            parse=parse_job,
            changed=lambda old, new: self.told.append((old.name if old else None, new.name if new else None)),
            namespaces=namespaces,
            spread=lambda: 0.5,
        )

    def create(self, name: str, *, namespace: str = "ns", workflow: str = "w") -> None:
        self.api.store.create(self.jobs, namespace, job(name, workflow))

    def delete(self, name: str, *, namespace: str = "ns") -> None:
        self.api.store.delete(self.jobs, namespace, name)

    def complete(self, name: str) -> None:
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        self.api.store.edit("jobs", "ns", name, lambda found: found.update(status=done))

    def touch(self, name: str) -> None:
        self.api.store.edit("jobs", "ns", name, lambda found: found["metadata"].update(annotations={"a": "b"}))

    @property
    def names(self) -> list[str]:
        return [record.name for record in self.reflector.records.values()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reflector.run())
        try:
            await self.reflector.synced.wait()
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def settle(seconds: float = 1.0) -> None:
    """Let everything happen that is under way. Virtual, hence free."""
    await asyncio.sleep(seconds)


def test_what_was_there_is_told_before_synced() -> None:
    async def main() -> None:
        world = World()
        world.create("a")
        world.create("b")
        async with world.running():
            assert world.told == [(None, "a"), (None, "b")]

    run_virtual(main())


def test_changes_are_told_and_found_in_the_cache() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            world.create("a")
            world.complete("a")
            await settle()
            assert world.reflector.records["ns", "a"].complete
            world.delete("a")
            await settle()
        assert world.told == [(None, "a"), ("a", "a"), ("a", None)]
        assert world.names == []

    run_virtual(main())


def test_change_that_the_record_doesnt_show_is_not_told() -> None:
    async def main() -> None:
        world = World()
        world.create("a")
        async with world.running():
            before = world.reflector.records["ns", "a"].resource_version
            world.touch("a")
            await settle()
            assert world.told == [(None, "a")]
            assert world.reflector.records["ns", "a"].resource_version > before

    run_virtual(main())


def test_records_of_a_workflow_are_found_in_order() -> None:
    async def main() -> None:
        world = World()
        for name, workflow in (("z", "w"), ("a", "other"), ("b", "w")):
            world.create(name, workflow=workflow)
        async with world.running():
            world.create("c")
            await settle()
            assert [record.name for record in world.reflector.of_workflow("ns", "w")] == ["b", "z", "c"]
            assert [record.name for record in world.reflector.of_workflow("ns", "other")] == ["a"]
            assert list(world.reflector.of_workflow("elsewhere", "w")) == []
            world.api.store.edit(
                "jobs", "ns", "c", lambda c: c["metadata"]["labels"].update({"flowy.dev/workflow": "v"})
            )
            await settle()
            assert [record.name for record in world.reflector.of_workflow("ns", "w")] == ["b", "z"]
            assert [record.name for record in world.reflector.of_workflow("ns", "v")] == ["c"]

    run_virtual(main())


def test_deletion_in_a_gap_is_told_after_the_next_list() -> None:
    async def main() -> None:
        world = World()
        for name in "abc":
            world.create(name)
        async with world.running():
            world.told.clear()
            world.api.cut_watches()
            world.delete("b")
            world.create("d")
            world.api.store.compact()
            await settle()
        assert world.told == [(None, "d"), ("b", None)]
        assert world.names == ["a", "c", "d"]
        assert world.reflector.lists == 2

    run_virtual(main())


def test_object_made_anew_in_a_gap_is_a_change() -> None:
    async def main() -> None:
        world = World()
        world.create("a")
        async with world.running():
            uid = world.reflector.records["ns", "a"].uid
            world.api.cut_watches()
            world.delete("a")
            world.create("a")
            world.api.store.compact()
            await settle()
            assert world.told == [(None, "a"), ("a", "a")]
            assert world.reflector.records["ns", "a"].uid != uid

    run_virtual(main())


def test_cut_stream_goes_on_where_it_was() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            world.create("a")
            await settle()
            world.api.cut_watches()
            world.create("b")
            await settle()
        assert world.told == [(None, "a"), (None, "b")]
        assert world.reflector.lists == 1

    run_virtual(main())


def test_bookmarks_spare_the_next_list() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            for n in range(50):
                world.api.store.create(world.api.store.kind("configmaps"), "ns", {"metadata": {"name": f"c{n}"}})
            await settle(70)
            world.api.store.floor = world.api.store.version
            world.api.cut_watches()
            world.create("a")
            await settle()
        assert world.names == ["a"]
        assert world.reflector.lists == 1

    run_virtual(main())


def test_streams_end_and_begin_again_for_hours() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            await settle(4 * 3600)
            world.create("a")
            await settle()
        assert world.names == ["a"]
        assert 40 < world.api.calls["watch", "jobs"] < 80

    run_virtual(main())


def test_streams_that_end_at_once_are_not_asked_for_in_a_loop() -> None:
    class Cutting(LocalClient):
        async def watch(self, *_: Any, **__: Any) -> Any:
            self.requests["watch", "jobs", 200] += 1
            empty: tuple[Any, ...] = ()
            for event in empty:
                yield event

    async def main() -> None:
        world = World(client=Cutting)
        async with world.running():
            await settle(600)
        assert world.reflector._client.requests["watch", "jobs", 200] < 50

    run_virtual(main())


def test_server_that_is_away_is_asked_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        world.api.faults.add(Refuse(503), verb="list", times=30)
        world.create("a")
        started_at = asyncio.get_running_loop().time()
        async with world.running():
            took_s = asyncio.get_running_loop().time() - started_at
        assert 300 < took_s < 900
        assert world.names == ["a"]

    with caplog.at_level(logging.INFO):
        run_virtual(main())
    levels = [record.levelno for record in caplog.records if record.name.endswith("reflector")]
    assert levels == [logging.INFO] * QUIET_FAILURES + [logging.WARNING] * (30 - QUIET_FAILURES)


def test_wish_of_an_overloaded_server_is_kept() -> None:
    async def main() -> None:
        world = World()
        world.api.faults.add(Refuse(429, "TooManyRequests", retry_after_s=20), verb="list")
        async with world.running():
            assert asyncio.get_running_loop().time() >= 20

    run_virtual(main())


def test_several_namespaces_share_a_cache_and_no_others_are_seen() -> None:
    async def main() -> None:
        world = World(namespaces=["one", "two"])
        for namespace in ("one", "two", "three"):
            world.create("a", namespace=namespace)
        async with world.running():
            world.api.cut_watches()
            world.delete("a", namespace="one")
            world.api.store.compact()
            await settle()
            assert list(world.reflector.records) == [("two", "a")]

    run_virtual(main())


def test_foreign_and_odd_objects_are_no_records() -> None:
    async def main() -> None:
        world = World()
        world.create("a")
        world.api.store.create(world.jobs, "ns", {"metadata": {"name": "foreign"}})
        async with world.running():
            world.api.store.edit("jobs", "ns", "a", lambda found: found["metadata"]["labels"].pop("flowy.dev/workflow"))
            await settle()
        assert world.told == [(None, "a"), ("a", None)]

    run_virtual(main())


def test_versions_that_have_gone_back_are_believed_after_a_list() -> None:
    async def main() -> None:
        world = World()
        world.create("a")
        world.create("b")
        async with world.running():
            world.api.store.version = 0
            world.api.store.floor = 0
            world.api.store.log.clear()
            world.complete("a")
            world.api.faults.add(Refuse(504, "Timeout"), verb="watch", times=RELIST_FAILURES)
            world.api.cut_watches()
            await settle(120)
            assert world.reflector.records["ns", "a"].complete
            world.complete("b")
            await settle()
            assert world.reflector.lists == 2

    run_virtual(main())


def test_older_word_on_an_object_is_ignored() -> None:
    async def main() -> None:
        world = World()
        world.create("a")
        old = world.api.store.get(world.jobs, "ns", "a")
        async with world.running():
            world.complete("a")
            await settle()
            record = parse_job(old)
            assert record is not None
            world.reflector._store(record)
            assert world.reflector.records["ns", "a"].complete

    run_virtual(main())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("create", "delete", "complete", "touch", "cut", "compact", "refuse", "wait")),
        st.sampled_from("abcd"),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=60)
def test_cache_and_what_was_told_agree_with_the_cluster(steps: list[tuple[str, str]]) -> None:
    async def main() -> None:
        world = World()
        shadow: dict[str, JobRecord] = {}

        def changed(old: JobRecord | None, new: JobRecord | None) -> None:
            name = (old or new).name  # type: ignore[union-attr]
            assert shadow.get(name) == old or (old is not None and name in shadow)
            if new is None:
                del shadow[name]
            else:
                shadow[name] = new

        world.reflector._changed = changed
        async with world.running():
            for step, name in steps:
                await apply(world, step, name)
            await settle(120)
        cluster = {found["metadata"]["name"]: parse_job(found) for found in world.api.store.all(world.jobs)}
        assert {record.name: record for record in world.reflector.records.values()} == cluster
        assert sorted(shadow) == sorted(cluster)
        assert all(shadow[name].complete == found.complete for name, found in cluster.items() if found is not None)

    run_virtual(main())


async def apply(world: World, step: str, name: str) -> None:
    there = any(found["metadata"]["name"] == name for found in world.api.store.all(world.jobs))
    match step:
        case "create" if not there:
            world.create(name)
        case "delete" | "complete" | "touch" if there:
            getattr(world, step)(name)
        case "cut":
            world.api.cut_watches()
        case "compact":
            world.api.store.compact()
        case "refuse":
            world.api.faults.add(Refuse(500))
        case "wait":
            await settle()
        case _:
            pass
