"""Pictures of a sweep: what colours and lines mean, what is joined, what bars reach, and that nothing is clipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from matplotlib.figure import Figure

from battsim.output import sweep_pictures
from battsim.output.pictures import DPI
from battsim.output.sweep_pictures import Curve, looks_of


@dataclass(frozen=True)
class Effect:
    at: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


TWO = Effect(np.array([0.0, 1.0]), np.array([1.0, 5.0]), np.array([2.0, 2.0]))
LONG = "baselines.p2d_bruggeman.losses.electrolyte_concentration.difference_V"


def curve(**design: float | str) -> Curve:
    label = ", ".join(map(str, design.values()))
    return Curve(label, np.array([1.0, 2.0]), np.array([2.0, 1.0]), design=design)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that are drawn from here on."""
    drawn: list[Figure] = []
    png_of = sweep_pictures.png_of

    def kept(figure: Figure) -> bytes:
        drawn.append(figure)
        return png_of(figure)

    monkeypatch.setattr(sweep_pictures, "png_of", kept)
    return drawn


def test_colours_are_of_the_first_parameter_and_lines_of_the_second() -> None:
    looks = looks_of([curve(t=t, p=p) for t in (96, 24, 48) for p in (0.4, 0.5, 0.6)])
    assert len(set(looks.each)) == 9
    assert [len({colour for colour, _ in looks.each[k : k + 3]}) for k in (0, 3, 6)] == [1, 1, 1]
    assert [style for _, style in looks.each[:3]] == ["-", "--", ":"]
    assert [text for text, _ in looks.legend] == ["t", "24", "48", "96", "p", "0.4", "0.5", "0.6"]
    assert dict(looks.legend)["96"] == looks.each[0]


def test_a_legend_of_many_names_a_few_and_says_what_it_leaves_out() -> None:
    looks = looks_of([curve(t=t, m=f"m{m}", p=p) for t in range(10) for m in range(5) for p in (0.4, 0.5)])
    texts = [text for text, _ in looks.legend]
    assert texts == ["t", "0", "2", "4", "7", "9", "(some of 10 values)", "curves alike differ in m, p"]
    assert len(set(looks.each)) == 10


def test_few_curves_have_a_colour_each_where_two_parameters_do_not_tell_them_apart() -> None:
    curves = [curve(a=a, b=b, c=c) for a in (1, 2) for b in (1, 2) for c in (1, 2)]
    looks = looks_of(curves)
    assert len(set(looks.each)) == 8
    assert [text for text, _ in looks.legend] == [each.label for each in curves]
    assert looks_of([curve(a=1)]).legend == ()
    assert looks_of([]).each == ()


def test_bars_do_not_go_below_0_where_a_number_cannot(figures: list[Figure]) -> None:
    assert sweep_pictures.bars(TWO.mean, TWO.spread, signed=False).tolist() == [[1.0, 2.0], [2.0, 2.0]]
    assert sweep_pictures.bars(TWO.mean, TWO.spread, signed=True).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    sweep_pictures.main_effects({"a": TWO}, "energy_Wh_m2", {}, {"a": "a"})
    sweep_pictures.main_effects({"a": TWO}, "heat_Wh_m2", {}, {"a": "a"})
    lowest = [min(line.get_segments()[0][:, 1]) for f in figures for line in f.axes[0].collections]  # type: ignore[attr-defined]
    assert lowest == [0.0, -1.0]


def test_categories_and_a_single_best_are_not_joined(figures: list[Figure]) -> None:
    names = {"a": "porosity", "b": "material"}
    sweep_pictures.main_effects({"a": TWO, "b": TWO}, "energy_Wh_m2", {"b": ["nmc", "lfp"]}, names)
    joined = {axes.get_xlabel(): axes.lines[0].get_linestyle() for axes in figures[-1].axes}
    assert joined == {"porosity": "-", "material": "None"}
    assert figures[-1].axes[0].get_ylabel() == "energy (Wh/m²)"
    assert [text.get_text() for text in figures[-1].axes[1].get_xticklabels()] == ["nmc", "lfp"]
    x = np.arange(3.0)
    sweep_pictures.front(x, x, x == 2.0, ("energy_Wh_m2", "-heat_Wh_m2"))
    (axes,) = figures[-1].axes
    assert axes.lines[-1].get_linestyle() == "None"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("energy (Wh/m²)", "heat (Wh/m²) (small is good)")
    sweep_pictures.front(x, -x, x > 0.0, ("energy_Wh_m2", "heat_Wh_m2"))
    assert figures[-1].axes[0].lines[-1].get_linestyle() == "-"


def test_nothing_is_clipped(figures: list[Figure]) -> None:
    many = [curve(thickness=float(t), volume_fraction_of_a_long_name=f"{p}") for t in range(25) for p in range(4)]
    words, shares = {"a": 8 * "words ", "b": "b"}, {"a": 0.5, "b": 0.5}
    levels = {"b": ["a material that has a long name, 1", "a material that has a long name, 2"]}
    sweep_pictures.ragone(many)
    sweep_pictures.rated_capacity(many)
    sweep_pictures.main_effects({"a": TWO, "b": TWO}, LONG, levels, words)
    sweep_pictures.front(np.arange(3.0), np.arange(3.0), np.array([False, False, True]), (LONG, f"-{LONG}"))
    sweep_pictures.sensitivity(shares, shares, 0.9, LONG, words)
    assert len(figures) == 5
    for figure in figures:
        figure.set_dpi(DPI)  # as it is saved, as the width of text depends on it
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0) >= 0.0
        assert box.x1 <= width
        assert box.y1 <= height
