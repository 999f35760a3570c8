"""What an installed plugin may implement. The hooks only list what there is; the work is done by plain typed calls."""

from __future__ import annotations

from collections.abc import Iterable

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
    A plugin whose modules are light may leave the hook out: the decorated objects of its entry-point module are then
    what it offers.
    """
    raise NotImplementedError


@hookspec
def layersig_topics() -> Iterable[str]:
    """The topics of the report that this plugin offers.

    Give each as `"module:attribute"`; the attribute is a `layersig.report.topic.Topic`.
    """
    raise NotImplementedError
