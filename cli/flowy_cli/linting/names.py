"""What names in a source mean: which come from a module, which are tasks."""

import ast
from collections.abc import Iterator, Mapping

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Names:
    """`dotted` gives the full name of what an expression refers to: `dt.datetime.now` is `datetime.datetime.now`."""

    def __init__(self, tree: ast.Module) -> None:
        self._imported: dict[str, str] = {}
        self._own: set[str] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    for name in names:
                        self._imported[name.asname or name.name.partition(".")[0]] = (
                            name.name if name.asname else name.name.partition(".")[0]
                        )
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    self._imported |= {name.asname or name.name: f"{module}.{name.name}" for name in names}
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                    self._own.add(name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    self._own.add(name)
                case _:
                    pass

    def dotted(self, node: ast.expr) -> str | None:
        """None for what isn't a plain name, or is one of the source's own."""
        match node:
            case ast.Name(id=name):
                return self._imported.get(name, None if name in self._own else name)
            case ast.Attribute(value=value, attr=attribute):
                base = self.dotted(value)
                # Attributes of a builtin's name are methods, which this is not about.
                return (
                    None if base is None or not isinstance(value, (ast.Name, ast.Attribute)) else f"{base}.{attribute}"
                )
            case _:
                return None


def factories(tree: ast.Module) -> Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The public functions and classes that the source defines itself, by name."""
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }


def parameters(factory: ast.stmt) -> ast.arguments | None:
    """What a factory is given: of a class, what its `__init__` takes beside `self`. None if a class has none of its own."""
    match factory:
        case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            return args
        case ast.ClassDef(body=body):
            for node in body:
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    args = node.args
                    positional = args.posonlyargs or args.args
                    return ast.arguments(
                        posonlyargs=args.posonlyargs[1:],
                        args=args.args if args.posonlyargs else positional[1:],
                        vararg=args.vararg,
                        kwonlyargs=args.kwonlyargs,
                        kw_defaults=args.kw_defaults,
                        kwarg=args.kwarg,
                        defaults=args.defaults,
                    )
    return None


def required(args: ast.arguments) -> list[ast.arg]:
    """The parameters that have no default value."""
    plain = args.args[: len(args.args) - len(args.defaults)] if args.defaults else args.args
    keyword = [arg for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    return [*plain, *keyword]


def all_names(args: ast.arguments) -> set[str]:
    return {arg.arg for arg in (*args.args, *args.kwonlyargs)}


def called_task(node: ast.AST, tasks: frozenset[str]) -> str | None:
    """The task that this expression calls, be it a parameter (`encode(…)`) or an attribute of `self`."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in tasks:
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)) if name.lstrip("_") in tasks:
            return name.lstrip("_")
        case _:
            return None


def is_task(node: ast.AST, tasks: frozenset[str]) -> bool:
    """Whether this is a task itself, not called."""
    return isinstance(node, ast.Name) and node.id in tasks


def walk_within(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below, in the order of the source."""
    for child in ast.iter_child_nodes(node):
        yield child
        yield from walk_within(child)
