"""Fields that a row leaves empty: a template that shows one must not print "None".

lm-eval gives templates null for a field that a row does not have, and Jinja prints it as the word None, in the middle
of a prompt. Here such a field is `Blank`: false in a condition, none in a test, replaced by `default`, and an error
where it would be printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Never

import lm_eval.utils
from jinja2 import Undefined
from lm_eval.api.task import ConfigurableTask


class Blank(Undefined):
    """A field that is null or missing in a row."""

    def _refuse(self, *_: Any, **__: Any) -> Never:
        self._fail_with_undefined_error()

    __str__ = __repr__ = __iter__ = __len__ = __contains__ = _refuse

    @property
    def _undefined_message(self) -> str:
        return f"the field `{self._undefined_name}` is missing or null, and would be shown as the word None"

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Blank)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)


# A field that is not there has always been none for the templates of tasks.
lm_eval.utils.env.tests["none"] = lambda value: value is None or isinstance(value, Blank)


class BlankAwareTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """A task whose templates fail on fields that a row leaves empty; its functions get rows as they are."""

    def doc_to_text(self, doc: Any, doc_to_text: Any = None) -> Any:
        """The question of a row."""
        return _shown(super().doc_to_text, doc, doc_to_text, self.config.doc_to_text)

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> Any:
        """The right answer of a row."""
        return _shown(super().doc_to_target, doc, doc_to_target, self.config.doc_to_target)

    def doc_to_choice(self, doc: Any, doc_to_choice: Any = None) -> Any:
        """The choices of a row."""
        return _shown(super().doc_to_choice, doc, doc_to_choice, self.config.doc_to_choice)

    def doc_to_prefix(self, doc: Any) -> Any:
        """How the answer to a row begins."""
        return super().doc_to_prefix(marked(doc) if has_blank(doc) else doc)


def has_blank(value: Any) -> bool:
    """Whether a row, or a part of one, leaves anything empty."""
    if isinstance(value, Mapping):
        return any(map(has_blank, value.values()))
    if isinstance(value, list):
        return any(map(has_blank, value))
    return value is None


def marked(value: Any, name: str = "") -> Any:
    """A row, or a part of one, with `Blank` for null."""
    if value is None:
        return Blank(name=name)
    if isinstance(value, Mapping):
        return {key: marked(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner, f"{name}[{place}]") for place, inner in enumerate(value)]
    return value


def _shown(method: Callable[[Any, Any], Any], doc: Any, given: Any, declared: Any) -> Any:
    if not isinstance(declared if given is None else given, str) or not has_blank(doc):
        return method(doc, given)
    shown = method(marked(doc), given)
    for part in shown if isinstance(shown, list) else [shown]:
        if isinstance(part, Blank):
            str(part)  # raises
    return shown
