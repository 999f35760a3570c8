"""The answer in some sentences: which layers matter, and what tuning only those did."""

from __future__ import annotations

from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING
from layersig.analysis.sentences import status_of
from layersig.analysis.sharing import MIN_SEEDS_FOR_SHARING
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, RESULTS, AssayRow, ShareRow
from layersig.findings.rows.claims import CLAIMS
from layersig.findings.rows.layers import (
    CONCENTRATION,
    RANKED_LAYERS,
    RANKINGS,
    SELECTIONS,
    UNITS,
    ConcentrationRow,
    RankingRow,
)
from layersig.findings.rows.sweeps import SWEEPS
from layersig.report.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Inline,
    Paragraph,
    Section,
    Strong,
    Text,
    Tile,
    Tiles,
)
from layersig.report.material import Material, place_of, rows_of
from layersig.report.numbers import (
    count,
    difference_of,
    fixed,
    interval_of,
    level,
    percent,
    plural,
    unit_of,
)
from layersig.report.topic import Topic
from layersig.topics.ceilings.rows import CEILINGS

_NAMED_TYPES = 2


def section(material: Material) -> Section | None:
    """None when there is neither a ranking nor a comparison."""
    blocks: list[Block] = []
    if tiles := _tiles(material):
        blocks.append(Tiles(tiles))
    if which := [which_layers(material, row) for row in material.lead if material.findings.sizes]:
        blocks += [Heading("Which layers matter"), Bullets(tuple(which))]
    if effects := _effects(material):
        blocks += [Heading("What tuning only those did"), Bullets(effects)]
    if blocks:
        blocks.append(_reach(material))
    return Section("answer", "The answer", tuple(blocks)) if blocks else None


def _tiles(material: Material) -> tuple[Tile, ...]:
    """The first primary arm on the first data set, in figures."""
    order = material.leading_arms
    shown = [row for row in material.findings[SELECTIONS] if row.arm in order]
    for row in sorted(shown, key=lambda row: order.index(row.arm)):
        trained_on = (result.data for result in material.findings[RESULTS] if result.arm == row.arm)
        data = row.data if row.data is not None else next(trained_on, None)
        measure = material.own_measure(data)
        if measure is None:
            continue
        which = f"{row.arm} on {place_of(data)}"
        where = f"{which}, {measure.task}"
        tiles = [
            Tile(
                "layers tuned",
                f"{count(row.layers)} of {row.of}",
                f"{which}, {percent(row.share_of_parameters)} of the weights",
            )
        ]
        kept = material.share(measure, row.arm, data)
        if kept is not None and why_no_share(material, kept, data) is None:
            note = f"exploratory, {_kept(kept)}, n = {kept.n}, S = {kept.seeds}{_checkpoints(kept.scope)}; {where}"
            tiles.append(Tile("of the gain of all layers kept", percent(kept.share), note))
        for role, label in (
            ("baseline", material.findings.baseline),
            ("random control", "matched random"),
            ("rule control", "the rule type x depth"),
        ):
            if (found := material.comparison(measure, row.arm, data, role)) is not None:
                tiles.append(
                    Tile(
                        f"{unit_of(measure)} against {label}",
                        difference_of(measure, found.estimate),
                        f"{status_of(found.declared).lower()}, {level(found.level)} "
                        f"{interval_of(measure, found.low, found.high)}, n = {found.n}, S = {found.seeds}"
                        f"{_checkpoints(found.scope)}, {'higher' if measure.higher_is_better else 'lower'} is better",
                    )
                )
        return tuple(tiles)
    return ()


def which_layers(material: Material, ranking: RankingRow) -> Text:
    """What the top of a ranking holds, where its seeds agree above chance; else why no layer is named."""
    k = material.findings.sizes[0]
    n = len(material.findings[UNITS])
    if (why := _why_unnamed(material, ranking, k, n)) is not None:
        runs = f" ({plural(ranking.runs, 'seed')})" if ranking.data is not None else ""
        return (
            "By ",
            Code(ranking.scorer),
            f" on {place_of(ranking.data, ranking.checkpoint)}{runs} no layer is named",
            *why,
        )
    rows = [row for row in rows_of(ranking, material.findings[CONCENTRATION]) if row.k == k]
    types = sorted((row for row in rows if row.by == "kind" and row.layers > 1), key=lambda row: -row.share)
    depths = [row for row in rows if row.by == "depth"]
    text: list[Inline] = [
        "By ",
        Code(ranking.scorer),
        f" on {place_of(ranking.data, ranking.checkpoint)} "
        f"({plural(ranking.runs, 'seed')}), the top {k} of {n} {material.findings.unit}s "
        f"({percent(k / n)}) hold ",
    ]
    if len(types) > 1:
        for i, row in enumerate(types[:_NAMED_TYPES]):
            text += [" and " if i else "", _held(row), " ", Code(row.group)]
        text += [", but only ", _held(types[-1]), " ", Code(types[-1].group)]
        text += [f"; chance would hold {percent(rows[0].expected)} of each type. By depth: "]
    text.append("; ".join(f"{row.group} {_held(row)}" for row in depths))
    top = rows_of(ranking, material.findings[RANKED_LAYERS])
    text.append(". First come ")
    for i, layer in enumerate(sorted(top, key=lambda row: row.rank)[:3]):
        text += [", " if i else "", f"{layer.number} ", Code(layer.layer)]
    tied = (
        f", where {ranking.ties} of {n} scores are tied: among equals the model's order decides" if ranking.ties else ""
    )
    text.append(f"{tied}.")
    return tuple(text)


