"""A run as one HTML page that needs nothing else: graph, timeline, tasks with all that is known of them, code.

What comes from the run is in it as text and attributes, put there by the serializer. The page's policy allows its own
style and script and nothing besides: no network, no other code, whatever a text manages to be taken for.
"""

import base64
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from flowy_cli.pictures.execution import Attempt, Call, Execution, Kind
from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.graph_svg import STYLE_GRAPH, graph_element
from flowy_cli.pictures.layout import MANY
from flowy_cli.pictures.svg import Element, element, follow
from flowy_cli.pictures.timeline import timeline_of
from flowy_cli.pictures.timeline_svg import STYLE_TIMELINE, timeline_element
from flowy_cli.pictures.words import SIGNS, one_line, spoken
from flowy_cli.tables import took

SHOWN_CHARS = 20_000
"""Of one value. A thousand tasks may have a megabyte each; where more is left out, the page says so, and what has it."""

_HERE = Path(__file__).parent

KEYS = (
    ("/", "search in names, states, reasons"),
    ("j k", "the next task, the one before"),
    ("Enter", "open or close a task"),
    ("f", "only what has failed"),
    ("+ - 0", "zoom the graph, fit it; drag to move, Ctrl and wheel to zoom"),
    ("d", "dark or light"),
    ("Esc", "forget search and filters"),
)


def report(execution: Execution) -> str:
    """The page. Raises LayoutMissing."""
    style = "\n".join([(_HERE / "report.css").read_text(encoding="utf-8"), STYLE_GRAPH, STYLE_TIMELINE])
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    root = element("html", None, lang="en")
    head = element("head", root)
    element("meta", head, charset="utf-8")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    element("meta", head, http_equiv="Content-Security-Policy", content=policy)
    element("meta", head, name="viewport", content="width=device-width, initial-scale=1")
    element("title", head, f"{execution.name}: {spoken(execution.standing)}")
    # Laid out once, when all is there: a browser that begins before does the graph three times.
    element("link", head, rel="expect", href="#keys", blocking="render")
    element("style", head).text = style
    element("script", head).text = script
    body = element("body", root)
    _header(execution, body)
    main = element("main", body)
    if execution.reason:
        element("p", main, execution.reason, class_=f"reason {execution.standing}")
    _graph(execution, main)
    _timeline(execution, main)
    _tasks(execution, main)
    _ends(execution, main)
    _help(body)
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _header(execution: Execution, body: Element) -> None:
    header = element("header", body)
    element("h1", header, execution.name)
    element("span", header, spoken(execution.standing), class_=f"chip {execution.standing}")
    facts = [f"namespace {execution.namespace}"] if execution.namespace else ["local"]
    facts += [f"{execution.started_at:%Y-%m-%d %H:%M:%S} UTC"]
    facts += [f"{took(execution.until - execution.started_at)}{'' if execution.standing.is_over else ' so far'}"]
    facts += [f"run {execution.number}"] if execution.number > 1 else []
    element("span", header, " · ".join(facts), class_="facts")
    tools = element("span", header, class_="tools")
    element("span", tools, id="count", class_="soft")
    element("input", tools, id="search", type="search", placeholder="Search  /", aria_label="Search")
    chooser = element("select", tools, id="filter", aria_label="Only tasks that")
    element("option", chooser, "all", value="")
    found = Counter(call.standing for each in execution.everything() for call in each.calls)
    for standing, count in found.items():
        element("option", chooser, f"{spoken(standing)} ({count:,})", value=standing)
    element("button", tools, "dark", id="theme", title="d", type="button")
    element("button", tools, "?", id="help", title="keys", type="button")


def _graph(execution: Execution, main: Element) -> None:
    element("h2", main, "Graph")
    if execution.flow:
        element("p", main, f"Arrows are missing: {execution.flow}", class_="reason")
    if not execution.calls:
        element("p", main, "The code has called nothing yet.", class_="soft")
        return
    drawn = graph_of(execution)
    drawing, width, height = graph_element(drawn)
    viewport = element("div", main, id="viewport", class_="viewport")
    svg = element("svg", viewport, viewBox=f"0 0 {width:.0f} {height:.0f}", role="img", aria_label="Graph of the tasks")
    if sum(1 for _ in drawn.everything()) > MANY:
        svg.set("class", "many")
    svg.append(drawing)
    buttons = element("span", viewport, class_="zoom")
    for id_, text, words in (("in", "+", "larger"), ("out", "-", "smaller"), ("fit", "fit", "all of it")):
        element("button", buttons, text, id=id_, title=words, type="button")


def _timeline(execution: Execution, main: Element) -> None:
    element("h2", main, "Timeline")
    drawing, width, height = timeline_element(timeline_of(execution))
    svg = element("svg", element("div", main, class_="scroll"), viewBox=f"0 0 {width:.0f} {height:.0f}", role="img")
    svg.set("aria-label", "When each task ran")
    svg.append(drawing)


def _tasks(execution: Execution, main: Element) -> None:
    element("h2", main, "Tasks")
    tasks = element("div", main, class_="tasks")
    head = element("div", tasks, class_="head")
    for name in ("task", "state", "after", "took", "attempts", "result or reason"):
        element("span", head, name, class_="number" if name in {"after", "took", "attempts"} else None)
    for above, each in _executions(execution, ""):
        for call in each.calls:
            _task(call, each, above, execution, tasks)


