"""The page in a browser: it shows all, is searched, driven by keys, stays fluid, and talks to nobody.

`make test` and `make browser` bring Chromium where they may; elsewhere one is needed that is there already.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flowy_cli.pictures.execution import Execution
from flowy_cli.pictures.report import report
from tests.pictures.browser import CHROMIUM, Tab, chromium, new_tab
from tests.pictures.recordings import recording, web, wide
from tests.pictures.test_svg import hostile

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `make browser` installs it"),
]

SHOWN = "[...document.querySelectorAll('.task')].filter(t => !t.hidden).map(t => t.dataset.calls)"
CHOSEN = "document.querySelector('.task.chosen')?.dataset.calls"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with chromium() as found:
        yield found


@pytest.fixture
async def tab(port: int) -> AsyncIterator[Tab]:
    async with new_tab(port) as found:
        yield found


async def show(tab: Tab, run: Execution, folder: Path) -> Path:
    page = folder / "report.html"
    page.write_text(report(run), encoding="utf-8")
    await tab.open(page)
    return page


@pytest.mark.parametrize(
    "run", [hostile(), recording("video-open"), recording("nested")], ids=["hostile", "open", "nested"]
)
async def test_it_complains_of_nothing_and_asks_for_nothing(tab: Tab, run: Execution, tmp_path: Path) -> None:
    page = await show(tab, run, tmp_path)
    await tab.press("j", "Enter", "d", "+", "0", "?", "Escape")
    assert await tab.run("document.querySelectorAll('svg').length") == 2
    assert await tab.run("getComputedStyle(document.querySelector('.chip')).borderRadius") == "99px"
    assert tab.complaints == []
    assert tab.requests == [page.as_uri()]


async def test_search_and_filter(tab: Tab, tmp_path: Path) -> None:
    await show(tab, recording("nested"), tmp_path)
    everything = await tab.run(SHOWN)
    await tab.press("/", *"render")
    await tab.drawn()
    found = await tab.run(SHOWN)
    assert [each.rpartition("/")[2] for each in found] == ["render-0", "render-1"] * 2
    assert await tab.run("document.getElementById('count').textContent") == "4 of 9 tasks"
    assert await tab.run("document.querySelectorAll('svg .node.faded').length") == 5
    await tab.press("Escape")
    assert await tab.run(SHOWN) == everything
    await tab.press("f")
    assert [each.rpartition("/")[2] for each in await tab.run(SHOWN)] == ["page-1", "render-1"]


async def test_enter_goes_to_the_first_that_was_searched_for_however_fast_it_comes(tab: Tab, tmp_path: Path) -> None:
    await show(tab, recording("saga"), tmp_path)
    await tab.run("""
        const box = document.getElementById("search");
        box.focus();
        box.value = "book-2";
        box.dispatchEvent(new Event("input"));
        box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    """)
    assert await tab.run(CHOSEN) == "saga/book-2"


async def test_keys_choose_and_open_tasks(tab: Tab, tmp_path: Path) -> None:
    await show(tab, recording("saga"), tmp_path)
    await tab.press("j", "j")
    assert await tab.run(CHOSEN) == "saga/book-1"
    await tab.press("k", "Enter")
    assert await tab.run(CHOSEN) == "saga/book-0"
    assert await tab.run("document.querySelector('.task.chosen').open") is True
    assert await tab.run("document.querySelector('svg .node.chosen').dataset.calls") == "saga/book-0"


async def test_a_click_on_a_node_opens_its_task(tab: Tab, tmp_path: Path) -> None:
    await show(tab, recording("saga"), tmp_path)
    await tab.click("svg .node.failed")
    assert await tab.run(CHOSEN) == "saga/book-2"
    assert await tab.run("document.querySelector('.task.chosen').open") is True


async def test_a_click_on_a_stack_lists_its_tasks(tab: Tab, tmp_path: Path) -> None:
    await show(tab, wide(30), tmp_path)
    await tab.click("svg .node[data-calls*=' ']")
    assert len(await tab.run(SHOWN)) == 29
    await tab.press("Escape")
    assert len(await tab.run(SHOWN)) == 32


@pytest.mark.parametrize(("scheme", "colour"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")])
async def test_light_and_dark(tab: Tab, scheme: str, colour: str, tmp_path: Path) -> None:
    await tab.prefer(scheme)
    await show(tab, recording("video"), tmp_path)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert await tab.run(paper) == colour
    await tab.press("d")
    assert await tab.run(paper) != colour


async def test_a_thousand_tasks_are_there_and_found(tab: Tab, tmp_path: Path) -> None:
    await show(tab, wide(1000), tmp_path)
    await tab.press("/", *"step-777")
    await tab.drawn()
    assert await tab.run(SHOWN) == ["w/step-777"]
    assert tab.complaints == []


SEEN = "[...document.querySelectorAll('svg .node')].filter(n => n.querySelector('text').getClientRects().length).length"
ROWS = "[...document.querySelectorAll('svg .rows')].filter(g => g.getClientRects().length).length"


async def test_of_a_large_graph_texts_are_drawn_where_they_can_be_read(tab: Tab, tmp_path: Path) -> None:
    await show(tab, web(400), tmp_path)
    assert await tab.run("document.querySelectorAll('svg .node').length") == 400
    assert await tab.run(SEEN) == 0
    await tab.press("j", "j", "j")
    assert await tab.run(CHOSEN) == "w/step-2"
    assert await tab.run("document.querySelector('.node.chosen text').getClientRects().length") == 1
    assert 1 <= await tab.run(SEEN) < 200
    await tab.press("0")
    assert await tab.run(SEEN) == 0
    assert tab.complaints == []


async def test_of_a_long_timeline_rows_are_drawn_where_they_are_in_sight(tab: Tab, tmp_path: Path) -> None:
    await show(tab, web(400), tmp_path)
    assert 1 <= await tab.run(ROWS) <= 2
    last = "document.querySelector('.row[data-calls=\"w/step-399\"]').getClientRects().length"
    assert await tab.run(last) == 0
    await tab.run("document.querySelector('.scroll').scrollTo(0, 1e6)")
    await tab.drawn()
    assert await tab.run(last) == 1
    await tab.run("window.dispatchEvent(new Event('beforeprint'))")
    assert await tab.run(ROWS) == 10


async def test_arrows_of_the_chosen_task_are_marked(tab: Tab, tmp_path: Path) -> None:
    await show(tab, recording("saga"), tmp_path)
    await tab.press("j", "j")
    marked = "[...document.querySelectorAll('path.arrow.chosen')].map(a => [a.dataset.from, a.dataset.to])"
    chosen = await tab.run("document.querySelector('.node.chosen').id")
    found = await tab.run(marked)
    assert len(found) == 3
    assert all(chosen in ends for ends in found)
