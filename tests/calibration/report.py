"""What a simulated study returns, and how it becomes Markdown."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a study; ``name`` is how a docs page asks for it."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{self.caption}\n\n{rows}" if self.caption else rows


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must lie in a range; ``low`` and ``high`` are shares."""

    claim: str
    worst: float
    low: float
    high: float

    @property
    def met(self) -> bool:
        return self.low <= self.worst <= self.high

    def row(self) -> tuple[str, ...]:
        wanted = f"at most {percent(self.high)}" if self.low == 0 else f"at least {percent(self.low)}"
        if self.low > 0 and self.high < 1:
            wanted = f"{percent(self.low)} to {percent(self.high)}"
        return self.claim, wanted, percent(self.worst), "met" if self.met else "**missed**"


@dataclass(frozen=True, slots=True)
class Study:
    """One simulated study."""

    title: str
    design: str
    tables: tuple[Table, ...]
    targets: tuple[Target, ...] = ()
    seconds: float = field(default=0.0)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def at_most(claim: str, rates: Sequence[float], bound: float) -> Target:
    return Target(claim, max(rates), 0.0, bound)


def at_least(claim: str, rates: Sequence[float], bound: float) -> Target:
    return Target(claim, min(rates), bound, 1.0)


def between(claim: str, rates: Sequence[float], low: float, high: float) -> Target:
    return Target(claim, max(rates, key=lambda rate: max(low - rate, rate - high)), low, high)


def calibration_page(studies: Sequence[Study], repetitions: int) -> str:
    """The page ``docs/calibration.md``."""
    targets = [target for study in studies for target in study.targets]
    missed = sum(not target.met for target in targets)
    summary = Table("targets", "", ("target", "wanted", "worst cell", ""), tuple(t.row() for t in targets))
    parts = [
        "# Calibration: how often the statistics err",
        "Written by `make calibrate` (`python -m tests.calibration`), which simulates experiments whose truth is "
        "known, in "
        "the shapes that studies of layers have, and counts. The seed is fixed, so that a repeat gives the same page.",
        f"Every rate rests on at least {repetitions:,} simulated experiments, so a rate of 5 % has a Monte Carlo "
        "standard "
        f"error of at most {100 * (0.05 * 0.95 / repetitions) ** 0.5:.1f} points. A target is judged by its worst "
        "cell.",
        f"## Targets: {len(targets) - missed} met, {missed} missed",
        summary.markdown(),
        *_study_parts(studies),
    ]
    return "\n\n".join(parts) + "\n"


def _study_parts(studies: Sequence[Study]) -> Iterator[str]:
    for study in studies:
        yield f"## {study.title}"
        yield study.design
        for table in study.tables:
            yield table.markdown()


def fill_tables(page: str, studies: Sequence[Study]) -> str:
    """Put tables into a page between ``<!-- table NAME -->`` and ``<!-- end -->``.

    Raises:
        KeyError: The page asks for a table that no study has.
    """
    tables = {table.name: table.markdown() for study in studies for table in study.tables}
    return re.sub(
        r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{tables[match[2]]}\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


def write_whole(path: Path, text: str) -> None:
    temporary = path.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
