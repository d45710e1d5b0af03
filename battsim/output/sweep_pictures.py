"""Pictures of a sweep: Ragone, capacity over C-rate, main effects, sensitivity, the front of two objectives."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from battsim.output.labels import can_be_negative, label_of, shown
from battsim.output.pictures import DPI, VOLTAGE, WIDTH, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Floats = NDArray[np.float64]

BLUE, GREY, LIGHT = "#2a6f97", "#b8b8c8", "#89c2d9"
MAP = "viridis"
MOST_NAMED = 8
"""Of more values than this a legend names a few."""
STYLES = ("-", "--", ":", "-.")
LINE = 26
"""Characters after which a label is broken."""
MOST_ACROSS = 3
"""So many panels stand side by side."""
MOST_TICKS = 8
"""So many values that are no numbers are named under an axis."""

Value = float | int | str | None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Numbers of members that differ in one thing alone, in its order.

    Attributes
    ----------
    x, y
        Shape (n,).
    spread_x, spread_y
        Standard deviation between replicates, shape (n,).
    design
        What all members of the curve share, by its name, what matters most first.
    """

    label: str
    x: Floats
    y: Floats
    spread_x: Floats | None = None
    spread_y: Floats | None = None
    design: Mapping[str, Value] = field(default_factory=dict)


class Effect(Protocol):
    """Mean and standard deviation of a number at values of a parameter, each shape (n,)."""

    @property
    def at(self) -> Floats: ...  # noqa: D102 (the class says it)
    @property
    def mean(self) -> Floats: ...  # noqa: D102
    @property
    def spread(self) -> Floats: ...  # noqa: D102


def ragone(curves: Sequence[Curve]) -> bytes:
    """PNG of energy over mean power, a curve for each design."""
    from matplotlib.ticker import LogFormatter

    with figure_of((WIDTH, 4.0)) as figure:
        axes = figure.subplots()
        axes.set(xlabel="mean power (W/m²)", ylabel="energy (Wh/m²)", xscale="log", yscale="log")
        _draw_curves(figure, axes, curves)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter())
        return png_of(figure)


def rated_capacity(curves: Sequence[Curve]) -> bytes:
    """PNG of capacity over C-rate, a curve for each design."""
    with figure_of((WIDTH, 4.0)) as figure:
        axes = figure.subplots()
        axes.set(xlabel="C-rate (1/h)", ylabel="capacity (mAh/cm²)", xscale="log")
        _draw_curves(figure, axes, [_in_mAh_cm2(curve) for curve in curves])
        axes.set_ylim(0.0, None)
        rates = np.unique(np.concatenate([curve.x for curve in curves]))
        if rates.size <= MOST_NAMED:
            axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
            axes.minorticks_off()
        return png_of(figure)


