"""Pictures of how far the homogenised cells are from the resolved one: voltage, the ladder between them, profiles.

Colours mean the same in all three: red is the resolved cell (or A of two that are compared), blue the homogenised cell
with what the image says, grey the textbook's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from battsim.homogenise import BASELINES as RUNG_OF
from battsim.output.pictures import DPI, INK, VOLTAGE, WIDTH, figure_of
from battsim.output.tables import read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Table = Mapping[str, Floats]

RESOLVED = "resolved"
BASELINES = {
    "p2d_bruggeman": ("P2D, Bruggeman", "#6c757d", (0, (1.5, 1.2))),
    "p2d_image": ("P2D, from the image", "#2a6f97", (0, (5, 2))),
}
"""Name, colour and dashes of each homogenised cell of `battsim.homogenise.BASELINES`."""
RUNGS = {
    "bruggeman": "P2D, Bruggeman",
    "+b": "ionic transport b",
    "+sigma": "conductivity σ",
    "+a": "reacting area a",
    "+radius distribution": "particle sizes",
    RESOLVED: "3-D structure",
}
"""What each rung of a ladder adds; a rung that is not here keeps its own name."""
RAISES, LOWERS = "#f2b84b", "#89c2d9"
SHADE = "#e9ecef"
"""Of a separator."""
FIELDS = {
    "c_e_mol_m3": ("$c_e$ (mol/m³)", 1.0),
    "phi_e_V": ("$\\phi_e$ (mV)", 1e3),
    "x": ("$x = c_s/c_{max}$", 1.0),
}
"""Label of a field of a profile, and how many of its units are one of its column."""
SHARES = (0.08, 0.5, 0.92)
"""Which times of a run are drawn, as shares of the last common one."""
SAME_TIME = 1e-3
"""s"""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line of a picture.

    Attributes
    ----------
    name
        In the legend.
    capacity, values
        Shape (n,), Ah/m2, and V.
    colour, dashes
        As matplotlib takes them.
    """

    name: str
    capacity: Floats
    values: Floats
    colour: str
    dashes: Any = "-"

    @property
    def along(self) -> Floats:
        """Capacity, mAh/cm2."""
        return 0.1 * self.capacity


def draw_baselines(results: Path, *, title: str = "") -> list[Path]:
    """Draw gap.png, ladder.png and profiles.png of a run with baselines; returns those that there was something for.

    Parameters
    ----------
    results
        Folder of a finished run, with summary.json, gap.csv and the tables of the three cells.
    title
        Above each picture.
    """
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    drawn = []
    if summary.get("baselines") and summary.get("ladder"):
        curves, differences = _lines(results, int(summary["compared_step"]))
        voltage_gap(results / "gap.png", curves, differences, title=title)
        ladder(results / "ladder.png", summary["ladder"], title=title)
        drawn += [results / "gap.png", results / "ladder.png"]
    files = {name: results / f"profiles_{name}.csv" for name in BASELINES}
    if not all(file.is_file() for file in files.values()):  # an image that no homogenised cell stands for
        return drawn
    tables, resolved = {name: read_table(file) for name, file in files.items()}, read_table(results / "profiles.csv")
    if times := shown_times([resolved, *tables.values()]):
        profiles(results / "profiles.png", resolved, tables, times, title=title)
        drawn.append(results / "profiles.png")
    return drawn


def _lines(results: Path, step: int) -> tuple[list[Line], list[Line]]:
    """Voltage of the three cells over one protocol step, and the differences of gap.csv."""
    gap = read_table(results / "gap.csv")
    curves = [Line(RESOLVED, *capacity_and_voltage(read_table(results / "timeseries.csv"), step), VOLTAGE)]
    differences = []
    for name, (label, colour, dashes) in BASELINES.items():
        curves.append(
            Line(label, *capacity_and_voltage(read_table(results / f"timeseries_{name}.csv"), step), colour, dashes)
        )
        differences.append(Line(label, gap["capacity_Ah_m2"], gap[f"{name}_difference_V"], colour, dashes))
    return curves, differences


def capacity_and_voltage(columns: Table, step: int) -> tuple[Floats, Floats]:
    """Capacity since a protocol step began (Ah/m2) and voltage (V)."""
    rows = columns["step"] == step
    capacity = columns["capacity_Ah_m2"][rows]
    return np.abs(capacity - capacity[0]), columns["voltage_V"][rows]


