"""The hint that follows an unknown name."""

from __future__ import annotations

from layersig.plugin.table import suggestion


def test_it_names_the_nearest_and_each_name_once() -> None:
    assert suggestion("tpo", ["freeze", "top", "freeze"]) == '; did you mean "top"? Allowed: freeze, top'


def test_capitals_hide_no_name() -> None:
    assert suggestion("ILA", ["ila", "random"]) == '; did you mean "ila"? Allowed: ila, random'


def test_without_a_near_name_it_lists_what_is_allowed() -> None:
    assert suggestion("xyz", ["top"]) == ". Allowed: top"
    assert suggestion("xyz", []) == ". Allowed: nothing"