def main_effects(
    effects: Mapping[str, Effect], objective: str, levels: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> bytes:
    """PNG of the mean of a number over each parameter, with the standard deviation over all others.

    Values that are no numbers are not joined. No bar goes below 0 where the number cannot.

    Parameters
    ----------
    effects
        By parameter.
    objective
        The number, as it is called in the table.
    levels
        Names of the values of parameters that are no numbers.
    names
        What the parameters are called.
    """
    longest = max((len(_short(level)) for path in levels.keys() & effects.keys() for level in levels[path]), default=0)
    with panels(len(effects), 2.4 + 0.04 * longest, _broken(label_of(objective), LINE - 6)) as (figure, grid):
        for axes, (path, effect) in zip(grid, effects.items(), strict=True):
            axes.errorbar(
                effect.at,
                effect.mean,
                yerr=_bars_of(effect.mean, effect.spread, signed=can_be_negative(objective)),
                color=VOLTAGE,
                marker="o",
                ls="none" if path in levels else "-",
                ms=4,
                lw=1.4,
                capsize=3,
                ecolor=GREY,
            )
            axes.set_xlabel(_broken(names[path]))
            if path in levels:
                _name_levels(axes, effect.at, levels[path])
        return png_of(figure)


@contextmanager
def panels(count: int, height: float, label: str) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure, and panels for one number over each of `count` others, its label at the left of each row.

    `height` is that of a row, inch.
    """
    across = min(count, MOST_ACROSS)
    down = -(-count // across)
    with figure_of((WIDTH * across / MOST_ACROSS + 0.6, height * down)) as figure:
        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes in grid.flat[count:]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(label)
        yield figure, list(grid.flat[:count])


def sensitivity(
    first_order: Mapping[str, float], total: Mapping[str, float], r2: float, objective: str, names: Mapping[str, str]
) -> bytes:
    """PNG of the Sobol indices of a number, first order and total, with the share that the surrogate predicts."""
    with figure_of((5.4, 0.9 + 0.5 * len(total))) as figure:
        axes = figure.subplots()
        order = sorted(total, key=lambda path: total[path])
        place = np.arange(len(order))
        axes.barh(place + 0.18, [total[path] for path in order], 0.34, color=LIGHT, label="with interactions")
        axes.barh(place - 0.18, [first_order[path] for path in order], 0.34, color=BLUE, label="by itself")
        axes.set_yticks(place, [_broken(names[path]) for path in order])
        axes.set(
            xlabel=_broken(f"share of the variance of {label_of(objective)}", 2 * LINE),
            xlim=(0.0, max(1.0, *total.values())),
        )
        axes.legend(loc="lower right", title=f"surrogate predicts {100.0 * r2:.0f} %", title_fontsize=8.5)
        return png_of(figure)


def front(x: Floats, y: Floats, best: NDArray[np.bool_], names: tuple[str, str]) -> bytes:
    """PNG of members by two objectives, those joined that no other beats in both; a single one is the best in both.

    Parameters
    ----------
    x, y, best
        Shape (n_members,).
    names
        Of the objectives; one that is to be small begins with "-".
    """
    with figure_of((5.4, 4.0)) as figure:
        axes = figure.subplots()
        axes.plot(x[~best], y[~best], "o", ms=4, color=GREY, label="others")
        order = np.argsort(x[best])
        single = len(np.unique(np.column_stack([x[best], y[best]]), axis=0)) == 1
        style, label = ("D", "best in both") if single else ("o-", "beaten by none in both")
        axes.plot(x[best][order], y[best][order], style, ms=5, lw=1.2, color=VOLTAGE, label=label)
        axes.set(xlabel=_aim(names[0]), ylabel=_aim(names[1]))
        axes.margins(0.08)
        figure.legend(loc="outside upper left", ncols=2)
        return png_of(figure)


def bars(mean: Floats, spread: Floats, *, signed: bool) -> Floats:
    """Lengths of error bars below and above a mean, shape (2, n); unless signed, none goes below 0."""
    return np.stack([spread if signed else np.clip(spread, 0.0, np.maximum(mean, 0.0)), spread])


def _bars_of(mean: Floats, spread: Floats | None, *, signed: bool) -> Floats | None:
    """Those bars; None where nothing spreads."""
    return None if spread is None or not spread.any() else bars(mean, spread, signed=signed)


def _in_mAh_cm2(curve: Curve) -> Curve:
    return replace(curve, y=0.1 * curve.y, spread_y=None if curve.spread_y is None else 0.1 * curve.spread_y)


def _draw_curves(figure: Figure, axes: Axes, curves: Sequence[Curve]) -> None:
    """Curves with their bars, and a legend beside them that says what colours and lines mean."""
    looks = looks_of(curves)
    for curve, (colour, style) in zip(curves, looks.each, strict=True):
        x = _bars_of(curve.x, curve.spread_x, signed=False)
        y = _bars_of(curve.y, curve.spread_y, signed=False)
        axes.errorbar(
            curve.x, curve.y, xerr=x, yerr=y, marker="o", ls=style, ms=3.5, lw=1.3, elinewidth=0.8, capsize=2, c=colour
        )
    if looks.legend:
        lines = list(_legend_lines(looks.legend))
        figure.legend(handles=lines, loc="outside right upper", handlelength=2.2)


@dataclass(frozen=True, slots=True)
class Looks:
    """Colour (as #rrggbb) and line style of each curve, and texts of a legend with theirs, None for a heading."""

    each: tuple[tuple[str, str], ...]
    legend: tuple[tuple[str, tuple[str, str] | None], ...]


def looks_of(curves: Sequence[Curve]) -> Looks:
    """Colours by what matters most, line styles by what is next; few curves that this leaves alike have a colour each.

    Where there are more values than a legend can name, some of them are named, and it says of how many; where curves
    stay alike, it says by what they differ.
    """
    names = list(curves[0].design) if curves else []
    if len(curves) < 2 or not names:
        return Looks(((BLUE, "-"),) * len(curves), ())
    first = _levels(curves, names[0])
    second = _levels(curves, names[1]) if len(names) > 1 else []
    styled = 1 < len(second) <= len(STYLES)
    colours = dict(zip(first, _colours(len(first)), strict=True))
    styles = dict(zip(second, STYLES, strict=False)) if styled else {}
    each = tuple((colours[c.design[names[0]]], styles[c.design[names[1]]] if styled else "-") for c in curves)
    alike = len(set(each)) < len(curves)
    if len(curves) <= MOST_NAMED and (alike or len(names) > 2):
        own = tuple((colour, "-") for colour in _colours(len(curves)))
        return Looks(own, tuple((c.label, look) for c, look in zip(curves, own, strict=True)))
    legend: list[tuple[str, tuple[str, str] | None]] = [(names[0], None)]
    legend += [(shown(value), (colours[value], "-")) for value in _some(first)]
    if len(first) > MOST_NAMED:
        legend.append((f"(some of {len(first)} values)", None))
    if styled:
        legend += [(names[1], None), *((shown(value), ("#777777", styles[value])) for value in second)]
    rest = names[2:] if styled else names[1:]
    if alike and rest:
        legend.append((f"curves alike differ in {', '.join(rest)}", None))
    return Looks(each, tuple(legend))


def _legend_lines(legend: Sequence[tuple[str, tuple[str, str] | None]]) -> Iterator[Line2D]:
    from matplotlib.lines import Line2D

    for text, look in legend:
        if look is None:
            yield Line2D([], [], ls="none", label=_broken(text))
        else:
            yield Line2D([], [], color=look[0], ls=look[1], lw=1.6, label=_broken(text))


def _levels(curves: Sequence[Curve], name: str) -> list[Value]:
    """Values of a parameter: numbers by size, others in the order of their first."""
    found = list(dict.fromkeys(curve.design[name] for curve in curves))
    numbers = [value for value in found if isinstance(value, int | float)]
    return [*sorted(numbers)] if len(numbers) == len(found) else found


def _some(levels: Sequence[Value]) -> list[Value]:
    """All of a few, or some of many with the first and the last."""
    if len(levels) <= MOST_NAMED:
        return list(levels)
    return [levels[k] for k in np.unique(np.linspace(0, len(levels) - 1, 5).round().astype(int))]


def _colours(count: int) -> list[str]:
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in mpl.colormaps[MAP](np.linspace(0.05, 0.9, count))]


def _name_levels(axes: Axes, at: Floats, levels: Sequence[str]) -> None:
    """Ticks at values that are no numbers, at some of many."""
    step = -(-len(levels) // MOST_TICKS)
    places = range(0, len(levels), step)
    axes.set_xticks(places, [_short(levels[k]) for k in places], rotation=30, ha="right")
    axes.set_xlim(float(at.min()) - 0.5, float(at.max()) + 0.5)


def _short(text: str) -> str:
    """The beginning and end of a long name."""
    return text if len(text) <= LINE - 4 else f"{text[: LINE // 2 - 3]}…{text[3 - LINE // 2 :]}"


def _broken(text: str, width: int = LINE) -> str:
    """A label on as many lines as it needs."""
    return textwrap.fill(text, width, break_on_hyphens=False)


def _aim(name: str) -> str:
    label = _broken(label_of(name.removeprefix("-")), 2 * LINE)
    return f"{label} (small is good)" if name.startswith("-") else label


def png_of(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=DPI, format="png")
    return stream.getvalue()
