"""The hooks of plugins: they list components, topics and trackers. All work is done by plain typed calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pluggy

from layersig.plugin.components import Component

PROJECT = "layersig"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def layersig_components() -> Iterable[Component]:
    """The components that this plugin offers.

    Name each implementation as a `"module:attribute"` string, so that listing what is installed imports nothing heavy.
    A plugin with lightweight modules may omit the hook: it then offers the decorated objects of its entry-point module.
    """
    raise NotImplementedError


@hookspec
def layersig_topics() -> Iterable[str]:
    """The topics of the report that this plugin offers.

    Give each as `"module:attribute"`; the attribute is a `layersig.report.topic.Topic`.
    """
    raise NotImplementedError


@hookspec
def layersig_trackers() -> Mapping[str, str]:
    """The trackers that this plugin offers, by the name that `layersig run --track NAME` takes.

    Give each as `"module:attribute"`; the attribute is a class of `layersig.plugin.tracking.Tracker`.
    """
    raise NotImplementedError
