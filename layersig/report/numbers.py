"""Numbers as a reader wants them: few digits, a true minus sign, units."""

from __future__ import annotations

from collections.abc import Callable

from layersig.analysis.fieller import SetShape
from layersig.findings.outcomes import Measure
from layersig.judging.records import SCORE

MINUS = "\u2212"
_LARGE = 100.0
_UNBOUNDED = {True: "\u221e", False: f"{MINUS}\u221e"}


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, no exponent where it can be avoided; a dash for nothing."""
    if value is None:
        return "\u2013"
    size = abs(value)
    if size >= 10**digits - 0.5:
        text = f"{value:,.0f}"
    elif size and size < 1e-4:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:#.{digits}g}".rstrip(".") if size else "0"
    return text.replace("-", MINUS)


def fixed(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A number with a fixed count of decimals."""
    if value is None:
        return "\u2013"
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    return text.replace("-", MINUS)


def percent(share: float | None, decimals: int = 0) -> str:
    """A share in percent."""
    return "\u2013" if share is None else f"{fixed(100 * share, decimals)} %"


def p_value(p: float | None) -> str:
    """A p-value; below 0.001 only that."""
    if p is None:
        return "\u2013"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def level(value: float) -> str:
    """A level of confidence, such as `95 %`."""
    return f"{100 * value:.4g} %"


def value_of(measure: Measure, value: float | None) -> str:
    """A result in the unit of its metric: percent of right answers, or the metric itself."""
    return percent(value, 1) if measure.is_share else fixed(value, 4)


def difference_of(measure: Measure, value: float | None) -> str:
    """A difference in the unit of its metric: points for shares of right answers."""
    if value is not None and abs(value) > _LARGE:
        return f"{value:+.1e}".replace("-", MINUS)
    if measure.is_share and value is not None:
        return fixed(100 * value, 1, signed=True)
    return fixed(value, 4, signed=True)


def interval_of(measure: Measure, low: float | None, high: float | None) -> str:
    """An interval of differences."""
    if low is None and high is None:
        return "not estimable"
    return f"[{_end(measure, low, False)}, {_end(measure, high, True)}]"


def range_of(low: float | None, high: float | None, shown: Callable[[float], str]) -> str:
    """`[low, high]`, its ends as `shown` writes them; a dash where one is missing."""
    return "\u2013" if low is None or high is None else f"[{shown(low)}, {shown(high)}]"


def set_of(shape: str | None, low: float | None, high: float | None, shown: Callable[[float], str]) -> str:
    """A Fieller set by its `SetShape`; a dash where there is none."""
    if shape == SetShape.EVERYTHING:
        return "excludes nothing"
    ends = range_of(low, high, shown)
    return f"outside {ends}" if shape == SetShape.TWO_RAYS else ends


def unit_of(measure: Measure) -> str:
    """The unit of differences."""
    if measure.is_share:
        return "points"
    return {"loss": "nats per token", "preference_loss": "nats per pair", SCORE: "grade points"}.get(
        measure.metric, measure.metric
    )


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return "\u2013"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: float | None) -> str:
    """A count with thousands apart."""
    if value is None:
        return "\u2013"
    return f"{value:,.0f}".replace(",", "\u202f") if value == int(value) else f"{value:,.1f}".replace(",", "\u202f")


def size(value: float | None) -> str:
    """Bytes in binary units."""
    if value is None:
        return "\u2013"
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def plural(amount: float, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count(amount)} {noun}{'' if amount == 1 else 's'}"


def _end(measure: Measure, value: float | None, upper: bool) -> str:
    return _UNBOUNDED[upper] if value is None else difference_of(measure, value)
