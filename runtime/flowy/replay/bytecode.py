"""What a run's code compiles to, handed from one decision to the next: in a new process the compiler is most of a small one.

That is the source, and what dataclasses and named tuples have compiled while they are defined. It goes out as `marshal` has
it, and whoever gets it back trusts it as little as the code itself: it may have been changed by that code, for that run.
"""

import collections
import dataclasses
import marshal
import warnings
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import CodeType
from typing import Any

MOST_BYTES = 256 * 1024
"""Of what is handed on. As much as a source may have, which compiles to about its own size."""

_GENERATED = "<string>"  # the file name that `exec` and `eval` give to text


class Bytecode:
    """What is known from an earlier decision, and what this one uses. Whatever is no bytecode is as good as none."""

    def __init__(self, handed_on: bytes = b"") -> None:
        self._known = _loaded(handed_on)
        self._used: dict[bytes, CodeType] = {}
        self._is_news = False

    def compile(self, text: str, filename: str, mode: str) -> CodeType:
        """As `compile`, which is asked for what is not known."""
        key = blake2b(f"{mode}\n{filename}\n{text}".encode(), digest_size=16).digest()
        code = self._used.get(key) or self._known.get(key)
        if code is None:
            code = _compile(text, filename, mode)
            self._is_news = True
        self._used[key] = code
        return code

    def hand_on(self) -> bytes:
        """What to give the next decision, said once. Empty: nothing but what it is given anyway, or too much."""
        if not self._is_news:
            return b""
        self._is_news = False
        handed_on = marshal.dumps(self._used)
        return handed_on if len(handed_on) <= MOST_BYTES else b""


class _Present:
    """That of the decision that is being made; a holder, because the patches outlive a decision."""

    __slots__ = ("bytecode",)

    def __init__(self) -> None:
        self.bytecode: Bytecode | None = None


_present = _Present()


def begin(bytecode: Bytecode) -> None:
    """Use this for what is compiled from here on, in a process that makes one decision."""
    _present.bytecode = bytecode


def compiled(text: str, filename: str, mode: str = "exec") -> CodeType:
    """As `compile`, which is spared where a decision has begun that knows what it would come to."""
    if _present.bytecode is None:
        return _compile(text, filename, mode)
    return _present.bytecode.compile(text, filename, mode)


def _compile(text: str, filename: str, mode: str) -> CodeType:
    """Without warnings, which nobody reads where workflows run.

    Not by `catch_warnings`: its end lets warnings be shown anew, and code that records its own would see whether its bytecode
    was known.
    """
    filters = warnings.filters
    warnings.filters = _NONE_SHOWN
    try:
        return compile(text, filename, mode, dont_inherit=True)
    finally:
        warnings.filters = filters


_NONE_SHOWN = [("ignore", None, Warning, None, 0)]


def impose() -> Callable[[], None]:
    """Let the standard library compile what it generates by `compiled`. Gives what undoes it, and ends the decision.

    Both modules call a builtin, and find these before it.
    """
    dataclasses.exec = _execute  # type: ignore[attr-defined]
    collections.eval = _evaluate  # type: ignore[attr-defined]

    def undo() -> None:
        del dataclasses.exec, collections.eval  # type: ignore[attr-defined]
        _present.bytecode = None

    return undo


def _execute(text: str, names: dict[str, Any], local: Mapping[str, object]) -> None:
    exec(compiled(text, _GENERATED), names, local)  # noqa: S102 - the text is the standard library's


def _evaluate(text: str, names: dict[str, Any]) -> Any:
    return eval(compiled(text, _GENERATED, "eval"), names)  # noqa: S307 - as above


def _loaded(handed_on: bytes) -> Mapping[bytes, CodeType]:
    if not handed_on:
        return {}
    try:
        known = marshal.loads(handed_on)  # noqa: S302 - behind the same locks as the code that may have written it
    except (ValueError, TypeError, EOFError):
        return {}
    if type(known) is not dict or not all(type(code) is CodeType for code in known.values()):
        return {}
    return known
