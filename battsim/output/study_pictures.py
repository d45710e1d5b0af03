"""The picture of a study: voltage curves of all its runs, and the gap to the homogenised cells with its error bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from battsim.output.gap_pictures import BASELINES, RESOLVED, capacity_and_voltage, put_title
from battsim.output.pictures import DPI, VOLTAGE, WIDTH, figure_of
from battsim.output.tables import read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = "study.png"
ASIDE = 0.06
"""How far the marks of one rate stand apart, as a share of the rate."""


def draw_study(results: Path, summary: Mapping[str, Any], *, title: str = "") -> None:
    """Draw study.png of a finished study into its results.

    Left, voltage over capacity of every run, the homogenised cells dashed. Right, over the rate, how far their mean
    voltage is from the resolved cell's, with the standard deviation over the columns; without baselines, the capacity.

    Parameters
    ----------
    results
        Folder of the study, with the folders of its runs in it.
    summary
        Content of its summary.json.
    title
        Above the picture.
    """
    done = [run for run in summary["runs"] if run["state"] == "done"]
    with figure_of((WIDTH, 3.4)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
        for run in done:
            _curves(left, results / run["folder"])
        left.set(xlabel="capacity (mAh/cm²)", ylabel="voltage (V)", xlim=(0.0, None))
        handles, texts = left.get_legend_handles_labels()
        first = dict(zip(texts, handles, strict=True))
        left.legend(first.values(), first.keys(), handlelength=2.8)
        if any(each["baselines"] for each in summary["spread"]):
            _gaps(right, summary)
        else:
            _capacities(right, summary)
        put_title(figure, title)
        figure.savefig(results / PICTURE, dpi=DPI)


def _curves(axes: Axes, folder: Path) -> None:
    """The voltage of one run, and of the homogenised cells beside it where there are any."""
    step = None
    for name, (label, colour, dashes) in {"": (RESOLVED, VOLTAGE, "-"), **BASELINES}.items():
        path = folder / f"timeseries{f'_{name}' if name else ''}.csv"
        if not path.is_file():
            continue
        table = read_table(path)
        if step is None:
            moved = np.abs(table["current_A_m2"]) > 0.0
            step = int(table["step"][moved][0]) if moved.any() else 0
        capacity, voltage = capacity_and_voltage(table, step)
        axes.plot(0.1 * capacity, voltage, color=colour, ls=dashes, lw=1.3, label=label)


def _gaps(axes: Axes, summary: Mapping[str, Any]) -> None:
    """Mean gap and its deviation over the columns, over the rate."""
    for k, (name, (label, colour, _)) in enumerate(BASELINES.items()):
        found = [(k, each["baselines"].get(name)) for k, each in enumerate(summary["spread"])]
        known = [(index, gap["mean_voltage_difference_V"]) for index, gap in found if gap is not None]
        _marks(axes, summary, known, 1e3, colour, label, aside=k)
    axes.axhline(0.0, color=VOLTAGE, lw=1.0)
    axes.set_ylabel("mean voltage − resolved (mV)")
    axes.legend(handlelength=1.2)


def _capacities(axes: Axes, summary: Mapping[str, Any]) -> None:
    known = [(k, each["capacity_Ah_m2"]) for k, each in enumerate(summary["spread"])]
    _marks(axes, summary, known, 0.1, VOLTAGE, RESOLVED)
    axes.set_ylabel("capacity (mAh/cm²)")


def _marks(
    axes: Axes,
    summary: Mapping[str, Any],
    known: list[tuple[int, Mapping[str, Any]]],
    factor: float,
    colour: str,
    label: str,
    aside: int = 0,
) -> None:
    """Means with their deviations, over the rate, or in the middle where the protocol's own rate was run."""
    by_rate = [(summary["spread"][index]["rate_C"] or 1.0, each) for index, each in known]
    shown = sorted(((rate, each) for rate, each in by_rate if each["mean"] is not None), key=lambda mark: mark[0])
    rates = [rate for rate, _ in shown]
    axes.errorbar(
        np.array(rates) * (1.0 + ASIDE * aside),
        [factor * each["mean"] for _, each in shown],
        yerr=[factor * (each["std"] or 0.0) for _, each in shown],
        color=colour,
        marker="o",
        ms=4,
        lw=1.2,
        capsize=3,
        label=label,
    )
    if summary["spread"][0]["rate_C"] is None:
        axes.set_xticks([])
        axes.set_xlim(0.5, 1.5)
        return
    axes.set_xscale("log")
    ticks = [each["rate_C"] for each in summary["spread"]]
    axes.set_xticks(ticks, [f"{rate:g} C" for rate in ticks])
    axes.minorticks_off()
