"""Colours, once: each has a light and a dark tone. A chart is drawn in the light tones and recoloured by CSS.

The categorical colours can be told apart with the common colour vision deficiencies (Okabe and Ito 2008, darkened for
contrast on white); the ramp runs in lightness, so that it survives greyscale printing.
"""

from __future__ import annotations

TONES = {
    "ink": ("#1c2430", "#e8edf4"),
    "muted": ("#5b6676", "#9fabbb"),
    "grid": ("#dfe4ea", "#303a48"),
    "band": ("#c3cbd6", "#46536a"),
    "paper": ("#f8fafc", "#171e27"),
    "on-strong": ("#fdfeff", "#0c141e"),
    "series-0": ("#0b62a8", "#5fb0ff"),
    "series-1": ("#c4501b", "#ff9a5c"),
    "series-2": ("#007a5e", "#3ecfa4"),
    "series-3": ("#93418f", "#e08be0"),
    "series-4": ("#8a6d00", "#e6c247"),
    "series-5": ("#2b93c9", "#9bdcff"),
    "series-6": ("#7d4e24", "#d3a47a"),
    "series-7": ("#64748b", "#b4c0cf"),
    "ramp-0": ("#edf3f6", "#18222e"),
    "ramp-1": ("#d9e8ef", "#1a2d3f"),
    "ramp-2": ("#c0dbe7", "#1c3a52"),
    "ramp-3": ("#a2cbdd", "#1e4967"),
    "ramp-4": ("#7fb7d1", "#21597e"),
    "ramp-5": ("#599fc3", "#276d96"),
    "ramp-6": ("#3a84b1", "#3486ac"),
    "ramp-7": ("#27689a", "#4ea3bf"),
    "ramp-8": ("#1b4d7f", "#7cc3d0"),
    "ramp-9": ("#123360", "#c3e8e2"),
}

INK, MUTED, GRID, BAND, PAPER, ON_STRONG = (
    TONES[name][0] for name in ("ink", "muted", "grid", "band", "paper", "on-strong")
)
SERIES = tuple(light for name, (light, _) in TONES.items() if name.startswith("series-"))
RAMP = tuple(light for name, (light, _) in TONES.items() if name.startswith("ramp-"))


def variables(tone: int) -> str:
    """CSS declarations of every colour; `tone` 0 is light, 1 is dark."""
    return "".join(f"--{name}:{tones[tone]};" for name, tones in TONES.items())


def recolouring() -> str:
    """CSS rules that turn the light tones of an inline drawing into variables."""
    return "".join(
        f'svg [fill="{light}"]{{fill:var(--{name})}}svg [stroke="{light}"]{{stroke:var(--{name})}}'
        for name, (light, _) in TONES.items()
    )


def dark_rules() -> str:
    """CSS rules for a drawing in a file of its own: light everywhere, dark where the viewer asks for it."""
    rules = "".join(
        f'[fill="{light}"]{{fill:{dark}}}[stroke="{light}"]{{stroke:{dark}}}' for light, dark in TONES.values()
    )
    light, dark = TONES["paper"]
    return f"svg{{background:{light}}}@media screen and (prefers-color-scheme:dark){{svg{{background:{dark}}}{rules}}}"
