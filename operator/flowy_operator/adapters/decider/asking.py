"""One decision on its way to a child: what is asked, as it is sent, and what the child may use for it."""

from dataclasses import dataclass, replace

from flowy.wire.messages import MalformedMessage, Request, encode_request
from flowy_operator.adapters.decider.frames import Allowance
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.core.errors import DecisionStalled, StallReason

# SCHED_IDLE was tried: good decisions were no faster beside it, and slow ones got nothing at all while others had work.
LOWEST = 19


@dataclass(frozen=True, slots=True)
class Asked:
    """`body` is the encoded request; `allowance` goes before it, `bytecode` of an earlier decision of the run behind it."""

    request: Request
    body: bytes
    allowance: Allowance
    namespace: str
    bytecode: bytes = b""

    def message(self) -> bytes:
        allowance = replace(self.allowance, bytecode_bytes=len(self.bytecode))
        return b"".join((allowance.encode(), self.body, self.bytecode))

    def brief(self, limits: Limits) -> "Asked":
        """The same with no more time than a decision has that is not slow."""
        cpu_ms = round(limits.brief_cpu_of(len(self.request.records), len(self.body)) * 1000)
        wall_ms = min(round(limits.brief_wall_s * 1000) + cpu_ms, self.allowance.wall_ms)
        return replace(self, allowance=replace(self.allowance, wall_ms=wall_ms, cpu_ms=cpu_ms))

    def staying(self, limits: Limits) -> "Asked":
        """The same of a child that may stay for the next decision."""
        return replace(self, allowance=replace(self.allowance, stay_ms=round(limits.stay_s * 1000)))

    def slow(self) -> "Asked":
        """The same with the CPU that the others leave."""
        return replace(self, allowance=replace(self.allowance, niceness=LOWEST))


def asking(request: Request, namespace: str, wall_s: float, limits: Limits) -> Asked:
    """Raises `DecisionStalled` for what no child will be asked."""
    try:
        body = encode_request(request)
    except MalformedMessage as error:  # a lone surrogate, which JSON can hold and UTF-8 can't
        raise DecisionStalled(StallReason.MALFORMED, f"The decision can't be asked for: {error}") from error
    source_bytes = len(request.source.encode())
    if source_bytes > limits.source_bytes:
        raise DecisionStalled(
            StallReason.TOO_LARGE,
            f"The workflow's source has {source_bytes} bytes, the limit is {limits.source_bytes}",
        )
    if len(body) > limits.request_bytes:
        raise DecisionStalled(
            StallReason.TOO_LARGE,
            f"The decision's request has {len(body)} bytes, the limit is {limits.request_bytes}; "
            "pass references to large values between tasks instead of the values",
        )
    allowance = Allowance(
        wall_ms=round(wall_s * 1000),
        cpu_ms=round(limits.cpu_of(len(request.records), len(body)) * 1000),
        memory_bytes=limits.memory_bytes,
        answer_bytes=limits.answer_bytes,
        request_bytes=len(body),
    )
    return Asked(request, body, allowance, namespace)
