"""A definition without what cannot alter a result."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Key = tuple[str, str]
"""A module and a name in it; an empty name is the module itself, and with it all that it defines."""

WHERE = re.compile(r"layersig(\.\w+)+:\w+")
_ERROR = re.compile(r"(Error|Failed|Damaged|Exception)$")
_TELLS = {"reporter", "warnings", "logging", "log", "logger"}
_WORDS = {"description", "title", "examples"}


@dataclass(frozen=True)
class Module:
    """The definitions and imports of a module.

    Attributes:
        name: Its dotted name.
        definitions: The statements that make a name, by name; under the empty name those that make none.
        imports: What a name was imported as: module and name there.
    """

    name: str
    definitions: Mapping[str, Sequence[ast.stmt]]
    imports: Mapping[str, Key]

    @classmethod
    def parse(cls, name: str, text: str) -> Module:
        """The module of a source text."""
        definitions: dict[str, list[ast.stmt]] = {"": []}
        imports: dict[str, Key] = {}
        for statement in ast.parse(text).body:
            found = dict(_imported(statement))
            imports |= found
            made = set(_bound(statement)) - found.keys()
            if isinstance(statement, ast.Import | ast.ImportFrom) or _is_text(statement):
                continue
            if found and not made:  # `if TYPE_CHECKING:`
                continue
            for each in made or {""}:
                definitions.setdefault(each, []).append(statement)
        return cls(name, definitions, imports)


class NormalForm(ast.NodeTransformer):
    """Brings a definition into its normal form and collects what it names."""

    def __init__(self, module: Module, modules: Iterable[str]) -> None:
        self.module = module
        self.modules = modules
        self.names: list[Key] = []
        self.reached: set[Key] = set()
        self.imports = dict(module.imports)
        self.locals: dict[str, str] = {}
        self.inside = self.fields = False

    def read(self, statement: ast.stmt, name: str) -> str:
        """The normal form of a statement that defines `name`."""
        copy = ast.parse(ast.unparse(statement))
        self.imports = {**self.module.imports, **dict(_imported(*ast.walk(copy)))}
        owners = {id(node.value) for node in ast.walk(copy) if isinstance(node, ast.Attribute)}
        for node in ast.walk(copy):
            if isinstance(node, ast.Name):
                self.reached |= self._meant(node.id)
                if id(node) not in owners and (module := ".".join(self.imports.get(node.id, ()))) in self.modules:
                    self.reached.add((module, "*"))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                where = self.imports.get(node.value.id)
                if where is not None and ".".join(where) in self.modules:
                    self.reached.add((".".join(where), node.attr))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and WHERE.fullmatch(node.value):
                self.reached.add(split_key(node.value))
        made = self.visit(copy)
        for node in ast.walk(made):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name and node in made.body:
                node.name = ""
            elif isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
                node.id = ""
        return ast.dump(made)

    def _meant(self, name: str) -> set[Key]:
        """What a global name stands for, if that is in the package."""
        if name in self.imports:
            where = self.imports[name]
            package = where[0].partition(".")[0] == self.module.name.partition(".")[0]
            # The name of a module alone says nothing: what is taken from it does.
            return {where} if package and ".".join(where) not in self.modules else set()
        return {(self.module.name, name)} if name in self.module.definitions else set()

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(getattr(node, "body", None), list) and not node.body and not isinstance(node, ast.Module):  # type: ignore[attr-defined]
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        if self.inside:
            node.name = self.locals.get(node.name, node.name)
            return self.generic_visit(node)
        self.inside, self.locals = True, _locals(node)
        self.generic_visit(node)
        self.inside, self.locals = False, {}
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self.fields = self.fields, True
        self.generic_visit(node)
        self.fields = outer
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self.fields and not self.inside:
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value, lineno=0))

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if _is_text(node):
            return None
        if isinstance(node.value, ast.Call):
            told = [each.attr if isinstance(each, ast.Attribute) else each.id for each in _chain(node.value.func)]
            if _TELLS & set(told[1:]) or told == ["warn"]:
                return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) and _ERROR.search(node.exc.func.id):
            return ast.Raise(self.visit(node.exc.func), None)
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self.locals.get(node.name, node.name) if node.name else None
        return self.generic_visit(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self.locals.get(name, name) for name in node.names]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [each for each in node.keywords if each.arg not in _WORDS]
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and (where := self.imports.get(node.value.id)) is not None:
            module = ".".join(where)
            if module in self.modules:
                self.names.append((module, node.attr))
                return ast.Name("@", node.ctx)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.locals:
            return ast.Name(self.locals[node.id], node.ctx)
        meant = self._meant(node.id)
        if meant:
            self.names += meant
            return ast.Name("@" if isinstance(node.ctx, ast.Load) else node.id, node.ctx)
        if node.id in self.imports:
            return ast.Name(".".join(filter(None, self.imports[node.id])), node.ctx)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and WHERE.fullmatch(node.value):
            self.names.append(split_key(node.value))
            return ast.Constant("@")
        return node


def _locals(function: ast.FunctionDef) -> dict[str, str]:
    """New names for what a function binds, but for parameters, which callers may name."""
    parameters = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    kept = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    found = dict.fromkeys(name for each in function.body for name in _bound(each, deep=True))
    return {
        name: f"local{number}" for number, name in enumerate(name for name in found if name not in parameters | kept)
    }


def _bound(statement: ast.AST, *, deep: bool = False) -> Iterator[str]:
    """Names that a statement binds; what functions and classes bind inside themselves counts only if `deep`."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
        if not deep:
            return
    if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
        yield statement.id
    if isinstance(statement, ast.ExceptHandler) and statement.name:
        yield statement.name
    if isinstance(statement, ast.Lambda | ast.comprehension) and not deep:
        return
    for child in ast.iter_child_nodes(statement):
        yield from _bound(child, deep=deep)


def _imported(*nodes: ast.AST) -> Iterator[tuple[str, Key]]:
    """Names that import statements bind, and what they stand for."""
    for node in nodes if len(nodes) > 1 else ast.walk(nodes[0]):
        if isinstance(node, ast.Import):
            for each in node.names:
                first = each.name.partition(".")[0]
                yield each.asname or first, ("", each.name if each.asname else first)
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                yield each.asname or each.name, (node.module or "", each.name)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _chain(node: ast.AST) -> Iterator[ast.Attribute | ast.Name]:
    """`c`, `b`, `a` of `a.b.c`."""
    while isinstance(node, ast.Attribute):
        yield node
        node = node.value
    if isinstance(node, ast.Name):
        yield node


def split_key(where: str) -> Key:
    module, _, name = where.partition(":")
    return module, name
