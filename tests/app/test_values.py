"""Long values: stored once, loaded exactly, never believed when they have become others."""

import base64
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.decider.limits import REQUEST_BYTES
from flowy_operator.adapters.kube.errors import ServerError
from flowy_operator.app.values import ValueInTheWay, ValueLost, Values, ValueTooLong
from flowy_operator.core.errors import DecisionStalled, StallReason
from flowy_operator.core.job import Owner
from flowy_operator.core.values import ValueRef
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.clock import run_virtual
from tests.fakes.faults import LoseAnswer, Refuse
from tests.fakes.store import Json

NAMESPACE = "ns"
NAME = "w-step-0-abc"


class Shelf:
    """Values over one fake API server, with the Workflow that owns them."""

    def __init__(self) -> None:
        self.api = Api()
        self.store = self.api.store
        made = self.store.create(self.store.kind("workflows"), NAMESPACE, {"metadata": {"name": "w"}, "spec": {}})
        self.owner = Owner(namespace=NAMESPACE, name="w", uid=made["metadata"]["uid"])
        self.client = LocalClient(self.api)
        self.values = Values(self.client)

    def fresh(self, **options: Any) -> Values:
        """Values of an operator that remembers nothing."""
        return Values(LocalClient(self.api), **options)

    async def put(self, text: str, name: str = NAME) -> ValueRef:
        return await self.values.store(self.owner, name, text, run=1)

    def put_by_hand(self, body: Json, name: str = NAME) -> None:
        self.store.create(self.store.kind("configmaps"), NAMESPACE, {"metadata": {"name": name}} | body)

    def remove(self, name: str = NAME) -> None:
        self.store.delete(self.store.kind("configmaps"), NAMESPACE, name)

    def texts(self) -> list[str]:
        found = self.store.all(self.store.kind("configmaps"), NAMESPACE)
        return [base64.b64decode(body["binaryData"]["value"]).decode() for body in found]

    def loads(self) -> int:
        return self.api.calls["get", "configmaps"]


