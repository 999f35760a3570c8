"""The page ``docs/published-overlaps.md``: chance levels for the overlaps that the ILA paper reports."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.overlap import OverlapLaw, overlap_of_jaccard, stratified_law, uniform_law
from tests.calibration.report import Table


@dataclass(frozen=True, slots=True)
class Published:
    """A reported Jaccard index of two selections of ``k`` of ``n`` layers."""

    source: str
    compared: str
    n: int
    k: int
    jaccard: tuple[float, ...]


LLAMA_LAYERS, QWEN_LAYERS = 225, 197
OVERLAPS = (
    Published("table 2", "LIMA, No Robots, Alpaca-GPT4 (LLAMA 2-7B, Mistral-7B)", LLAMA_LAYERS, 169, (0.89, 0.93)),
    Published("table 3", "random seeds", LLAMA_LAYERS, 169, (0.91, 0.92)),
    Published("table 4", "1 % of stage 1 against later milestones", LLAMA_LAYERS, 169, (0.69,)),
    Published("table 4", "25, 50, 75, 100 % of stage 1", LLAMA_LAYERS, 169, (0.90, 0.93)),
    Published("tables 13-14", "one architecture", LLAMA_LAYERS, 169, (0.90,)),
    Published("tables 13-14", "across architectures", LLAMA_LAYERS, 169, (0.70,)),
    Published("figure 3", "LIMO against s1.1 (Qwen2.5-7B-Instruct)", QWEN_LAYERS, 148, (0.86,)),
)
DROPPED_TYPES = (("all seven types alike", 7), ("q, k, v, o", 4), ("q, k, o", 3), ("q, k", 2))


def law_when_dropping(n: int, k: int, types: int) -> OverlapLaw:
    """Overlap of two sets that drop their ``n - k`` layers at random among ``types`` of the seven types, no others."""
    candidates = (n - 1) // 7 * types
    kept = np.array([candidates - (n - k), n - candidates])
    return stratified_law(np.array([candidates, n - candidates]), kept, kept)


def published_page() -> str:
    """The whole page, from the library alone."""
    parts = [
        "# What the published overlaps mean",
        "Written by `make calibrate`. The ILA paper (arXiv 2410.17875) reports Jaccard indices of the 75 % most "
        "important "
        "layers: 169 of 225 (LLAMA 2-7B, Mistral-7B: 32 blocks x 7 modules and the output head) or 148 of 197 "
        "(Qwen2.5-7B). "
        "Two sets that hold three quarters of everything overlap a great deal by chance. This page puts each figure "
        "beside "
        "its chance level. The figures are taken from reviews of the paper, since its tables could not all be read.",
        "## Against sets drawn uniformly",
        _uniform_table().markdown(),
        "kappa is Kuncheva's index: 0 at chance, 1 for equal sets. It is the same for the dropped quarter as for the "
        "kept "
        "three quarters, whose Jaccard index looks much higher: a reader who is shown the dropped layers sees less "
        "agreement "
        "in the same data. z counts standard deviations of the uniform law. No p-value is given: that two rankings "
        "of one "
        "pretrained model agree beyond chance is not in doubt, and a small p says nothing about how much.",
        "## What module types alone can do",
        _types_table().markdown(),
        "Every row is a constructed case, not a claim about the paper: each run drops its quarter at random among the "
        "modules of the named types and never touches the others, so that no knowledge of single layers and no depth "
        "enters. If all dropped layers were q and k projections, chance would reach .92, as much as the paper's seeds "
        "agree. Each reported figure, corrected for the chance level of each case (1: equal sets, 0: types alone "
        "explain "
        "it, below 0: it agrees less than types alone would):",
        _kappas_by_type_table().markdown(),
        "## What cannot be known from the published figures",
        "- *How the dropped layers spread over types.* The type-stratified chance level may lie anywhere from .60 to "
        "above "
        ".9, and this decides whether .90 is much or nothing.\n"
        "- *The noise ceiling of each comparison.* Tables 3 (seeds, .91-.92) and 2 (data sets, .89-.93) lie close "
        "together, "
        "so that data sets seem to differ little more than seeds do; but there are no intervals and no numbers per "
        "run, "
        "three data sets and a few seeds do not support an equivalence claim, and whether the runs share "
        "initialisation or "
        "order is not said.\n"
        "- *Whether seeds, milestones and data sets are independent runs.* Milestones of table 4 are checkpoints of "
        "one run: "
        "agreement of 25 % with 100 % of the same run is partly agreement of a run with itself.\n"
        "- *Identity.* Whether the ranking knows single layers beyond a smooth pattern of type and depth needs the "
        "scores.\n"
        "- *Stability is not validity.* Size of the update is a stable ranking too. Nothing in an overlap says that "
        "the "
        "layers matter.\n"
        "- *Table 9* (LoRA against full fine-tuning), table 8 and table 12: their numbers could not be found.\n"
        "- *Across architectures* the .70 stands for about 12 layers above chance when both have 225 layers; how "
        "layers were "
        "matched between models is not known to us.",
        "## How to report instead",
        "kappa over all k with its interval, the noise ceiling from seeds on disjoint halves, the ratio of between "
        "to within "
        "with a lower bound, the agreement of runs on single layers, and the share of type and depth: "
        "`layersig.analysis.agreement`, `.sharing`, "
        "`.identity` and `.components`. Which test holds under dependence over depth: "
        "[which-test-holds](which-test-holds.md).",
    ]
    return "\n\n".join(parts) + "\n"


def _uniform_table() -> Table:
    rows = []
    for item in OVERLAPS:
        law = uniform_law(item.n, item.k, item.k)
        dropped = item.n - item.k
        shared = [overlap_of_jaccard(j, item.k, item.k) for j in item.jaccard]
        low, high = law.jaccard_range()
        rows.append(
            (
                item.source,
                item.compared,
                _span(item.jaccard, ".2f"),
                f"{law.jaccard_mean:.3f} ({low:.3f}-{high:.3f})",
                f"{_span(shared, '.1f')} of {item.k}",
                _span([law.kappa(x) for x in shared], ".2f"),
                _span([(x - law.mean) / law.sd for x in shared], ".1f"),
                f"{_span([x / (2 * dropped - x) for x in _dropped_overlap(item, shared)], '.2f')}",
            )
        )
    header = (
        "source",
        "compared",
        "reported J",
        "chance J (95 % range)",
        "shared layers",
        "kappa",
        "z",
        "J of the dropped quarter",
    )
    return Table("published", "", header, tuple(rows))


def _dropped_overlap(item: Published, shared: list[float]) -> list[float]:
    """Layers that both runs drop, from those that both keep."""
    return [item.n - 2 * item.k + x for x in shared]


def _types_table() -> Table:
    rows = []
    for label, types in DROPPED_TYPES:
        laws = [law_when_dropping(LLAMA_LAYERS, 169, types), law_when_dropping(QWEN_LAYERS, 148, types)]
        ranges = [law.jaccard_range() for law in laws]
        chance = [
            f"{law.jaccard_mean:.3f} ({low:.3f}-{high:.3f})" for law, (low, high) in zip(laws, ranges, strict=True)
        ]
        rows.append((label, *chance))
    header = ("dropped among", "chance J (95 % range), 169 of 225", "chance J (95 % range), 148 of 197")
    return Table("types", "", header, tuple(rows))


def _kappas_by_type_table() -> Table:
    rows = []
    for item in OVERLAPS:
        shared = [overlap_of_jaccard(j, item.k, item.k) for j in item.jaccard]
        laws = [law_when_dropping(item.n, item.k, types) for _, types in DROPPED_TYPES]
        kappas = [_span([law.kappa(x) for x in shared], ".2f", " to ") for law in laws]
        rows.append((item.source, item.compared, _span(item.jaccard, ".2f"), *kappas))
    header = ("source", "compared", "reported J", *(f"kappa, {label}" for label, _ in DROPPED_TYPES))
    return Table("kappas", "", header, tuple(rows))


def _span(values: tuple[float, ...] | list[float], form: str, to: str = "-") -> str:
    return to.join(f"{value:{form}}" for value in values)
