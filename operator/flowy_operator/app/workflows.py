"""All Workflows that are known, and which parents are told of them."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from flowy_operator.adapters.lineage import parse_child
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.version import Body
from flowy_operator.core.child import ChildRecord
from flowy_operator.core.job import Owner
from flowy_operator.core.key import Key
from flowy_operator.core.share import Share


class Workflows:
    """All Workflows that are there, by key, and whose children they are. `wake` is told of parents that have something to see."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._known: dict[Key, Workflow] = {}
        self._of_definition: dict[Key, dict[Key, None]] = {}
        # By namespace and uid of the parent, by name.
        self._children: dict[tuple[str, str], dict[str, ChildRecord]] = {}
        # Children that are another shard's, with their version.
        self._elsewhere: dict[Key, tuple[int, ChildRecord]] = {}
        self._wake = wake

    def get(self, key: Key) -> Workflow | None:
        return self._known.get(key)

    def accept(self, key: Key, body: Body, now: datetime) -> None:
        """Take a version of an object. Of two objects of one name, one after the other, the later one counts."""
        uid, version = body["metadata"]["uid"], int(body["metadata"]["resourceVersion"])
        workflow = self._known.get(key)
        if workflow is not None and workflow.owner.uid != uid and workflow.version.resource_version > version:
            return  # of a list that was begun before the old one went
        elsewhere = self._elsewhere.get(key)
        if elsewhere is not None and elsewhere[0] < version:
            del self._elsewhere[key]
            self._lost(elsewhere[1])
        if workflow is None or workflow.owner.uid != uid:
            # Another object of the same name: nothing of the old one holds for it.
            self._drop(key)
            owner = Owner(namespace=key.namespace, name=key.name, uid=uid)
            workflow = self._known[key] = Workflow(owner)
        workflow.accept(body, now)
        if workflow.definition is not None:
            self._of_definition.setdefault(workflow.definition, {})[key] = None
        self.show(workflow)

    def see(self, key: Key, body: Body, share: Share) -> None:
        """Take a version of an object that is another shard's: it is tracked no further than a parent of this one sees it."""
        version, before = int(body["metadata"]["resourceVersion"]), self._elsewhere.get(key)
        known = self._known.get(key)
        if known is not None and known.version.resource_version < version:
            self._drop(key)  # another has its name by now
        if before is not None and before[0] >= version:
            return
        after = parse_child(body)
        if after is not None and not share.has(after.lineage.parent_uid):
            after = None
        if before is not None and after is not None and before[1].uid != after.uid:
            self._lost(before[1])
        if after is None:
            self._elsewhere.pop(key, None)
        else:
            self._elsewhere[key] = version, after
        self._tell(None if before is None else before[1], after)

    def seen(self) -> Iterator[tuple[Key, str]]:
        """Key and uid of all that is known to be there."""
        yield from [(key, workflow.owner.uid) for key, workflow in self._known.items()]
        yield from [(key, child.uid) for key, (_, child) in self._elsewhere.items()]

    def of_definition(self, definition: Key) -> list[Key]:
        """The Workflows that refer to this definition."""
        return list(self._of_definition.get(definition, ()))

    def _drop(self, key: Key) -> None:
        workflow = self._known.pop(key, None)
        if workflow is None:
            return
        child, workflow.shown = workflow.shown, None
        if child is not None:
            self._lost(child)
        if workflow.definition is None:
            return
        others = self._of_definition[workflow.definition]
        del others[key]
        if not others:
            del self._of_definition[workflow.definition]

    def forget(self, key: Key, uid: str) -> None:
        """Take it that this object is gone. One that has its name by now is another."""
        workflow = self._known.get(key)
        if workflow is not None and workflow.owner.uid == uid:
            self._drop(key)
        if key in self._elsewhere and self._elsewhere[key][1].uid == uid:
            self._lost(self._elsewhere.pop(key)[1])

    def children_of(self, owner: Owner) -> Mapping[str, ChildRecord]:
        """The children of a Workflow by their names, as they are now."""
        return dict(self._children.get((owner.namespace, owner.uid), {}))

    def show(self, workflow: Workflow) -> None:
        """Tell the parent how its child is doing, if it is doing otherwise than before."""
        before, workflow.shown = workflow.shown, workflow.seen_by_parent()
        self._tell(before, workflow.shown)

    def _tell(self, before: ChildRecord | None, after: ChildRecord | None) -> None:
        if before == after:
            return
        if before is not None and (after is None or after.lineage.parent_uid != before.lineage.parent_uid):
            self._lost(before)
        if after is not None:
            self._children.setdefault((after.namespace, after.lineage.parent_uid), {})[after.name] = after
            self._wake(Key(after.namespace, after.lineage.parent))

    def _lost(self, child: ChildRecord) -> None:
        """Take it that a child is gone, and not only unknown: its parent's task ends with it."""
        siblings = self._children.get((child.namespace, child.lineage.parent_uid), {})
        siblings.pop(child.name, None)
        if not siblings:
            self._children.pop((child.namespace, child.lineage.parent_uid), None)
        key = Key(child.namespace, child.lineage.parent)
        parent = self._known.get(key)
        if parent is not None and parent.owner.uid == child.lineage.parent_uid:
            parent.gone[child.name] = None
        self._wake(key)

    def __iter__(self) -> Iterator[Workflow]:
        return iter(list(self._known.values()))
