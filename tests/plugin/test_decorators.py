from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from layersig import Params, policy, scorer, source
from layersig.errors import UserError
from layersig.plugin.components import Component, declared

if TYPE_CHECKING:
    from nowhere import Context  # type: ignore[import-not-found]


def component_of(target: object) -> Component:
    found = declared(target)
    assert found is not None
    return found


def test_a_function_stays_a_function_and_its_keywords_become_parameters() -> None:
    @scorer("weight-norm", needs={"model"}, version=3, unit="module")
    def weight_norm(
        context: Context, *, power: float = 2.0, steps: Annotated[int, Field(ge=1)] = 4, side: Literal["a", "b"] = "a"
    ) -> dict[str, float]:
        """Sum of powers.

        More text.
        """
        return {"x": power * steps, side: context.offset}

    component = component_of(weight_norm)
    assert (component.kind, component.name, component.version) == ("scorer", "weight-norm", 3)
    assert (component.needs, component.unit, component.seeded) == (frozenset({"model"}), "module", False)
    assert component.summary == "Sum of powers."
    assert component.parse({}).model_dump() == {"power": 2.0, "steps": 4, "side": "a"}
    context = SimpleNamespace(params=component.parse({"power": 3, "side": "b"}), offset=7.0)
    assert component.create().score(context) == {"x": 12.0, "b": 7.0}
    assert weight_norm(context, steps=1) == {"x": 2.0, "a": 7.0}


@pytest.mark.parametrize("values", [{"steps": 0}, {"steps": 1.5}, {"steps": "2"}, {"stesp": 2}, {"steps": True}])
def test_parameters_are_strict(values: dict[str, Any]) -> None:
    @scorer("strict")
    def strict(context: Any, steps: Annotated[int, Field(ge=1)] = 4) -> dict[str, float]:
        return {}

    with pytest.raises(ValidationError):
        component_of(strict).parse(values)


def test_a_class_brings_its_traits_as_attributes_and_is_made_anew_for_each_call() -> None:
    @scorer("counting")
    class Counting:
        class Params(Params):
            names: tuple[str, ...] = ("a",)

        needs = ("data", "gradients")
        version = 2
        unit = "block"
        seeded = True

        def __init__(self) -> None:
            self.calls = 0

        def score(self, context: Any) -> dict[str, float]:
            self.calls += 1
            return dict.fromkeys(context.params.names, float(self.calls))

    component = component_of(Counting)
    assert component.needs == {"data", "gradients"}
    assert (component.version, component.unit, component.seeded) == (2, "block", True)
    context = SimpleNamespace(params=component.parse({"names": ["b", "c"]}))
    assert [component.create().score(context) for _ in range(2)] == [{"b": 1.0, "c": 1.0}] * 2


def test_arguments_of_the_decorator_win_over_attributes() -> None:
    @policy("half", rankings="some", version=5)
    class Half:
        rankings = "none"
        version = 1

        def select(self, context: Any) -> list[str]:
            return ["x"]

    component = component_of(Half)
    assert (component.rankings, component.version) == ("some", 5)
    assert component.create().select(None) == ["x"]


def test_a_policy_function_selects_and_like_names_another_selection() -> None:
    @policy("opposite", rankings="none")
    def opposite(context: Any, like: str = "ila") -> list[str]:
        return [f"not {like}"]

    component = component_of(opposite)
    assert component.reads_selection
    assert component.create().select(SimpleNamespace(params=component.parse({"like": "b"}))) == ["not b"]


def test_a_decorated_class_does_not_decorate_its_subclasses() -> None:
    @source("s3")
    class Bucket:
        kinds = frozenset({"data"})

        def load(self, kind: str, reference: str, request: Any) -> Any:
            return reference

    class Other(Bucket):
        pass

    assert component_of(Bucket).kind == "source"
    assert declared(Other) is None


def no_context() -> dict[str, float]:
    return {}


def no_default(context: Any, steps: int) -> dict[str, float]:
    return {}


def no_type(context: Any, steps=3) -> dict[str, float]:  # type: ignore[no-untyped-def]
    return {}


def star(context: Any, *values: int) -> dict[str, float]:
    return {}


def unknown_type(context: Any, steps: Context = 3) -> dict[str, float]:
    return {}


def takes_kind(context: Any, kind: str = "x") -> dict[str, float]:
    return {}


class NoMethod:
    pass


class PlainParams:
    class Params(BaseModel):
        steps: int = 3

    def score(self, context: Any) -> dict[str, float]:
        return {}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (no_context, "the context as its first argument"),
        (no_default, "`steps` needs a type and a default"),
        (no_type, "`steps` needs a type and a default"),
        (star, "name each parameter"),
        (unknown_type, "name 'Context' is not defined"),
        (takes_kind, "a parameter cannot be called kind"),
        (NoMethod, "class NoMethod has no method `score(context)`"),
        (PlainParams, "PlainParams.Params must derive from `layersig.Params`"),
    ],
)
def test_a_malformed_target_is_refused_by_name(target: Any, words: str) -> None:
    with pytest.raises(UserError, match=r"^scorer 'mine': ") as caught:
        scorer("mine")(target)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (
            lambda: scorer("x", needs={"model", "gpu"}),
            "unknown needs 'gpu'; allowed are model, weights, gradients, data, update",
        ),
        (lambda: scorer("x", needs="model"), "must be a set of names"),
        (lambda: scorer("x", version=0), "version must be a whole number from 1"),
        (lambda: scorer("x", version=True), "version must be a whole number from 1"),
        (lambda: scorer("x", unit="head"), "unknown unit 'head'; allowed are module, block, part"),
        (lambda: scorer("Not A Name"), "lower-case letters, digits and single hyphens"),
        (lambda: scorer("../x"), "lower-case letters, digits and single hyphens"),
        (lambda: policy("x", rankings="two"), "unknown rankings 'two'; allowed are none, one, some"),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_declaration_is_refused(declare: Any, words: str) -> None:
    def target(context: Any) -> dict[str, float]:
        return {}

    with pytest.raises(UserError) as caught:
        declare()(target)
    assert words in str(caught.value)
