"""What the result of a function depends on: every definition of the package that it reaches through names.

A definition is what a top-level name of a module stands for: a function, a class, a constant. It reaches what its code
names, in its module or through imports (also those inside functions), and what a string such as
`"layersig.scoring.ila:Ila"` names. A package that re-exports a name is passed through, not drawn in.

The digest of a set of definitions ignores what cannot alter a result: comments, docstrings, annotations of functions,
what is told to a reporter, the wording of errors, names of local variables, names of definitions and of modules,
imports and their order, the order of definitions. So a module or a function can be moved or renamed freely. It does
notice, needlessly at times: renamed parameters, attributes, methods and fields; restructured code; `assert`s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.golden.normal_form import Key, Module, NormalForm, split_key

_ROUNDS = 4


@dataclass(frozen=True)
class Definition:
    """A definition without what cannot alter a result.

    Attributes:
        text: Its code, with a mark in the place of every name of the package.
        names: What the marks stand for, in order.
        reached: All that it reaches, also through annotations.
    """

    text: str
    names: tuple[Key, ...]
    reached: frozenset[Key]


@dataclass(frozen=True)
class Code:
    """The source of a package.

    Attributes:
        texts: The source text of every module by dotted name.
        parsed: Modules that were read already.
        definitions: Definitions that were read already.
    """

    texts: Mapping[str, str]
    parsed: dict[str, Module] = field(default_factory=dict)
    definitions: dict[Key, Definition] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Code:
        """The code of the package in a folder."""
        return cls({_dotted(path, folder.parent): path.read_text(encoding="utf-8") for path in folder.rglob("*.py")})

    def changed(self, module: str, text: str) -> Code:
        """The same code with another text for one module."""
        parsed = {name: each for name, each in self.parsed.items() if name != module}
        definitions = {key: each for key, each in self.definitions.items() if key[0] != module}
        return Code({**self.texts, module: text}, parsed, definitions)

    def module(self, name: str) -> Module:
        """The module of that name."""
        if name not in self.parsed:
            self.parsed[name] = Module.parse(name, self.texts[name])
        return self.parsed[name]

    def closure(self, roots: Iterable[str], borders: Iterable[str] = ()) -> frozenset[Key]:
        """Every definition that `module:name` roots reach, but for what lies in modules below the borders."""
        closed = tuple(borders)
        waiting = [self.resolve(*split_key(root)) for root in roots]
        found: set[Key] = set()
        while waiting:
            key = waiting.pop()
            if key is None or key in found or any(_below(key[0], border) for border in closed):
                continue
            found.add(key)
            waiting += [self.resolve(*each) for each in sorted(self.definition(key).reached)]
            waiting.append((key[0], ""))
        return frozenset(found)

    def resolve(self, module: str, name: str) -> Key | None:
        """Where a name is defined; None for what is no name of the package."""
        if f"{module}.{name}" in self.texts:
            return f"{module}.{name}", "*"
        if module not in self.texts:
            return None
        known = self.module(module)
        if name in known.definitions or name == "*":
            return module, name
        if name in known.imports:
            return self.resolve(*known.imports[name])
        raise LookupError(f"{module} has no {name}")

    def definition(self, key: Key) -> Definition:
        """A definition in its normal form."""
        if key not in self.definitions:
            module, name = self.module(key[0]), key[1]
            parts = module.definitions.values() if name == "*" else [module.definitions[name]]
            reader = NormalForm(module, self.texts.keys())
            text = "\n".join(reader.read(statement, name) for part in parts for statement in part)
            self.definitions[key] = Definition(text, tuple(reader.names), frozenset(reader.reached))
        return self.definitions[key]

    def hashes(self, keys: Iterable[Key]) -> dict[Key, str]:
        """A hash of every definition: of its text and, some steps far, of what its marks stand for."""
        wanted = list(keys)
        known = {key: _sha(self.definition(key).text) for key in wanted}
        for _ in range(_ROUNDS):
            known = {key: _sha(known[key], *self._named(key, known)) for key in wanted}
        return known

    def _named(self, key: Key, known: Mapping[Key, str]) -> Iterator[str]:
        for module, name in self.definition(key).names:
            found = self.resolve(module, name)
            yield name if found is None else known.get(found, name)


def digest(hashes: Iterable[str]) -> str:
    """One hash of a set of them."""
    return _sha(*sorted(set(hashes)))[:16]


def _dotted(path: Path, above: Path) -> str:
    return ".".join(path.relative_to(above).with_suffix("").parts).removesuffix(".__init__")


def _below(module: str, border: str) -> bool:
    return module == border or module.startswith(f"{border}.")


def _sha(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
