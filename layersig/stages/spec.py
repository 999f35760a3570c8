"""What every kind of stage states about itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from layersig.recipe.schema import AUTO_BATCH_ON_CPU
from layersig.stages.job import Job


class StageSpec(BaseModel):
    """A stage's parameters; its class says the rest of the contract.

    The fingerprint is made of exactly the parameters that were given: a new parameter with a default leaves the
    fingerprints of all stages that do not give it as they were. A stage computes in floating point, so that its results
    depend on the machine's arithmetic, if it is given a `dtype`.

    Attributes:
        kind: Name of the kind.
        version: To be raised whenever results may change.
        body: The function that does the work, as `"module:name"`: loaded when it is called, given the `Job`.
        reads: Roles of the inputs that it always reads.
        may_read: Roles, as patterns, that it reads where they are given.
        manner: Parameters that change how the work is done and no result: no part of the fingerprint.
        shared: What several processes share that run the stage together: `items`, each of them computed as by one
            process alone, or `sums`, whose last digits depend on the number of processes. None where one process runs
            it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    version: ClassVar[int]
    body: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    may_read: ClassVar[tuple[str, ...]] = ()
    manner: ClassVar[frozenset[str]] = frozenset()
    shared: ClassVar[Literal["items", "sums"] | None] = None

    @classmethod
    def of(cls, **params: Any) -> Self:
        """The spec with these parameters, typed or as JSON values."""
        return cls.model_validate(params, strict=False)

    def to_json(self) -> dict[str, Any]:
        """All parameters that were given, as JSON values: `of` reads them back."""
        return self.model_dump(mode="json", exclude_unset=True)

    @property
    def fingerprinted(self) -> dict[str, Any]:
        """The parameters that enter the fingerprint, as JSON values."""
        return {name: value for name, value in self.to_json().items() if name not in self.manner}

    @property
    def computes(self) -> bool:
        """Whether results depend on device, dtype and library versions."""
        return "dtype" in self.model_fields_set

    @property
    def length(self) -> frozenset[str]:
        """Parameters that only say how far the stage goes and what it keeps on the way.

        Stages that differ in nothing else begin alike, so that one can continue or serve another.
        """
        return frozenset()

    def run(self, job: Job[Any]) -> None:
        """Run the body in this process."""
        module, _, name = self.body.partition(":")
        getattr(import_module(module), name)(job)

    def check_roles(self, roles: Collection[str]) -> None:
        """Refuse inputs that the contract does not have.

        Raises:
            ValueError: A role is unknown, or one that is always read is missing.
        """
        missing = [role for role in self.reads if role not in roles]
        known = (*self.reads, *self.may_read)
        unknown = [role for role in roles if not any(fnmatchcase(role, pattern) for pattern in known)]
        if missing or unknown:
            raise ValueError(f"a stage of kind {self.kind!r}: missing inputs {missing}, unknown inputs {unknown}")


class ModelSpec(StageSpec):
    """A stage that runs a model."""

    dtype: str
    """Type of the weights, or `auto`."""
    device: str
    """A torch device, or `auto`."""
    quantization: Literal["none", "nf4"]
    attention: str
    """Kernel of the attention."""
    fast: bool = True
    """Whether the model is run on the fast paths (`layersig.fast`)."""

    @property
    def fingerprinted(self) -> dict[str, Any]:
        """As for every stage, but `dtype` and `device` are always `auto`, and `batch_tokens` never is.

        What they come to on a machine is part of the key of its arithmetic, so that one result is found again however a
        recipe spells them, and on every GPU of a kind. `auto` keeps the fingerprints of recipes that give neither. How
        many tokens a device chooses to run at once changes rounding alone.
        """
        found = super().fingerprinted
        found |= {name: "auto" for name in ("dtype", "device") if name in found}
        if found.get("batch_tokens") == "auto":
            found["batch_tokens"] = AUTO_BATCH_ON_CPU
        return found

    @property
    def loading(self) -> Mapping[str, Any]:
        """How the model is loaded, as keywords of `models.load.borrow_model`."""
        return {name: getattr(self, name) for name in ("dtype", "device", "quantization", "attention")}


class ReadingSpec(ModelSpec):
    """A stage that runs a model as it is, which may lie on several devices then."""

    manner = frozenset({"device_map"})

    device_map: Literal["auto"] | None = None
    """`auto` spreads the model over all devices of the process."""

    @property
    def loading(self) -> Mapping[str, Any]:
        """See `ModelSpec`."""
        return {**super().loading, "device_map": self.device_map}
