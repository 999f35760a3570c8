"""The cells of an arm in a run folder: where it keeps an adapter or a model."""

from __future__ import annotations

from pathlib import Path

from layersig.errors import UserError

ADAPTERS, MODELS = "adapters", "models"


def cells_of(run: Path, arm: str, data: str | None = None, seed: int | None = None) -> tuple[Path, ...]:
    """`ARM/DATA/seed-K` of every cell of an arm on one data set, by seed.

    Args:
        run: The run folder.
        arm: The arm.
        data: Its data set; required where there are several.
        seed: Only this seed.

    Raises:
        UserError: There is none, or the data set is left open.
    """
    found = {path.relative_to(run / kind) for kind in (ADAPTERS, MODELS) for path in (run / kind).glob("*/*/seed-*")}
    of_arm = sorted((path for path in found if path.parts[0] == arm), key=lambda path: (path.parts[1], seed_of(path)))
    if not of_arm:
        arms = ", ".join(sorted({path.parts[0] for path in found})) or "none yet"
        raise UserError(f"{run} has no model or adapter of an arm {arm!r}; its arms are: {arms}")
    fitting = [path for path in of_arm if data in (None, path.parts[1]) and seed in (None, seed_of(path))]
    if len({path.parts[1] for path in fitting}) != 1:
        raise _ambiguous(fitting, of_arm)
    return tuple(fitting)


def one_cell(run: Path, arm: str, data: str | None = None, seed: int | None = None) -> Path:
    """The one cell that fits.

    Raises:
        UserError: None or several fit.
    """
    fitting = cells_of(run, arm, data, seed)
    if len(fitting) != 1:
        raise _ambiguous(fitting, cells_of(run, arm, data))
    return fitting[0]


def seed_of(cell: Path) -> int:
    """The seed of a cell."""
    return int(cell.parts[2].removeprefix("seed-"))


def _ambiguous(fitting: list[Path] | tuple[Path, ...], every: list[Path] | tuple[Path, ...]) -> UserError:
    shown = ", ".join(f"--data {path.parts[1]} --seed {seed_of(path)}" for path in every)
    found = f"has {len(fitting)} trainings that fit" if fitting else "has no training that fits"
    return UserError(f"{every[0].parts[0]} {found}; choose one of: {shown}")
