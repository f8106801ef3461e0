"""Pictures of a run of the real cluster: what its arrows say, and that the commands in the page work."""

import html
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowy_cli.main import flowy
from tests.e2e.kube import Kube

NESTED = Path(__file__).parents[2] / "examples" / "patterns" / "nested.yaml"


@pytest.fixture(scope="module")
def ended(served: Kube) -> Kube:
    served.run("apply", "-f", str(NESTED))
    served.wait_end("nested")
    return served


def typed(kube: Kube, *words: str) -> str:
    where = ["--kubeconfig", str(kube.kubeconfig), "-n", kube.namespace]
    done = CliRunner(env={"COLUMNS": "120"}).invoke(flowy, [*words, *where])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_graph_has_the_children_with_their_tasks(ended: Kube) -> None:
    rows = [line.split() for line in typed(ended, "graph", "nested").splitlines()[2:]]
    page = [["sections-0"], ["render-0", "⇠", "sections-0"], ["render-1", "⇠", "sections-0"]]
    expected = [["page-0"], *page, ["page-1"], *page, ["publish-0", "←", "page-0,", "page-1"]]
    assert [list(row[1:2] + row[4:]) for row in rows] == expected
    assert {row[0] for row in rows} == {"✔"}


def test_the_timeline_ends_with_what_was_waited_for(ended: Kube) -> None:
    last = next(line for line in typed(ended, "timeline", "nested").splitlines() if "publish-0" in line)
    assert last.startswith("◆✔ publish-0")


def test_the_commands_of_the_page_work(ended: Kube) -> None:
    page = typed(ended, "report", "nested")
    commands = [
        shlex.split(html.unescape(found)) for found in re.findall(r"<pre>((?:kubectl|flowy) [^<]*)</pre>", page)
    ]
    logs = [words[1:] for words in commands if words[0] == "kubectl"]
    descriptions = [words[1:] for words in commands if words[0] == "flowy"]
    assert (len(logs), len(descriptions)) == (7, 2)
    for words in logs[:2]:
        ended.run(*words)
    assert "sections-0" in typed(ended, *descriptions[0][:1], descriptions[0][-1])