def voltage_gap(
    path: Path,
    curves: Sequence[Line],
    differences: Sequence[Line],
    *,
    title: str = "",
    label: str = "voltage − resolved (mV)",
) -> None:
    """Draw voltages over capacity, and below them how far the others are from the first, in mV.

    Parameters
    ----------
    path
        Picture; the suffix names the format (.png, .svg, .pdf).
    curves
        The first is the one that the others are compared with.
    differences
        Of each other from the first, where both are compared, V.
    title
        Above the picture.
    label
        Of the differences.
    """
    with figure_of((5.4, 5.0)) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1.0))
        for axes, lines, factor in ((top, curves, 1.0), (bottom, differences, 1e3)):
            for line in lines:
                width = 2.2 if line is curves[0] else 1.6
                axes.plot(
                    line.along, factor * line.values, color=line.colour, ls=line.dashes, lw=width, label=line.name
                )
        bottom.axhline(0.0, color=VOLTAGE if differences else INK, lw=0.8)
        top.set_ylabel("voltage (V)")
        top.legend(loc="best", handlelength=2.8)
        bottom.set(xlabel="capacity (mAh/cm²)", ylabel=label, xlim=(0.0, None))
        figure.align_ylabels()
        top.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=10)
        figure.savefig(path, dpi=DPI)


def ladder(path: Path, rungs: Sequence[Mapping[str, Any]], *, title: str = "") -> None:
    """Draw what each rung of a ladder changes: mean voltage in mV and capacity in %, from the first to the last.

    Parameters
    ----------
    path
        Picture; the suffix names the format.
    rungs
        Of summary.json: rung, mean_voltage_V, capacity_Ah_m2; at least two.
    title
        Above the picture.
    """
    voltages, capacities = (np.array([rung[key] for rung in rungs]) for key in ("mean_voltage_V", "capacity_Ah_m2"))
    panels = {
        f"mean voltage − {_named(rungs[0])} (mV)": 1e3 * (voltages - voltages[0]),
        f"capacity − {_named(rungs[0])} (%)": 100.0 * (capacities / capacities[0] - 1.0),
    }
    names = [*(f"+ {_named(rung)}" for rung in rungs[1:]), "sum: resolved" if rungs[-1]["rung"] == RESOLVED else "sum"]
    at = {str(rung["rung"]): k for k, rung in enumerate(rungs)}
    with figure_of((WIDTH, 1.5 + 0.28 * len(names))) as figure:
        for axes, (label, levels) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
            _waterfall(axes, levels)
            for key, (text, colour, dashes) in BASELINES.items():
                if RUNG_OF[key] in at:
                    axes.axvline(levels[at[RUNG_OF[key]]], color=colour, ls=dashes, lw=1.2, label=text, zorder=0)
            axes.set_xlabel(label)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        axes.invert_yaxis()
        handles, texts = axes.get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=len(texts), handlelength=2.8)
        put_title(figure, title)
        figure.savefig(path, dpi=DPI)


def _named(rung: Mapping[str, Any]) -> str:
    name = str(rung["rung"])
    return RUNGS.get(name, name)


def _waterfall(axes: Axes, levels: Floats) -> None:
    """Bars from each level to the next, from top to bottom, and one from the first to the last."""
    steps = np.diff(levels)
    starts, sizes = np.append(levels[:-1], levels[0]), np.append(steps, levels[-1] - levels[0])
    colours = [RAISES if size > 0.0 else LOWERS for size in steps] + [VOLTAGE]
    places = np.arange(sizes.size)
    axes.barh(places, sizes, left=starts, color=colours, height=0.62)
    ends = starts + sizes
    for k, end in enumerate(ends[:-2]):
        axes.plot((end, end), (k + 0.31, k + 0.69), color=INK, lw=0.7)
    low, high = float(levels.min()), float(levels.max())
    span = high - low or 1.0
    decimals = max(1, 2 - int(np.floor(np.log10(span))))
    for k, (size, right) in enumerate(zip(sizes, np.maximum(starts, ends), strict=True)):
        text = axes.text(right + 0.02 * span, k, f"{size:+.{decimals}f}".replace("-", "−"), va="center", fontsize=8.5)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    axes.set_xlim(low - 0.05 * span, high + 0.22 * span)


def put_title(figure: Figure, title: str) -> None:
    """Set the title, if any, at the upper left, with room of its own."""
    if title:
        figure.suptitle(title, x=0.015, ha="left", fontsize=10.5, weight="bold")


def shown_times(tables: Sequence[Table]) -> list[float]:
    """Up to three times that all tables of profiles have, s: early, middle and late; the start, uniform, is none."""
    first, *others = ([float(time) for time in np.unique(table["time_s"])] for table in tables)
    common = [t for t in first if t > first[0] and all(np.abs(np.subtract(o, t)).min() <= SAME_TIME for o in others)]
    wanted = [share * common[-1] for share in SHARES] if common else []
    return sorted({min(common, key=lambda t: abs(t - time)) for time in wanted})


