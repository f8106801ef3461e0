"""Rules about tasks and their results: what looks like plain Python and isn't quite."""

import ast
from collections.abc import Iterator, Sequence
from itertools import pairwise

from flowy_cli.linting.findings import Finding, Rule
from flowy_cli.linting.names import all_names, called_task, factories, is_task, parameters

_EAGER = {"sum", "any", "all", "min", "max", "str"}


def findings(tree: ast.Module) -> Iterator[Finding]:
    """All of them: of each factory with its own tasks."""
    for factory in factories(tree).values():
        args = parameters(factory)
        if args is not None and _is_factory(factory):
            yield from _of_factory(factory, frozenset(all_names(args)))


def _is_factory(node: ast.stmt) -> bool:
    """A function that makes another one, or a class: a helper's parameters are no tasks."""
    inner = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    return isinstance(node, ast.ClassDef) or any(
        isinstance(child, inner) for child in ast.walk(node) if child is not node
    )


def _of_factory(factory: ast.stmt, tasks: frozenset[str]) -> Iterator[Finding]:
    results = _names_of_results(factory, tasks)
    for node in ast.walk(factory):
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot()], comparators=[right]):
                for side in (left, right):
                    if (isinstance(side, ast.Name) and side.id in results) or called_task(side, tasks):
                        yield _is(node)
                        break
            case ast.ExceptHandler(type=None) | ast.ExceptHandler(type=ast.Name(id="BaseException")):
                message = "this also catches the end of a decision: `except TaskError`, or `except Exception`, is what is meant"
                yield Finding(rule=Rule.BARE_EXCEPT, line=node.lineno, message=message)
            case ast.Try(body=body, handlers=[_, *_]) if _only_calls(body, tasks):
                message = "a call never raises, so this catches nothing: put `wait(…)` of the results into the try"
                yield Finding(rule=Rule.TRY_CALL, line=node.lineno, message=message)
            case ast.Call(func=ast.Name(id=name), args=[argument, *_]) if name in _EAGER and _is_lazy(argument, tasks):
                message = (
                    f"{name}() looks at each result before the next task is called: one after the other."
                    " With a list, [task(x) for x in …], all start at once"
                )
                yield Finding(rule=Rule.ONE_BY_ONE, line=node.lineno, message=message)
            case ast.Call() if (task := called_task(node, tasks)) is not None:
                yield from _arguments(node, task)
            case _:
                pass
    for block in _blocks(factory):
        yield from _never_starts(block, tasks)


def _names_of_results(factory: ast.stmt, tasks: frozenset[str]) -> set[str]:
    """Names that are only ever assigned what a task's call gives."""
    results: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(factory):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                (results if called_task(value, tasks) else others).add(name)
            case ast.arg(arg=name) | ast.AugAssign(target=ast.Name(id=name)):
                others.add(name)
            case _:
                pass
    return results - others


def _is(node: ast.Compare) -> Finding:
    operator, instead = ("is", "==") if isinstance(node.ops[0], ast.Is) else ("is not", "!=")
    message = (
        f"a result is a stand-in for its value, so `{operator}` compares the stand-in: write `{instead}`, which waits"
    )
    return Finding(rule=Rule.IS, line=node.lineno, message=message)


def _only_calls(body: Sequence[ast.stmt], tasks: frozenset[str]) -> bool:
    return all(isinstance(node, ast.Assign | ast.Expr) and called_task(node.value, tasks) is not None for node in body)


def _is_lazy(node: ast.expr, tasks: frozenset[str]) -> bool:
    match node:
        case ast.GeneratorExp(elt=element):
            return called_task(element, tasks) is not None
        case ast.Call(func=ast.Name(id="map"), args=[function, *_]):
            return is_task(function, tasks)
        case _:
            return False


def _arguments(call: ast.Call, task: str) -> Iterator[Finding]:
    for value in (*call.args, *(keyword.value for keyword in call.keywords)):
        what = _not_json(value)
        if what is not None:
            yield Finding(rule=Rule.NOT_JSON, line=value.lineno, message=f"{task} is given {what}")


def _not_json(node: ast.expr) -> str | None:
    match node:
        case ast.Set() | ast.SetComp():
            return "a set, which has no order: pass sorted(…) instead"
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return "a set, which has no order: pass sorted(…) instead"
        case ast.Constant(value=bytes()):
            return "bytes: pass text, such as base64.b64encode(…).decode()"
        case ast.Lambda():
            return "a function, which no container can call: pass values"
        case _:
            return None


def _blocks(node: ast.AST) -> Iterator[Sequence[ast.stmt]]:
    for child in ast.walk(node):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(child, name, None)
            if isinstance(block, list):
                yield block


def _never_starts(block: Sequence[ast.stmt], tasks: frozenset[str]) -> Iterator[Finding]:
    for node, following in pairwise(block):
        if isinstance(node, ast.Expr) and isinstance(following, ast.Return):
            task = called_task(node.value, tasks)
            if task is not None and _returns_at_once(following):
                message = f"{task} is called right before the end, so it may never start: wait({task}(…)), or return its result"
                yield Finding(rule=Rule.NEVER_STARTS, line=node.lineno, message=message)


def _returns_at_once(node: ast.Return) -> bool:
    """Whether no task is called in what is returned: else the code waits there, and what was called before it starts."""
    return node.value is None or not any(isinstance(child, ast.Call) for child in ast.walk(node.value))
