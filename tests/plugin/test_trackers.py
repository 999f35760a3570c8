"""Two trackers of one name."""

from __future__ import annotations

import pytest

from layersig.errors import UserError
from layersig.plugin.tracking import OfferedTracker, Tracking


def test_a_name_that_two_plugins_offer_is_refused() -> None:
    offered = [OfferedTracker("board", "nowhere:X", plugin) for plugin in ("one 1.0", "two 2.0")]
    with pytest.raises(UserError, match=r"'board' is offered twice, by one 1\.0 and two 2\.0"):
        Tracking(["board"], offered, lambda _: None)
