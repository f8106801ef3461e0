"""The public names, and that nothing but the standard library stands behind them."""

import subprocess
import sys
from pathlib import Path

import flowy

RUNTIME = Path(flowy.__file__).parents[1]

IMPORT_ALL = """
import sys
sys.path.insert(0, {runtime!r})
import pkgutil, importlib, flowy
for module in pkgutil.walk_packages(flowy.__path__, "flowy."):
    importlib.import_module(module.name)
known = sys.stdlib_module_names | {{"flowy", "__main__", "__mp_main__"}}  # the last is multiprocessing's name for the one before
foreign = [name for name in sys.modules if name.partition(".")[0] not in known]
assert not foreign, foreign
"""


def test_the_public_names() -> None:
    assert flowy.__all__ == [
        "TaskCancelled",
        "TaskError",
        "TaskTimedOut",
        "finish_order",
        "first",
        "parallel_reduce",
        "restart",
        "wait",
    ]
    assert sorted(flowy.__all__) == flowy.__all__
    assert all(hasattr(flowy, name) for name in flowy.__all__)


def test_every_module_imports_on_a_bare_interpreter() -> None:
    code = IMPORT_ALL.format(runtime=str(RUNTIME))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