def shelved(scenario: Callable[[Shelf], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        async def run() -> None:
            await scenario(Shelf())

        run_virtual(run())

    test.__name__ = scenario.__name__
    return test


TEXTS = {
    "the longest": "1" * MAX_VALUE_BYTES,
    "the longest, all of it to be escaped": '"' + '\\"' * ((MAX_VALUE_BYTES - 2) // 2) + '"',
    "the longest, two bytes a character": '"' + "é" * ((MAX_VALUE_BYTES - 2) // 2) + '"',
    "the longest, four bytes a character": '"' + "🎬" * ((MAX_VALUE_BYTES - 2) // 4) + '"',
    "what HTML escapes": '"' + "<>&\u2028" * 3 + '"',
    "nothing": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_value_comes_back_to_the_byte(text: str) -> None:
    async def scenario() -> None:
        shelf = Shelf()
        ref = await shelf.put(text)
        assert ref.bytes == len(text.encode())
        assert await shelf.fresh().load(NAMESPACE, ref) == text
        assert await shelf.fresh().find(shelf.owner, NAME) == text

    run_virtual(scenario())


@shelved
async def test_one_byte_too_many(shelf: Shelf) -> None:
    with pytest.raises(ValueTooLong, match=r"1,048,577 bytes, at most 1,048,576 are kept"):
        await shelf.put("1" * (MAX_VALUE_BYTES + 1))
    assert shelf.texts() == []


@shelved
async def test_storing_again_finds_what_is_there(shelf: Shelf) -> None:
    ref = await shelf.put("[1]")
    assert await shelf.fresh().store(shelf.owner, NAME, "[1]", run=1) == ref
    shelf.api.faults.add(LoseAnswer(), verb="create")
    with pytest.raises(Exception, match="lost"):
        await shelf.put("[2]", "other")
    assert (await shelf.put("[2]", "other")).name == "other"
    assert shelf.texts() == ["[2]", "[1]"]


@shelved
async def test_another_content_under_the_name_stays(shelf: Shelf) -> None:
    await shelf.put("[1]")
    with pytest.raises(ValueInTheWay, match=f"'{NAME}' with another content is in the way: delete it"):
        await shelf.put("[2]")
    assert shelf.texts() == ["[1]"]


@shelved
async def test_somebody_elses_object_stays_and_is_not_believed(shelf: Shelf) -> None:
    shelf.put_by_hand({"binaryData": {"value": base64.b64encode(b"[1]").decode()}})
    with pytest.raises(ValueInTheWay, match=f"'{NAME}' that belongs to somebody else is in the way: delete it"):
        await shelf.put("[1]")
    assert await shelf.values.find(shelf.owner, NAME) is None


@shelved
async def test_a_value_that_went_is_named(shelf: Shelf) -> None:
    ref = await shelf.put("[1]")
    shelf.remove()
    with pytest.raises(ValueLost, match=f"the ConfigMap '{NAME}' is gone, which holds 3 bytes of result"):
        await shelf.fresh().load(NAMESPACE, ref)
    assert await shelf.fresh().find(shelf.owner, NAME) is None


@shelved
async def test_a_value_that_is_another_is_named(shelf: Shelf) -> None:
    ref = await shelf.put("[1]")
    for body in ({"binaryData": {"value": "WzJd"}}, {"data": {"value": "[1]"}}, {}):
        shelf.remove()
        shelf.put_by_hand(body)
        with pytest.raises(ValueLost, match=f"the ConfigMap '{NAME}' holds another value than was recorded"):
            await shelf.fresh().load(NAMESPACE, ref)


@shelved
async def test_what_was_used_last_stays_in_memory(shelf: Shelf) -> None:
    refs = [await shelf.put(str(n) * 1000, f"v-{n}") for n in range(4)]
    values = shelf.fresh(cache_bytes=3000)  # two of them, with what Python needs around each
    for n in (0, 1, 0, 2, 0):
        assert await values.load(NAMESPACE, refs[n]) == str(n) * 1000
    assert shelf.loads() == 3
    await values.load(NAMESPACE, refs[1])
    assert shelf.loads() == 4


@shelved
async def test_what_was_stored_is_in_memory_and_what_pods_read_is_not(shelf: Shelf) -> None:
    ref = await shelf.put("[1]")
    assert await shelf.values.load(NAMESPACE, ref) == "[1]"
    assert shelf.loads() == 0
    await shelf.values.store_input(shelf.owner, "in", "[2]", run=1)
    assert await shelf.values.find(shelf.owner, "in") == "[2]"


@shelved
async def test_many_are_loaded_together_and_one_failure_is_that_of_all(shelf: Shelf) -> None:
    refs = [await shelf.put(str(n), f"v-{n}") for n in range(20)]
    assert await shelf.fresh().load_all(NAMESPACE, refs) == {f"v-{n}": str(n) for n in range(20)}
    shelf.api.faults.add(Refuse(500), verb="get")
    with pytest.raises(ServerError):
        await shelf.fresh().load_all(NAMESPACE, refs)
    assert await shelf.fresh().load_all(NAMESPACE, []) == {}


@shelved
async def test_more_than_a_decision_can_take_is_not_even_loaded(shelf: Shelf) -> None:
    refs = [ValueRef(name=f"v-{n}", digest="", bytes=MAX_VALUE_BYTES) for n in range(REQUEST_BYTES // MAX_VALUE_BYTES)]
    with pytest.raises(ValueLost):
        await shelf.values.load_all(NAMESPACE, refs)
    tried = shelf.loads()
    one_more = ValueRef(name="w", digest="", bytes=1)
    with pytest.raises(DecisionStalled, match="17 long results of this run have 16,777,217 bytes together") as stalled:
        await shelf.values.load_all(NAMESPACE, [*refs, one_more])
    assert stalled.value.reason is StallReason.TOO_LARGE
    assert shelf.loads() == tried


@shelved
async def test_values_go_with_their_workflow(shelf: Shelf) -> None:
    await shelf.put("[1]")
    shelf.store.delete(shelf.store.kind("workflows"), NAMESPACE, "w")
    assert shelf.texts() == []
