"""The hello example, its one step in this machine's shell."""

from pathlib import Path

from tests.examples.container import Containers, factory, manifest


def test_it_greets(tmp_path: Path) -> None:
    there = Containers(manifest("hello"), tmp_path, tmp_path)
    workflow = factory(there.workflow)(**there.functions())
    assert workflow(*there.workflow["spec"]["input"]["args"]) == "Hello, World!"
    assert workflow("Jürgen & O'Neil; $(rm)") == "Hello, Jürgen & O'Neil; $(rm)!"
