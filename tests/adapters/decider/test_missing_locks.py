"""A kernel without seccomp, or without Landlock: played by a filter that answers ENOSYS to the call in question.

The operator's own processes run below that filter, so that this is the path of such a kernel, and nothing is patched.
"""

import asyncio
import json
import sys

from flowy_operator.adapters.decider.syscalls import X86_64

LAUNCH = """
import asyncio, json, logging, struct, sys
sys.path[:0] = {path!r}
from flowy_operator.adapters.decider import bpf, kernel
from flowy_operator.adapters.decider.frames import Strictness
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.core.errors import DecisionStalled
from tests.adapters.decider.programs import GOOD

logging.basicConfig(format="%(levelname)s %(message)s", level="INFO")
program = bytes()
for code, then, otherwise, operand in (
    (bpf.LOAD_WORD, 0, 0, bpf.NUMBER_AT), (bpf.JUMP_IF_EQUAL, 0, 1, {missing}),
    (bpf.RETURN, 0, 0, 0x00050000 | 38), (bpf.RETURN, 0, 0, bpf.Action.ALLOW),
):
    program += struct.pack("<HBBI", code, then, otherwise, operand)
kernel.no_new_privileges()
kernel.Filter(program, 317).install()

async def main():
    pool = DeciderPool(strictness=Strictness({strictness!r}))
    try:
        await pool.start()
        answer = await pool.decide(GOOD, namespace="x", wall_s=20)
        print(json.dumps([call.key for call in answer.scheduled]))
    except DecisionStalled as stalled:
        print(json.dumps(str(stalled)))
    finally:
        await pool.close()

asyncio.run(main())
"""


async def launch(missing: str, strictness: str) -> tuple[object, str]:
    """What a pool on such a kernel did, and its log."""
    source = LAUNCH.format(path=sys.path, missing=X86_64.numbers[missing], strictness=strictness)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, log = await process.communicate()
    return json.loads(said or b"null"), log.decode()


async def test_without_seccomp_the_operator_does_not_start() -> None:
    said, _ = await launch("seccomp", "required")
    assert isinstance(said, str)
    assert "the kernel refuses a filter of system calls" in said
    assert "--insecure-decider" in said
    assert "Traceback" not in said


async def test_an_insecure_decider_starts_and_says_so_loudly() -> None:
    said, log = await launch("seccomp", "insecure")
    assert said == ["a-0", "a-1", "a-2"]
    assert "WARNING INSECURE DECIDER" in log


async def test_without_landlock_it_starts_with_a_warning() -> None:
    said, log = await launch("landlock_create_ruleset", "required")
    assert said == ["a-0", "a-1", "a-2"]
    assert "WARNING The kernel has no Landlock" in log
    assert "INSECURE" not in log
