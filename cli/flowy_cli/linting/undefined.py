"""The rule about names that nothing defines: a run comes to one after hours of work, and fails."""

import ast
import builtins
import difflib
import symtable
from collections.abc import Collection, Iterator, Mapping

from flowy_cli.linting.findings import Finding, Rule
from flowy_cli.linting.names import Function

# Of every module, and what makes names that nobody can see.
_OF_MODULES = {"__name__", "__file__", "__doc__", "__spec__", "__loader__", "__package__", "__builtins__", "__annotations__", "__module__", "__qualname__"}  # fmt: skip
_MAKES_NAMES = {"globals", "locals", "exec", "eval", "vars"}
_CATCH = {"NameError", "Exception", "BaseException"}


def findings(tree: ast.Module, code: str) -> Iterator[Finding]:
    """One for each name, where it is used first. None for code that makes names, or takes all of a module's."""
    tables = list(_tables(symtable.symtable(code, "<workflow>", "exec")))
    known = {symbol.get_name() for table in tables for symbol in table.get_symbols() if _defines(table, symbol)}
    # Of a comprehension at the top: symtable says so in some versions alone.
    known |= {node.target.id for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)}
    if any(_makes_names(node, known) for node in ast.walk(tree)):
        return
    known |= set(dir(builtins)) | _OF_MODULES
    used = _first_lines(tree)
    undefined = {
        symbol.get_name()
        for table in tables
        for symbol in table.get_symbols()
        if symbol.is_global() and symbol.is_referenced() and symbol.get_name() not in known
    }
    nearby = {name for table in tables for name in table.get_identifiers()} | set(dir(builtins))
    for name in sorted(undefined & used.keys()):
        similar = difflib.get_close_matches(name, sorted(nearby - undefined), n=1)
        meant = f"; do you mean {similar[0]}?" if similar else ""
        yield Finding(rule=Rule.UNDEFINED, line=used[name], message=f"nothing defines {name!r}{meant}")


def _makes_names(node: ast.AST, known: Collection[str]) -> bool:
    match node:
        case ast.ImportFrom(names=[ast.alias(name="*")]):
            return True
        case ast.Call(func=ast.Name(id="vars"), args=[_, *_]):
            return False
        case ast.Call(func=ast.Name(id=name)):
            return name in _MAKES_NAMES and name not in known
        case _:
            return False


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for inner in table.get_children():
        yield from _tables(inner)


def _defines(table: symtable.SymbolTable, symbol: symtable.Symbol) -> bool:
    """Whether it makes a name of the module: there, or in a function that declares it global."""
    is_made = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    return is_made and (table.get_type() == "module" or symbol.is_declared_global())


def _first_lines(tree: ast.Module) -> Mapping[str, int]:
    lines: dict[str, int] = {}
    for node in _evaluated(tree, in_function=False):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return lines


def _evaluated(node: ast.AST, *, in_function: bool) -> Iterator[ast.AST]:
    """All below that is evaluated, and whose NameError nobody catches."""
    yield node
    in_function = in_function or isinstance(node, Function)
    for field, value in ast.iter_fields(node):
        if in_function and isinstance(node, ast.AnnAssign) and field == "annotation":
            continue
        if isinstance(node, ast.Try) and field == "body" and any(map(_catches, node.handlers)):
            continue
        for inner in value if isinstance(value, list) else (value,):
            if isinstance(inner, ast.AST):
                yield from _evaluated(inner, in_function=in_function)


def _catches(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(one is None or (isinstance(one, ast.Name) and one.id in _CATCH) for one in caught)
