"""The published images have another Python than this machine may have, and another C library: what depends on them holds there, too.

Replay, and above all the decider, which reaches below Python: the kernel's randomness came in by a newer glibc.
"""

import re

import pytest

from tests.cluster import flowy_images, published

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SUITES = ("tests/adapters/decider", "tests/runtime", "tests/conformance", "tests/golden")
NEEDS_A_MACHINE = "tests/adapters/decider/test_container.py"  # starts containers of its own


def test_it_is_the_one_that_the_images_are_built_on() -> None:
    named = {
        re.search(r"^ARG BASE=\S+python:([\d.]+)", file.read_text(), re.MULTILINE)
        for file in flowy_images.DOCKERFILES.values()
    }
    assert {found and found[1] for found in named} == {published.version()}


def test_what_depends_on_python_holds_there() -> None:
    options = ("-q", "--no-header", "-p", "no:cacheprovider", f"--ignore={NEEDS_A_MACHINE}", "-m", "not cluster")
    done = published.run_python("-m", "pytest", *options, *SUITES)
    assert done.returncode == 0, done.stdout[-5000:]
    assert int((re.search(r"(\d+) passed", done.stdout) or ["", "0"])[1]) > 3000, done.stdout[-500:]
