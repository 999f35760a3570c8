"""Which shares of the gain may be stated: those of a gain that all layers are shown to have."""

from __future__ import annotations

from layersig.findings.rows.arms import ShareRow
from layersig.report.material import Material, measure_of
from layersig.report.numbers import level


def all_layers_gain(material: Material, kept: ShareRow) -> bool:
    """Whether all layers are shown to gain more than the margin, without which a share orders arms at random."""
    assay = material.assay(measure_of(kept), kept.data)
    return assay is not None and assay.low > assay.margin


def why_no_share(material: Material, kept: ShareRow) -> str | None:
    """Why a share is no figure to remember: no interval, nothing kept, or all layers are not shown to gain anything."""
    if kept.no_interval is not None:
        return kept.no_interval
    if kept.shape != "interval":
        return f"the gain is too uncertain to divide by, so the {level(kept.level)} confidence set is unbounded"
    if kept.high is not None and kept.high < 0:
        return f"on {kept.task} the arm is worse than the untouched model, so that it keeps nothing"
    if not all_layers_gain(material, kept):
        return (
            f"on {kept.task} all layers are not shown to gain more than the margin, so the task cannot tell arms apart"
        )
    return None
