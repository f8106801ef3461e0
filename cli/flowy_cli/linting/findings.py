"""What the linter says: where, how bad, what, and what to write instead. Every rule stands here."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """`ERROR`: the run will fail or be refused. `WARNING`: it runs, and probably not as meant."""

    ERROR = "error"
    WARNING = "warning"


class Rule(StrEnum):
    """The rules by the names that a person reads."""

    SYNTAX = "syntax"
    SPEC = "spec"
    ENTRYPOINT = "entrypoint"
    UNKNOWN_TASK = "unknown-task"
    UNUSED_TASK = "unused-task"
    PARAMETERS = "parameters"
    UNDEFINED = "undefined"
    IMPORT = "import"
    FORBIDDEN = "forbidden"
    NOT_JSON = "not-json"
    CLOCK = "clock"
    RANDOM = "random"
    SET_ORDER = "set-order"
    IDENTITY = "identity"
    IS = "is"
    BARE_EXCEPT = "bare-except"
    TRY_CALL = "try-call"
    ONE_BY_ONE = "one-by-one"
    NEVER_STARTS = "never-starts"
    NEVER_RETRIED = "never-retried"


_WARNINGS = {
    Rule.CLOCK,
    Rule.RANDOM,
    Rule.SET_ORDER,
    Rule.IDENTITY,
    Rule.IS,
    Rule.BARE_EXCEPT,
    Rule.TRY_CALL,
    Rule.ONE_BY_ONE,
    Rule.NEVER_STARTS,
    Rule.NEVER_RETRIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`line` is that of the source, or None if it is of the manifest as a whole; `manifest_line` that of the file, if known."""

    rule: Rule
    line: int | None
    message: str
    manifest_line: int | None = None

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self.rule in _WARNINGS else Severity.ERROR
