from __future__ import annotations

from itertools import chain

import pytest

from layersig.report.palette import TONES, dark_rules, recolouring


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("tone", [0, 1])
def test_text_and_lines_stand_out_from_the_page(tone: int) -> None:
    paper = TONES["paper"][tone]
    assert contrast(TONES["ink"][tone], paper) >= 7
    assert contrast(TONES["muted"][tone], paper) >= 4.5
    for name in TONES:
        if name.startswith("series-"):
            assert contrast(TONES[name][tone], paper) >= 3, name


@pytest.mark.parametrize("tone", [0, 1])
def test_the_ramp_runs_in_lightness(tone: int) -> None:
    steps = [luminance(TONES[f"ramp-{i}"][tone]) for i in range(10)]
    assert steps == sorted(steps, reverse=tone == 0)


def test_every_light_tone_is_recoloured_once() -> None:
    light = [tones[0] for tones in TONES.values()]
    assert len(set(light)) == len(light)
    for colour, name in zip(light, TONES, strict=True):
        assert recolouring().count(f'[fill="{colour}"]{{fill:var(--{name})}}') == 1
    assert all(colour in dark_rules() for colour in chain.from_iterable(TONES.values()))
