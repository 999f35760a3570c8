"""Trackers: who is informed of a run besides its own folder, such as a dashboard of experiments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from layersig.errors import UserError
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.table import suggestion
from layersig.plugin.trace import traced


class Tracker(Protocol):
    """Is informed of one run. A plugin offers a class of these methods, which is called without arguments."""

    def start(self, name: str, run: str, config: Mapping[str, Any]) -> None:
        """A run begins.

        Args:
            name: Name of the recipe.
            run: Id of the run; the same recipe has the same id, also when it is run again.
            config: The recipe with every default, as JSON values.
        """

    def training(self, cell: str, steps: Sequence[Mapping[str, Any]]) -> None:
        """A training has ended, or was found in the cache.

        Args:
            cell: Which one, such as `ila-30/chats/seed-0`.
            steps: Its optimizer steps: `step`, `loss`, `lr`, `gradient_norm`, `tokens`, `targets`, `seconds`.
        """

    def finish(self, status: str, results: Sequence[Mapping[str, Any]]) -> None:
        """The run has ended.

        Args:
            status: As in the manifest.
            results: What every arm scores: rows of the table `results`; none if the run did not finish.
        """


class OfferedTracker(NamedTuple):
    """Where a tracker is, and who offers it.

    Attributes:
        name: Its name on the command line.
        where: `module:attribute`.
        plugin: Name and version of the distribution.
    """

    name: str
    where: str
    plugin: str


class Tracking:
    """The trackers of a run; one that fails is left out from then on, and the run continues.

    Args:
        names: Their names.
        offered: What installed plugins offer.
        warn: Informed of those that fail.

    Raises:
        UserError: There is no such tracker, or two plugins offer it.
    """

    def __init__(self, names: Sequence[str], offered: Sequence[OfferedTracker], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._trackers: dict[OfferedTracker, Tracker] = {}
        for name in dict.fromkeys(names):
            found = [each for each in offered if each.name == name]
            if not found:
                known = suggestion(name, [each.name for each in offered]) if offered else "; no plugin offers one"
                raise UserError(f"there is no tracker {name!r}{known} (docs/tracking.md)")
            if len(found) > 1:
                plugins = " and ".join(each.plugin for each in found)
                raise UserError(f"the tracker {name!r} is offered twice, by {plugins}; uninstall one of the plugins")
            self._guarded(found[0], partial(self._load, found[0]))

    def start(self, name: str, run: str, config: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._each("start", lambda tracker: tracker.start(name, run, config))

    def training(self, cell: str, steps: Sequence[Mapping[str, Any]]) -> None:
        """See `Tracker`."""
        self._each("training", lambda tracker: tracker.training(cell, steps))

    def finish(self, status: str, results: Sequence[Mapping[str, Any]] = ()) -> None:
        """See `Tracker`."""
        self._each("finish", lambda tracker: tracker.finish(status, results))

    def __bool__(self) -> bool:
        return bool(self._trackers)

    def _load(self, offered: OfferedTracker) -> None:
        module, _, attribute = offered.where.partition(":")
        self._trackers[offered] = getattr(import_module(module), attribute)()

    def _each(self, name: str, call: Callable[[Tracker], None]) -> None:
        for offered, tracker in list(self._trackers.items()):
            what = f'tracker "{offered.name}" ({offered.plugin}).{name}'
            self._guarded(offered, partial(traced, what, partial(call, tracker)))

    def _guarded(self, offered: OfferedTracker, call: Callable[[], None]) -> None:
        try:
            with redirect_stdout(sys.stderr):  # stdout is for results
                call()
        except (Exception, SystemExit) as error:
            if raises_plugin_errors():
                raise
            self._trackers.pop(offered, None)
            self._warn(f'the tracker "{offered.name}" of {offered.plugin} is left out: {cause(error, offered.where)}')
