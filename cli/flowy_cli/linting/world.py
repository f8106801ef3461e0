"""Rules about the world around the code: imports, files, clocks, randomness, what differs between processes."""

import ast
from collections.abc import Iterator

import flowy
from flowy_cli.linting.findings import Finding, Rule
from flowy_cli.linting.names import Names
from flowy_operator.adapters.decider.preload import AVAILABLE

_FORBIDDEN = {
    "open": "open() is not there: let a task read and write files",
    "io.open": "open() is not there: let a task read and write files",
    "input": "input() is not there: nobody is there to answer",
    "time.sleep": "time.sleep() is not there: let a task wait, or give it a retry with a delay",
    "breakpoint": "breakpoint() is not there: `flowy replay --pdb` opens a debugger over a recorded run",
}
_CLOCKS = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.gmtime", "time.localtime", "time.ctime", "time.strftime", "time.asctime",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
}  # fmt: skip
_RANDOM = ("random.", "uuid.uuid1", "uuid.uuid4")
_IDENTITY = {"id": "differs between processes", "hash": "of an object that doesn't define it differs between processes"}

_IN_ORDER = {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "dict.fromkeys", "reversed", "next", "str"}
_METHODS_OF_SETS = {"union", "intersection", "difference", "symmetric_difference", "copy"}


def findings(tree: ast.Module) -> Iterator[Finding]:
    """All of them, in the order of the source."""
    names = Names(tree)
    sets = _names_of_sets(tree, names)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                for alias in imported:
                    if not _is_available(alias.name):
                        yield _unavailable(alias.name, node.lineno)
            case ast.ImportFrom():
                yield from _imported_from(node)
            case ast.Call():
                yield from _called(node, names, sets)
            case ast.For(iter=source) | ast.AsyncFor(iter=source) if _is_set(source, names, sets):
                yield _order(source, "this loop")
            case ast.ListComp(generators=generators) | ast.DictComp(generators=generators):
                for generator in generators:
                    if _is_set(generator.iter, names, sets):
                        yield _order(generator.iter, "this comprehension")
            case ast.Starred(value=source) if _is_set(source, names, sets):
                yield _order(source, "this unpacking")
            case _:
                pass


def _is_available(module: str) -> bool:
    parts = module.split(".")
    return module == "flowy" or any(".".join(parts[:n]) in AVAILABLE for n in range(1, len(parts) + 1))


def _imported_from(node: ast.ImportFrom) -> Iterator[Finding]:
    if node.level or node.module is None:
        message = "a Workflow has one source: there is no package around it to import from"
        yield Finding(rule=Rule.IMPORT, line=node.lineno, message=message)
    elif node.module == "flowy":
        for alias in node.names:
            if alias.name not in flowy.__all__ and alias.name != "*":
                message = f"flowy has no {alias.name!r}; it has {', '.join(flowy.__all__)}"
                yield Finding(rule=Rule.IMPORT, line=node.lineno, message=message)
    elif not _is_available(node.module):
        for alias in node.names:
            if f"{node.module}.{alias.name}" not in AVAILABLE:
                yield _unavailable(node.module, node.lineno)
                return


def _unavailable(module: str, line: int) -> Finding:
    message = f"module {module!r} is not available to workflow code: let a task do what needs it"
    return Finding(rule=Rule.IMPORT, line=line, message=message)


def _called(node: ast.Call, names: Names, sets: set[str]) -> Iterator[Finding]:
    name = names.dotted(node.func)
    if name is None:
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "join"
            and node.args
            and _is_set(node.args[0], names, sets)
        ):
            yield _order(node.args[0], "join()")
        return
    line = node.lineno
    if name in _FORBIDDEN:
        yield Finding(rule=Rule.FORBIDDEN, line=line, message=_FORBIDDEN[name])
    elif name in _CLOCKS:
        message = (
            f"{name}() gives the time of the latest outcome that the code has looked at, not now: it measures nothing"
        )
        yield Finding(rule=Rule.CLOCK, line=line, message=message)
    elif name.startswith(_RANDOM):
        message = (
            f"{name}() gives the same each time a run is replayed: fine for a choice or a name, never for a secret"
        )
        yield Finding(rule=Rule.RANDOM, line=line, message=message)
    elif name in _IDENTITY and node.args:
        message = f"{name}() {_IDENTITY[name]}: what follows from it may differ in the next decision"
        yield Finding(rule=Rule.IDENTITY, line=line, message=message)
    elif name in _IN_ORDER:
        for arg in node.args:
            if _is_set(arg, names, sets):
                yield _order(arg, f"{name}()")


def _order(node: ast.expr, what: str) -> Finding:
    message = (
        f"the order of a set is an accident of its elements, and {what} goes by it: write sorted(…) around the set"
    )
    return Finding(rule=Rule.SET_ORDER, line=node.lineno, message=message)


def _names_of_sets(tree: ast.Module, names: Names) -> set[str]:
    """Names that are only ever assigned sets."""
    sets: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                (sets if _is_set(value, names, sets) else others).add(name)
            case ast.arg(arg=name) | ast.For(target=ast.Name(id=name)) | ast.comprehension(target=ast.Name(id=name)):
                others.add(name)
            case _:
                pass
    return sets - others


def _is_set(node: ast.expr, names: Names, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in sets
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _METHODS_OF_SETS:
            return _is_set(value, names, sets)
        case ast.Call(func=function):
            return names.dotted(function) in {"set", "frozenset"}
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return _is_set(left, names, sets) or (not isinstance(node.op, ast.Sub) and _is_set(right, names, sets))
        case _:
            return False
