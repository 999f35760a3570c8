"""Where the body of a stage runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from layersig.stages.job import Job
from layersig.stages.notes import noted
from layersig.stages.sizes import kept_sizes
from layersig.stages.spec import StageSpec

if TYPE_CHECKING:
    from layersig.distributed.crew import Driver


class Runner(Protocol):
    """Runs the body of one stage: in this process, in another one, or on another machine.

    Everything around it is the executor's: the order, the cache, locks, and what is published. A runner elsewhere needs
    the same folders, and gets the spec there from its JSON: `SPECS[spec.kind].of(**spec.to_json())`.
    """

    def run(self, job: Job[StageSpec]) -> None:
        """Run `job.spec.body`, and return when `job.out`, `job.kept`, `job.cost` and `job.metrics` are filled.

        Raises:
            LayersigError: The body raised it; any other exception means that the stage failed.
        """


class InProcess:
    """The runner that calls the body here."""

    def run(self, job: Job[StageSpec]) -> None:
        """Run the body; how the model had to be run goes to the record of the stage, halves for want of memory too."""
        with kept_sizes(job.work / "sizes.json") as sizes, noted() as notes:
            job.spec.run(job)
        for text in notes:
            job.reporter.warn(text)
        for what, tokens in sizes.halved.items():
            job.cost["halved_to"] = min(tokens, job.cost.get("halved_to", tokens))
            job.reporter.warn(
                f"memory ran out, so {what} went on in pieces of at most {tokens} tokens; results change by rounding "
                "only"
            )


IN_PROCESS = InProcess()


class AcrossProcesses:
    """The runner that runs the body in all processes of a launch, where that kind of stage can be shared among them.

    Args:
        driver: Hands stages to the other processes.
        plugin_files: Plugin files of the recipe.
    """

    def __init__(self, driver: Driver, plugin_files: Sequence[Path]) -> None:
        self._driver = driver
        self._plugin_files = tuple(plugin_files)

    def run(self, job: Job[StageSpec]) -> None:
        """Run the body in all processes, or here while the others wait."""
        if job.spec.shared is None or not job.spec.computes:
            IN_PROCESS.run(job)
        else:
            self._driver.run(job, self._plugin_files, IN_PROCESS.run)