def profiles(
    path: Path, resolved: Table, homogenised: Mapping[str, Table], times: Sequence[float], *, title: str = ""
) -> None:
    """Draw salt, its potential and lithium through the thickness: mean, spread and extremes in the resolved cell.

    Parameters
    ----------
    path
        Picture; the suffix names the format.
    resolved
        Columns of profiles.csv, by name, shape (n_rows,).
    homogenised
        Those of the homogenised cells, by their key in BASELINES.
    times
        That all of them have, s.
    title
        Above the picture.
    """
    separators = separator_spans(next(iter(homogenised.values()), resolved))
    shown = [_at(resolved, time) for time in times]
    others = {name: [_at(table, time) for time in times] for name, table in homogenised.items()}
    flat = [rows for each in others.values() for rows in each]
    with figure_of((WIDTH, 6.4)) as figure:
        grid = figure.subplots(len(FIELDS), len(times), sharex=True, sharey="row", squeeze=False)
        for column, time in enumerate(times):
            for axes, (field, (label, factor)) in zip(grid[:, column], FIELDS.items(), strict=True):
                _spread(axes, shown[column], field, factor)
                for name, each in others.items():
                    rows, (text, colour, dashes) = each[column], BASELINES[name]
                    y = factor * rows[f"{field}_mean"]
                    axes.plot(1e6 * rows["depth_m"], y, color=colour, ls=dashes, lw=1.5, label=text)
                for low, high in separators:
                    axes.axvspan(1e6 * low, 1e6 * high, color=SHADE, lw=0, zorder=0, label="separator")
                if column == 0:
                    axes.set_ylabel(label)
                    axes.set_ylim(*(factor * end for end in _span(shown, flat, field)))
            grid[0, column].set_title(f"{time:.4g} s", fontsize=9)
            grid[-1, column].set_xlabel("depth (µm)")
        grid[-1, 0].set_xlim(0.0, 1e6 * float(walls(shown[0]["depth_m"])[-1]))
        figure.align_ylabels()
        handles, texts = grid[0, 0].get_legend_handles_labels()
        first = {text: handle for handle, text in zip(handles, texts, strict=True)}
        figure.legend(first.values(), first.keys(), loc="outside lower center", ncols=3, handlelength=2.8)
        put_title(figure, title)
        figure.savefig(path, dpi=DPI)


def _at(table: Table, time: float) -> dict[str, Floats]:
    """The rows of one time, each shape (n_planes,)."""
    rows = np.abs(table["time_s"] - time) <= SAME_TIME
    return {name: values[rows] for name, values in table.items()}


def _spread(axes: Axes, rows: Table, field: str, factor: float) -> None:
    """Mean of the resolved cell, a band of one standard deviation as far as there are values, and the worst voxels."""
    depth = 1e6 * rows["depth_m"]
    mean, std, low, high = (factor * rows[f"{field}_{name}"] for name in ("mean", "std", "min", "max"))
    bottom, top = np.maximum(mean - std, low), np.minimum(mean + std, high)
    axes.plot(depth, mean, color=VOLTAGE, lw=1.8, label="resolved, mean", zorder=2.5)
    axes.fill_between(depth, bottom, top, color=VOLTAGE, alpha=0.22, lw=0, label="resolved, ± std")
    axes.plot(depth, low, color=VOLTAGE, lw=0.6, label="resolved, min and max")
    axes.plot(depth, high, color=VOLTAGE, lw=0.6)


def _span(resolved: Sequence[Table], homogenised: Sequence[Table], field: str) -> tuple[float, float]:
    """What an axis shows: bands and lines whole; the few voxels of dead ends as far as a third of that beyond."""
    mean, std, least, most = (
        np.concatenate([rows[f"{field}_{name}"] for rows in resolved]) for name in ("mean", "std", "min", "max")
    )
    lines = np.concatenate([np.empty(0), *(rows[f"{field}_mean"] for rows in homogenised)])
    low = float(np.nanmin(np.append(np.maximum(mean - std, least), lines)))
    high = float(np.nanmax(np.append(np.minimum(mean + std, most), lines)))
    room = max((high - low) / 3.0, 1e-6 * max(abs(low), abs(high), 1e-3))
    lowest, highest = max(low - room, float(np.nanmin(least))), min(high + room, float(np.nanmax(most)))
    return min(low, lowest) - 0.15 * room, max(high, highest) + 0.15 * room


def walls(depth: Floats) -> Floats:
    """Where planes with the given centres end, shape (n + 1,); the first begins at 0."""
    signs = np.where(np.arange(depth.size) % 2, -1.0, 1.0)
    return np.append(0.0, 2.0 * signs * np.cumsum(signs * depth))


def separator_spans(table: Table) -> list[tuple[float, float]]:
    """From where to where nothing holds lithium, m: the separator of a half or of a full cell."""
    rows = _at(table, float(table["time_s"][0]))
    ends = walls(rows["depth_m"])
    empty = np.concatenate([[False], np.isnan(rows["x_mean"]), [False]])
    (starts,), (stops,) = (np.nonzero(np.diff(empty.astype(int)) == sign) for sign in (1, -1))
    return [(float(ends[a]), float(ends[b])) for a, b in zip(starts, stops, strict=True)]
