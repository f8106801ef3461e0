"""Objects that somebody else may have written."""

import copy
from typing import Any

from hypothesis import strategies as st

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1),
    st.text(max_size=3),
    st.just([]),
    st.just([1]),
    st.just({}),
    st.just({"a": []}),
)


@st.composite
def spoiled(draw: st.DrawFn, found: dict[str, Any]) -> dict[str, Any]:
    """Give the object with one or two of its fields, at any depth, gone or replaced by something odd."""
    result = copy.deepcopy(found)
    for _ in range(draw(st.integers(1, 2))):
        parent: Any = result
        while True:
            keys = list(range(len(parent))) if isinstance(parent, list) else list(parent)
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(parent[key], dict | list) and parent[key] and draw(st.booleans()):
                parent = parent[key]
                continue
            if draw(st.booleans()):
                del parent[key]
            else:
                parent[key] = copy.deepcopy(draw(ODD))
            break
    return result
