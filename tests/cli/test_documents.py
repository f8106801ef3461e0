"""YAML as Kubernetes reads it."""

import pytest
import yaml

from flowy_cli.documents import objects
from flowy_cli.errors import Unreadable

OBJECT = "kind: A\nmetadata: {name: a}\n"
TAKEN = {
    "a merge that another key overwrites": "x: &x {a: 1}\ny: {<<: *x, a: 2}\n",
    "a merge of what is merged itself, deeper than its user": (
        "base: &base {a: 1}\nx: {y: {mid: &mid {<<: *base, a: 2}}}\ntop: {<<: *mid}\n"
    ),
    "the same key in two objects": "x: {a: 1}\ny: {a: 1}\n",
    "the same object twice": "x: &x {a: 1}\ny: [*x, *x]\n",
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_what_is_no_key_twice(text: str) -> None:
    (found,) = objects(OBJECT + text, "file")
    assert {name: found[name] for name in found if name not in {"kind", "metadata"}} == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["x: {a: 1, a: 2}", "x: [{a: 1, a: 1}]", "x:\n  a: 1\n  'a': 2"])
def test_a_key_twice(text: str) -> None:
    with pytest.raises(Unreadable, match="the key 'a' stands twice"):
        objects(OBJECT + text, "file")
