"""A component (scorer, policy, tuning method, objective, source): its name in recipes, and where it comes from."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict

from layersig.docstrings import Described
from layersig.errors import UserError
from layersig.plugin.trace import Traced, traces

Kind = Literal["scorer", "policy", "method", "objective", "source"]
PluginKind = Literal[Kind, "topic", "tracker"]
Need = Literal["model", "weights", "gradients", "data", "update", "checkpoints", "tasks", "rankings"]
Rankings = Literal["none", "one", "some"]
Shared = Literal["rank", "alpha", "dropout"]
Learnt = Literal["pairs", "reference"]
Result = Literal["adapter", "checkpoint"]
Limit = Literal["quantization", "experts", "ranks", "resample", "until", "update"]

KINDS: tuple[str, ...] = get_args(Kind)
PLUGIN_KINDS: tuple[str, ...] = get_args(PluginKind)
"""Everything that a plugin can offer."""
NEEDS: tuple[str, ...] = get_args(Need)
LIMITS: tuple[str, ...] = get_args(Limit)
UNITS = ("module", "block", "part")
BUILT_IN_SCHEMES = frozenset({"hub", "path", "file", "pypi", "untrained"})
"""Schemes of sources that a plugin cannot offer."""
RESERVED_PARAMS = frozenset({"kind", "checkpoint", "source", "stream", "train"})
"""Keys of a recipe's tables that cannot be names of parameters."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Params(Described):
    """Base of a component's parameters: frozen, unknown keys refused, no silent conversion of types.

    A docstring under a field becomes its description in `layersig schema` and in the reference.

    Attributes:
        later: Names of parameters that were added without changing what results are at their defaults. At its default,
            such a parameter is no part of the identity of a result, so that what was cached before stays valid.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """The plugin that defines a component.

    Attributes:
        label: Its name in messages, such as `layersig-fisher 0.2.0` or `./my_scorer.py`.
        distribution: Name of the installed distribution; None for a file.
        version: Version of the distribution.
        source: The file, or the package folder of an editable installation: its content is part of the identity.
        digest: Sha256 of that content when the code was loaded: what runs is that code, whatever the file holds later.
    """

    label: str
    distribution: str | None = None
    version: str | None = None
    source: Path | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return self.label


UNKNOWN_ORIGIN = Origin("not registered")
BUILT_IN = Origin("built into layersig", "layersig")


@dataclass(frozen=True, slots=True)
class Component:
    """A scorer, a policy, a tuning method, an objective or a source.

    Attributes:
        kind: `scorer`, `policy`, `method`, `objective` or `source`.
        name: The name that a recipe writes after `kind =` (`train.method =` and `train.objective =` for
            tuning methods and objectives, a scheme for sources): lower case, digits, hyphens.
        implementation: The decorated function or class, or the `"module:attribute"` where it lies.
        version: Raised by its author whenever equal inputs may give another result.
        needs: What the context must offer; see `NEEDS`. Unknown (empty) until the implementation is loaded.
        unit: What a score covers; None for the unit of the recipe.
        rankings: For policies, how many rankings they read: `none`, `one`, or `some` (one or more).
        costs: For policies, whether it reads what training the units costs.
        seeded: True when it draws from the context's random streams, so that its result depends on the seed axis.
        reads: For tuning methods, which of the keys `rank`, `alpha` and `dropout` of `[train]` change what it does.
            For objectives, `pairs` if they learn from pairs of responses, and `reference` if from the untouched model's
            log-probabilities of these too.
        result: For tuning methods, what a training leaves: an adapter in PEFT's format, or a checkpoint.
        cannot: For tuning methods, what cannot be combined with it, and why: a clause that follows its name in the
            message. See `Limit`: `quantization` (4-bit weights), `experts` (several in one parameter), `ranks` (by
            scores), `resample` (blocks in turn), `until` (ending where the ranking is stable) and `update` (scorers
            and grafts read its update).
        params: Its parameters; without fields when there are none.
        origin: Who brings it; filled in by the manager.

    Raises:
        UserError: A field is malformed.
    """

    kind: Kind
    name: str
    implementation: object
    version: int = 1
    needs: frozenset[str] = frozenset()
    unit: str | None = None
    rankings: Rankings = "one"
    costs: bool = False
    seeded: bool = False
    reads: frozenset[str] = frozenset()
    result: Result = "adapter"
    cannot: Mapping[str, str] = field(default_factory=dict, hash=False)
    params: type[Params] = Params
    origin: Origin = UNKNOWN_ORIGIN

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"component {self.name!r}: unknown kind {self.kind!r}; allowed are {', '.join(KINDS)}")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UserError(f"{self.kind} {self.name!r}: a name is lower-case letters, digits and single hyphens")
        if self.kind == "source" and self.name in BUILT_IN_SCHEMES:
            raise UserError(f"source {self.name!r}: this scheme is built in; take another name")
        if not isinstance(self.version, int) or isinstance(self.version, bool) or self.version < 1:
            raise UserError(f"{self.kind} {self.name!r}: version must be a whole number from 1, got {self.version!r}")
        unknown = self.needs - set(NEEDS)
        if unknown:
            raise UserError(
                f"{self.kind} {self.name!r}: unknown needs {', '.join(sorted(map(repr, unknown)))}; "
                f"allowed are {', '.join(NEEDS)}"
            )
        if self.unit is not None and self.unit not in UNITS:
            raise UserError(f"{self.kind} {self.name!r}: unknown unit {self.unit!r}; allowed are {', '.join(UNITS)}")
        if self.rankings not in get_args(Rankings):
            raise UserError(
                f"{self.kind} {self.name!r}: unknown rankings {self.rankings!r}; "
                f"allowed are {', '.join(get_args(Rankings))}"
            )
        for trait, given, allowed in (
            ("reads", self.reads, get_args(Learnt if self.kind == "objective" else Shared)),
            ("result", {self.result}, get_args(Result)),
            ("cannot", set(self.cannot), LIMITS),
        ):
            if strange := given - set(allowed):
                raise UserError(
                    f"{self.kind} {self.name!r}: unknown {trait} {', '.join(sorted(map(repr, strange)))}; "
                    f"allowed are {', '.join(allowed)}"
                )

    @property
    def label(self) -> str:
        """For messages: `scorer "fisher" (layersig-fisher 0.2.0)`."""
        return f'{self.kind} "{self.name}" ({self.origin})'

    @property
    def module(self) -> str:
        """Name of the module that the implementation is in."""
        if isinstance(self.implementation, str):
            return self.implementation.partition(":")[0]
        return str(getattr(self.implementation, "__module__", ""))

    @property
    def summary(self) -> str:
        """First paragraph of the implementation's docstring, on one line; empty if there is none."""
        text = inspect.getdoc(self.implementation) or ""
        return " ".join(text.partition("\n\n")[0].split())

    @property
    def computes(self) -> bool:
        """Whether a scorer runs the model, so that its scores depend on device, dtype and library versions."""
        return bool(self.needs - {"rankings", "weights"})

    def depends_on_data(self, *, on_tasks: bool, given_update: bool) -> bool:
        """Whether a scorer has a ranking of its own for each data set.

        Args:
            on_tasks: Whether it is computed on tasks instead.
            given_update: Whether the update comes from elsewhere, so that it is the same for all data sets.
        """
        read = self.needs & {"data", "gradients", "checkpoints"}
        return self.reads_data and not on_tasks and (bool(read) or not given_update)

    @property
    def reads_data(self) -> bool:
        """Whether a scorer's ranking depends on the data set, and on the seed with it."""
        return bool(self.needs - {"model", "weights", "rankings"})

    @property
    def reads_selection(self) -> bool:
        """Whether a policy reads the selection of another arm, named by its parameter `like`."""
        return "like" in self.params.model_fields

    def parse(self, values: Mapping[str, Any]) -> Params:
        """Its parameters from the JSON-like values of a recipe.

        Raises:
            pydantic.ValidationError: A value is wrong or a key unknown.
        """
        # Pydantic's JSON mode: an array may become a tuple and a string an enumeration, but 1 is no string.
        return self.params.model_validate_json(json.dumps(values))

    def told(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that are part of a result's identity: all but those at the default of a later parameter."""
        fields = self.params.model_fields
        return {
            name: value
            for name, value in values.items()
            if not (name in self.params.later and value == fields[name].default)
        }

    def create(self) -> Any:
        """A new instance of the implementation, with `score(context)` (scorer) or `select(context)` (policy).

        Of a tuning method, `tune(context)` and `trained_values(layer, settings)`; of an objective, `examples`
        and, where it learns from pairs, `margin` and `loss`.

        `context.params` must be what `parse` returned. What the methods return is not checked here.
        """
        made = self.implementation() if isinstance(self.implementation, type) else _Function(self.implementation)
        return Traced(self.label, made) if traces() and self.origin != BUILT_IN else made


class _Function:
    """Adapts a function to the interface of a class: its parameters are passed from the context by keyword."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def score(self, context: Any) -> Any:
        return self._function(context, **dict(context.params))

    select = score


def declared(target: object) -> Component | None:
    """The component that a decorator attached to `target` itself, not to a base class."""
    return vars(target).get("__layersig__") if hasattr(target, "__dict__") else None