def _why_unnamed(material: Material, ranking: RankingRow, k: int, n: int) -> Text | None:
    """Why the order of a ranking is no finding, and what would tell; None where it is one."""
    if ranking.control:
        return (": this scorer looks neither at the model nor at data.",)
    ceiling = next((row for row in rows_of(ranking, material.findings[CEILINGS]) if row.k == k), None)
    tied = f" {ranking.ties} of {n} scores are tied." if ranking.ties else ""
    if ranking.ties == n:
        return (f": all {n} scores are tied.",)
    if ceiling is None or not ceiling.seeds or ceiling.above_chance:
        return None
    if ceiling.above_chance is False:
        return (f". {ceiling.sentence}{tied}",)
    agreement = "" if ceiling.kappa is None else f" (kappa of the two seeds is {fixed(ceiling.kappa, 2)})"
    return (
        f": the noise of this ranking is unknown{agreement}. Whether another training would put the same layers first "
        f"shows from {MIN_SEEDS_FOR_CEILING} seeds on; with ",
        Code(f"seeds = [{', '.join(map(str, range(MIN_SEEDS_FOR_SHARING)))}]"),
        f" it can also be tested whether data sets share layers.{tied}",
    )


def _held(row: ConcentrationRow) -> str:
    spread = ""
    if row.selected_low != row.selected_high:
        spread = f", range over seeds {row.selected_low}\u2013{row.selected_high}"
    return f"{count(round(row.selected, 1))} of {row.layers} ({percent(row.share)}{spread})"


def _effects(material: Material) -> tuple[Text, ...]:
    items: list[Text] = []
    for place in dict.fromkeys(row.data for row in material.findings[RESULTS] if row.data is not None):
        own = material.own_measure(place)
        if own is not None and (assay := material.assay(own, place)) is not None:
            items.append((assay.sentence,))
    for arm in material.leading_arms:
        data_sets = dict.fromkeys(row.data for row in material.findings[RESULTS] if row.arm == arm)
        for data in data_sets:
            if (measure := material.own_measure(data)) is None:
                continue
            text: list[Inline] = []
            kept = material.share(measure, arm, data)
            if kept is not None:
                text.append(_share(material, kept, data))
            for role in ("baseline", "random control", "rule control"):
                found = material.comparison(measure, arm, data, role)
                if found is not None and found.sentence is not None:
                    text += [" " if text else "", found.sentence]
            if text:
                items.append(tuple(text))
    return tuple(items)


def _share(material: Material, kept: ShareRow, data: str | None) -> Inline:
    if (why := why_no_share(material, kept, data)) is not None:
        return f"No share of the gain of all layers is stated for {kept.arm} on {data}: {why}."
    share = f"{kept.arm} on {data} keeps {percent(kept.share)} of the gain of all layers ({_kept(kept)})"
    return Strong(f"Exploratory: {share}{_checkpoints(kept.scope)}.")


def why_no_share(material: Material, kept: ShareRow, data: str | None) -> str | None:
    """Why a share is no figure to remember: no interval, nothing kept, or all layers are not shown to gain anything."""
    if kept.no_interval is not None:
        return kept.no_interval
    if kept.shape != "interval":
        return _kept(kept)
    if kept.high is not None and kept.high < 0:
        return f"on {kept.task} the arm is worse than the untouched model, so that it keeps nothing"
    assay = next((row for row in material.findings[ASSAYS] if _same_task(row, kept) and row.data == data), None)
    if assay is None or assay.low <= assay.margin:
        return f"on {kept.task} all layers are not shown to gain more than the margin, so that the task cannot tell"
    return None


def _same_task(assay: AssayRow, kept: ShareRow) -> bool:
    return (assay.task, assay.metric) == (kept.task, kept.metric)


def _checkpoints(scope: str) -> str:
    """What one run per arm cannot reach beyond."""
    return ", over the items of these checkpoints" if scope == "checkpoints" else ""


def _kept(row: ShareRow) -> str:
    if row.shape == "interval":
        ends = f"{percent(row.low)} to {percent(row.high)}".replace(" %", "", 1)
        return f"{level(row.level)} interval {ends}"
    if row.shape == "two rays":
        return f"{level(row.level)} set unbounded: below {fixed(row.low, 2)} or above {fixed(row.high, 2)}"
    return f"the {level(row.level)} set excludes no share"


def _reach(material: Material) -> Paragraph:
    rows = material.findings[COMPARISONS]
    seeds = max((row.seeds for row in rows), default=max((row.runs for row in material.lead), default=0))
    if seeds <= 1:
        scope = (
            "With one training run per arm these are statements about these checkpoints. Whether the method is better "
            "is not answered: that takes several seeds."
        )
    else:
        scope = f"Statements about a method rest on {seeds} training runs per arm, paired by seed and by item."
    declared = sum(row.declared for row in rows)
    tests = declared + sum(claim.declared for claim in material.findings[CLAIMS])
    tests += sum(curve.declared for curve in material.findings[SWEEPS])
    if rows:
        together = f" and corrected in a family of {tests} tests" if tests > 1 else ""
        scope += (
            f" {plural(declared, 'comparison')} {'was' if declared == 1 else 'were'} declared before the outcome was "
            f"measured{together}; everything else is exploratory."
        )
    if others := material.findings.other_declarations:
        scope += (
            f" {plural(others, 'other declaration')} for this model {'were' if others != 1 else 'was'} on record by "
            "then: what could have been declared instead."
        )
    data = dict.fromkeys(row.data for row in material.findings[RANKINGS] if row.data is not None)
    where = (
        f" They hold for {material.findings.model}" + (f" on {', '.join(data)}" if data else "") + " and no further."
    )
    return Paragraph((scope, where))


TOPIC = Topic("answer", section=section, place=20)
