"""`@scorer`, `@policy`, `@method`, `@objective` and `@source`: how an author declares a component.

On a function, the parameters after `context` become the component's parameters; each needs a type and a default.
On a class, `Params` holds them and `score(context)`, `select(context)` or `tune(context)` does the work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar, get_type_hints

from pydantic import PydanticUserError, create_model

from layersig.errors import UserError
from layersig.plugin.components import RESERVED_PARAMS, Component, Kind, Params, Rankings, Result

_Target = TypeVar("_Target", bound=Callable[..., Any])
_WORK: Mapping[Kind, str] = {
    "scorer": "score(context)",
    "policy": "select(context)",
    "method": "tune(context)",
    "objective": "examples(params, folder, split, untouched)",
    "source": "load(kind, reference, request)",
}
"""What a class of each kind must have."""


def scorer(
    name: str,
    *,
    needs: Collection[str] | None = None,
    version: int | None = None,
    unit: str | None = None,
    seeded: bool | None = None,
) -> Callable[[_Target], _Target]:
    """Declare a scorer: `(context) -> Mapping[str, float]`, higher is more important.

    A class may set every argument except the name as an attribute.

    Args:
        name: The value of `kind` in a recipe.
        needs: What the context must provide, out of `model`, `weights`, `gradients`, `data`, `update`, `checkpoints`,
            `tasks`, `rankings`; default: nothing.
        version: Increase it whenever equal inputs may give other scores; default: 1.
        unit: `module`, `block` or `part`; default: the recipe's.
        seeded: Whether it draws from the context's random streams although it needs no data; default: no.

    Returns:
        A decorator that returns the function or class unchanged.

    Raises:
        UserError: The declaration is malformed.
    """

    def declare(target: _Target) -> _Target:
        _attach(target, "scorer", name, needs=needs, version=version, unit=unit, seeded=seeded)
        return target

    return declare


def policy(
    name: str,
    *,
    rankings: Rankings | None = None,
    version: int | None = None,
    seeded: bool | None = None,
    costs: bool | None = None,
) -> Callable[[_Target], _Target]:
    """Declare a policy: `(context) -> iterable of group names`.

    A parameter called `like` is the name of another arm, whose selection the policy then receives.
    A class may set every argument except the name as an attribute.

    Args:
        name: The value of `kind` in a recipe.
        rankings: `none`, `one` or `some` (one or more): how many rankings the policy reads; default: `one`.
        version: Increase it whenever equal inputs may give another selection; default: 1.
        seeded: Whether it draws from the context's random streams; default: no.
        costs: Whether it reads what training the units costs, as `context.arithmetic`; default: no.

    Returns:
        A decorator that returns the function or class unchanged.

    Raises:
        UserError: The declaration is malformed.
    """

    def declare(target: _Target) -> _Target:
        _attach(target, "policy", name, version=version, rankings=rankings, seeded=seeded, costs=costs)
        return target

    return declare


def method(
    name: str,
    *,
    reads: Collection[str] | None = None,
    result: Result | None = None,
    cannot: Mapping[str, str] | None = None,
    version: int | None = None,
) -> Callable[[_Target], _Target]:
    """Declare a tuning method: a class that derives from `layersig.training.methods.Method`.

    Its parameters are the table of its name in `[train]`: `[train.NAME]`. A class may give every argument but the name
    as an attribute.

    Args:
        name: What a recipe writes after `train.method =`.
        reads: Which of the keys `rank`, `alpha` and `dropout` of `[train]` change what it does; default: none.
        result: What a training leaves: `adapter` (one that PEFT loads), or `checkpoint`; default: `adapter`.
        cannot: What cannot be combined with it, and why, of `quantization`, `experts`, `ranks`, `resample`, `until`
            and `update`; default: nothing.
        version: To be raised whenever an equal training may give another result; default: 1.

    Returns:
        A decorator that leaves the class as it is.

    Raises:
        UserError: The declaration is malformed.
    """

    def declare(target: _Target) -> _Target:
        _attach(target, "method", name, reads=reads, result=result, cannot=cannot, version=version)
        return target

    return declare


def objective(
    name: str, *, reads: Collection[str] | None = None, version: int | None = None
) -> Callable[[_Target], _Target]:
    """Declare a training objective: a class that derives from `layersig.objectives.PairObjective`.

    Its parameters are the table of its name in `[train]`: `[train.NAME]`. A class may give every argument but the name
    as an attribute.

    Args:
        name: What a recipe writes after `train.objective =`.
        reads: What it learns from, of `pairs` (a chosen and a rejected response to each prompt) and `reference` (the
            log-probabilities of both under the untouched model); default: nothing but conversations.
        version: To be raised whenever an equal training may give another result; default: 1.

    Returns:
        A decorator that leaves the class as it is.

    Raises:
        UserError: The declaration is malformed.
    """

    def declare(target: _Target) -> _Target:
        _attach(target, "objective", name, reads=reads, version=version)
        return target

    return declare


def source(name: str, *, version: int | None = None) -> Callable[[_Target], _Target]:
    """Declare a source of models or data for the scheme `name` (as in `name:...`).

    Args:
        name: The scheme.
        version: Increase it whenever an equal specification may give other content; default: 1.

    Returns:
        A decorator that leaves the class as it is.

    Raises:
        UserError: The declaration is malformed.
    """

    def declare(target: _Target) -> _Target:
        _attach(target, "source", name, version=version)
        return target

    return declare


def _attach(target: Any, kind: Kind, name: str, **given: Any) -> None:
    traits = {
        trait: getattr(target, trait) if value is None else value
        for trait, value in given.items()
        if value is not None or hasattr(target, trait)
    }
    if "needs" in traits:
        if isinstance(traits["needs"], str):
            raise UserError(f"{kind} {name!r}: needs must be a set of names, got the string {traits['needs']!r}")
        traits["needs"] = frozenset(traits["needs"])
    if "reads" in traits:
        traits["reads"] = frozenset(traits["reads"])
    params = _params(kind, name, target)
    if taken := RESERVED_PARAMS & params.model_fields.keys():
        raise UserError(f"{kind} {name!r}: a parameter cannot be called {' or '.join(sorted(taken))}; recipes use that")
    target.__layersig__ = Component(kind, name, target, params=params, **traits)


def _params(kind: Kind, name: str, target: Any) -> type[Params]:
    if not isinstance(target, type):
        if kind in ("method", "objective", "source"):
            raise UserError(f"{kind} {name!r}: it must be a class with `{_WORK[kind]}`, not a function")
        return _from_signature(kind, name, target)
    work = _WORK[kind]
    if not callable(getattr(target, work.partition("(")[0], None)):
        raise UserError(f"{kind} {name!r}: class {target.__name__} has no method `{work}`")
    if kind == "source" and not isinstance(getattr(target, "kinds", None), set | frozenset):
        raise UserError(f"{kind} {name!r}: class {target.__name__} has no set `kinds` of what it loads")
    params = getattr(target, "Params", Params)
    if not (isinstance(params, type) and issubclass(params, Params)):
        raise UserError(f"{kind} {name!r}: {target.__name__}.Params must derive from `layersig.Params`")
    return params


def _from_signature(kind: Kind, name: str, function: Callable[..., Any]) -> type[Params]:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise UserError(f"{kind} {name!r}: the function must take the context as its first argument")
    # The annotation of the context is not evaluated: it may be imported for type checkers only.
    written = {parameter.name: parameter.annotation for parameter in parameters[1:]}
    for parameter in parameters[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UserError(f"{kind} {name!r}: `{parameter}` cannot be set in a recipe; name each parameter")
        if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
            raise UserError(f"{kind} {name!r}: parameter `{parameter.name}` needs a type and a default")
    try:
        types = get_type_hints(
            SimpleNamespace(__annotations__=written), globalns=vars(inspect.getmodule(function)), include_extras=True
        )
        fields: dict[str, Any] = {
            parameter.name: (types[parameter.name], parameter.default) for parameter in parameters[1:]
        }
        return create_model("Params", __base__=Params, **fields)
    except (PydanticUserError, NameError, TypeError) as error:
        raise UserError(f"{kind} {name!r}: the parameters cannot be used: {error}") from error
