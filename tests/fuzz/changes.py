"""Changes to JSON that somebody else has written: each where a path ends, the n-th of the n-th of … or the field of a name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.objects import PROGRAMS, events
from tests.fuzz.texts import json_values, texts

Path = Sequence[int | str]
Change = Mapping[str, Any]

values = texts | json_values | events | st.sampled_from(PROGRAMS)


def changes(
    places: Iterable[Path], worth: st.SearchStrategy[Any] = values, **more: st.SearchStrategy[Any]
) -> st.SearchStrategy[Change]:
    """One change, whose path begins at one of these places; its value is `worth`. `more` are further fields of it."""
    begins = st.sampled_from([list(place) for place in places])
    rest = st.lists(st.integers(0, 12), max_size=6)
    return st.fixed_dictionaries(
        {
            **more,
            "path": st.builds(lambda place, path: [*place, *path], begins, rest),
            "op": st.sampled_from(["set", "drop", "twice", "key"]),
        },
        optional={"value": worth},
    )


def change(root: Any, wanted: Change) -> None:
    """Make it, in place. A path that leads on where nothing is ends there; a last name that isn't there yet is added."""
    above: Any = None
    key: Any = None
    here = root
    for step in wanted["path"]:
        if not isinstance(here, dict | list):
            break
        if isinstance(step, str):
            if not isinstance(here, dict):
                break
            found = step
        elif here:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            found = keys[step % len(keys)]
        else:
            break
        above, key = here, found
        here = here.get(found) if isinstance(here, dict) else here[found]
    if above is None:
        return
    value = wanted.get("value")
    match wanted["op"], above:
        case "drop", dict():
            above.pop(key, None)
        case "drop", _:
            del above[key]
        case "twice", list():
            above.insert(key, here)
        case "key", dict():
            above[str(value)] = above.pop(key, None)
        case _:
            above[key] = value
