"""Texts that somebody might want us to swallow: for terminals, log files, HTML, YAML, JSON and our own formats."""

from collections.abc import Sequence

from hypothesis import strategies as st

MARK = "evil"
"""Stands in most of the texts, so that a place where none of them belongs can be searched for it."""

HOSTILE: Sequence[str] = (
    "",
    " ",
    "\n",
    f"\x1b[2J\x1b]0;{MARK}\x07",
    f"{MARK}\r\nHTTP/1.1 200 OK",
    f'x\n{{"level": "ERROR", "message": "{MARK}"}}',
    f"x\n12:00:00 ERROR   {MARK}",
    f"\x9b31m{MARK}\x85\u2028\u202e\u200b",
    f"</script><script>{MARK}()</script><img src=x onerror={MARK}()>",
    f"\"'`{MARK}`'\"><!--]]>",
    f"{MARK}: &a [*a, *a]\n...\n---\n",
    f"%s%n{{0}}{{{MARK}.__class__}}$({MARK})${{{MARK}}}",
    "../../etc/passwd",
    "\u0000",
    "\ud7ff\U0010ffff\ufffe",
    "null",
    "NaN",
    "-1",
    "1e999",
    "9" * 400,
    "[" * 3000,
    '{"a":' * 3000,
    "\\u0000\\ud800",
    f"{MARK}-0",
    "a-0",
    "a" * 5000,
    " \t" * 2000,
    "x\n" * 2000,
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
    "0001-01-01T00:00:00+23:59",
    "2026-01-01T12:00:00Z",
    "2026-01-01T12:00:60Z",
    "2031-01-01T12:00:00Z",
    "1969-12-31T23:59:59.9999999Z",
)

_CHARACTERS = st.characters(exclude_categories=["Cs"])  # JSON in UTF-8 has no halves of characters

# By their numbers, since Hypothesis' words for a strategy hold all that it is made of.
_hostile = st.integers(0, len(HOSTILE) - 1).map(lambda number: HOSTILE[number])

texts = _hostile | st.text(_CHARACTERS, max_size=30)

times = st.sampled_from([text for text in HOSTILE if "T" in text and text.endswith(("Z", ":59"))]) | st.datetimes().map(
    lambda at: f"{at.isoformat()}Z"
)

numbers = st.sampled_from([0, 1, -1, 2, 255, 2**31 - 1, 2**31, -(2**31), 2**53, 2**63 - 1]) | st.integers(
    -(2**63), 2**63 - 1
)

json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
"""What an API server may hold where it checks nothing."""

octets = (st.binary(max_size=200) | texts.map(lambda text: text.encode())).map(lambda raw: raw.decode("latin-1"))
"""Bytes, each as the character of its number: so they can stand in a case's JSON."""