def _executions(execution: Execution, above: str) -> Iterator[tuple[str, Execution]]:
    """Each execution with the keys that lead to it, parents first."""
    yield above, execution
    for call in execution.calls:
        for attempt in call.attempts:
            if attempt.child is not None:
                number = f" #{attempt.number}" if call.tries > 1 else ""
                yield from _executions(attempt.child, f"{above}{call.key}{number} / ")


def _task(call: Call, each: Execution, above: str, top: Execution, tasks: Element) -> None:
    details = element(
        "details", tasks, class_="task", data_calls=f"{each.name}/{call.key}", data_standing=call.standing
    )
    summary = element("summary", details)
    key = element("span", summary, class_="key", title=f"{above}{call.key}")
    follow(element("span", key, above, class_="up"), call.key)
    state = element("span", summary)
    element("span", state, f"{SIGNS[call.standing]} {spoken(call.standing)}", class_=f"chip {call.standing}")
    at = "" if call.scheduled_at is None else took(call.scheduled_at - top.started_at)
    lasted = "" if call.scheduled_at is None else took((call.finished_at or each.until) - call.scheduled_at)
    for text in (at, lasted, str(call.tries or "")):
        element("span", summary, text, class_="number")
    told = call.reason or ("" if call.result is None else call.result)
    element("span", summary, one_line(told[:500]), class_="bad" if call.standing.has_failed else "soft")
    body = element("div", details, class_="body")
    if call.line is not None and each.source == top.source:
        _field(body, "line").append(_link(call.line))
    if call.takes:
        element("span", _field(body, "results of"), ", ".join(call.takes))
    _value(body, "arguments", call.arguments, each)
    _value(body, "result", call.result, each)
    if call.reason:
        element("pre", _field(body, "reason"), call.reason, class_="bad" if call.standing.has_failed else None)
    for attempt in call.attempts:
        _attempt(attempt, call, each, top, body)


def _field(body: Element, name: str) -> Element:
    element("span", body, name, class_="soft")
    return element("div", body)


def _link(line: int) -> Element:
    return element("a", None, f"{line}", href=f"#L{line}")


def _value(body: Element, name: str, text: str | None, each: Execution) -> None:
    if text is None:
        return
    place = _field(body, name)
    shown = _pretty(text)
    element("pre", place, shown[:SHOWN_CHARS])
    if len(shown) > SHOWN_CHARS:
        more = len(shown) - SHOWN_CHARS
        place_of_all = (
            f"flowy export -n {shlex.quote(each.namespace)} {shlex.quote(each.name)}" if each.namespace else "the trace"
        )
        words = f"… {more:,} further characters are not in this page; {place_of_all} has all of it"
        element("div", place, words, class_="soft")


def _pretty(text: str) -> str:
    """JSON with line breaks, if it is short enough for that to help."""
    if len(text) > SHOWN_CHARS:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and value.keys() == {"args", "kwargs"}:
        value = value["args"] if not value["kwargs"] else value
    flat = json.dumps(value, ensure_ascii=False)
    return flat if len(flat) < 100 else json.dumps(value, ensure_ascii=False, indent=2)  # noqa: PLR2004 - one line


def _attempt(attempt: Attempt, call: Call, each: Execution, top: Execution, body: Element) -> None:
    name = f"attempt {attempt.number}" + (f", launch {attempt.launch + 1}" if attempt.launch else "")
    place = _field(body, name)
    words = [spoken(attempt.standing), f"after {took(attempt.scheduled_at - top.started_at)}"]
    if attempt.ended_at is not None:
        words.append(f"for {took(attempt.ended_at - attempt.scheduled_at)}")
    words += [f"on {attempt.node}"] if attempt.node else []
    words += [attempt.reason] if attempt.reason and attempt.reason != call.reason else []
    element("div", place, ", ".join(words))
    if each.namespace:
        element("pre", place, _command(attempt, call, each))


def _command(attempt: Attempt, call: Call, each: Execution) -> str:
    """What shows more of an attempt, ready for a shell."""
    namespace, name = shlex.quote(each.namespace), shlex.quote(attempt.name)
    if call.kind is Kind.WORKFLOW:
        return f"flowy describe -n {namespace} {name}"
    return f"kubectl logs -n {namespace} job/{name} --tail=-1"


def _ends(execution: Execution, main: Element) -> None:
    """What went into the run, what came out, and its code."""
    element("h2", main, "Input and result")
    body = element("div", main, class_="body")
    _value(body, "arguments", execution.arguments, execution)
    _value(body, "result", execution.result, execution)
    if execution.source:
        element("h2", main, "Code")
        code = element("pre", main, class_="code")
        for number, line in enumerate(execution.source.splitlines(), 1):
            place = element("span", code, id=f"L{number}")
            follow(element("b", place, str(number)), line)


def _help(body: Element) -> None:
    dialog = element("dialog", body, id="keys")
    keys = element("div", dialog, class_="keys")
    for key, words in KEYS:
        element("kbd", keys, key)
        element("span", keys, words)
