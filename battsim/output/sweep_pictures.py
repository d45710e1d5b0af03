"""Pictures of a sweep: Ragone, capacity over C-rate, main effects, sensitivity, the front of two objectives."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from battsim.output.pictures import DPI, INK, VOLTAGE, WIDTH, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

BLUE, GREY, LIGHT = "#2a6f97", "#b8b8c8", "#89c2d9"
MAP = "viridis"
MOST_NAMED = 8
"""More curves than this have no legend, but a colour from first to last."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Numbers of members that differ in one thing alone, in its order; x and y have shape (n,)."""

    label: str
    x: Floats
    y: Floats


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
    with figure_of((5.4, 4.0)) as figure:
        axes = figure.subplots()
        _draw_curves(axes, curves)
        axes.set(xlabel="mean power (W/m²)", ylabel="energy (Wh/m²)", xscale="log", yscale="log")
        return png_of(figure)


def rated_capacity(curves: Sequence[Curve]) -> bytes:
    """PNG of capacity over C-rate, a curve for each design."""
    with figure_of((5.4, 4.0)) as figure:
        axes = figure.subplots()
        _draw_curves(axes, [_in_mAh_cm2(curve) for curve in curves])
        axes.set(xlabel="C-rate (1/h)", ylabel="capacity (mAh/cm²)", xscale="log", ylim=(0.0, None))
        rates = np.unique(np.concatenate([curve.x for curve in curves]))
        if rates.size <= MOST_NAMED:
            axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
            axes.minorticks_off()
        return png_of(figure)


def main_effects(
    effects: Mapping[str, Effect], objective: str, levels: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> bytes:
    """PNG of the mean of a number over each parameter, with the standard deviation over all others.

    Parameters
    ----------
    effects
        By parameter.
    levels
        Names of the values of parameters that are no numbers.
    names
        What the parameters are called.
    """
    across = min(len(effects), 3)
    down = -(-len(effects) // across)
    with figure_of((WIDTH * across / 3 + 0.6, 2.4 * down)) as figure:
        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes, (path, effect) in zip(grid.flat, effects.items(), strict=False):
            axes.errorbar(
                effect.at,
                effect.mean,
                yerr=effect.spread,
                color=VOLTAGE,
                marker="o",
                ms=4,
                lw=1.4,
                capsize=3,
                ecolor=GREY,
            )
            axes.set_xlabel(names[path])
            if path in levels:
                axes.set_xticks(range(len(levels[path])), levels[path], rotation=30, ha="right")
        for axes in grid.flat[len(effects) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(objective)
        return png_of(figure)


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
        axes.set_yticks(place, [names[path] for path in order])
        axes.set(xlabel=f"share of the variance of {objective}", xlim=(0.0, max(1.0, *total.values())))
        axes.legend(loc="lower right", title=f"surrogate predicts {100.0 * r2:.0f} %", title_fontsize=8.5)
        return png_of(figure)


def front(x: Floats, y: Floats, best: NDArray[np.bool_], names: tuple[str, str]) -> bytes:
    """PNG of members by two objectives, those joined that no other beats in both.

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
        axes.plot(x[best][order], y[best][order], "o-", ms=5, lw=1.2, color=VOLTAGE, label="beaten by none in both")
        axes.set(xlabel=_aim(names[0]), ylabel=_aim(names[1]))
        axes.legend()
        return png_of(figure)


def _in_mAh_cm2(curve: Curve) -> Curve:
    return replace(curve, y=0.1 * curve.y)


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    import matplotlib as mpl

    colours = mpl.colormaps[MAP](np.linspace(0.05, 0.9, len(curves)))
    for curve, colour in zip(curves, colours, strict=True):
        axes.plot(curve.x, curve.y, "o-", ms=3.5, lw=1.3, color=colour, label=curve.label)
    if 1 < len(curves) <= MOST_NAMED:
        axes.legend()
    elif len(curves) > MOST_NAMED:
        axes.set_title(f"{curves[0].label} (dark) to {curves[-1].label} (light)", fontsize=8.5, color=INK)


def _aim(name: str) -> str:
    return f"{name[1:]} (small is good)" if name.startswith("-") else name


def png_of(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=DPI, format="png")
    return stream.getvalue()
