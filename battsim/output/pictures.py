"""Pictures of a run for reports and papers: voltage and losses, sections through its fields, a view in space."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from meshing.image import AXES, Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Kind = Literal["render", "sections"]

LOGGER = logging.getLogger(__name__)
LOSSES = {
    "loss_electronic_V": ("electrons", "#8d8d8d"),
    "loss_electrolyte_ohmic_V": ("electrolyte, ohmic", "#2f6f9f"),
    "loss_electrolyte_concentration_V": ("electrolyte, concentration", "#86bbd8"),
    "loss_counter_V": ("counter electrode", "#b9a7c9"),
    "loss_kinetics_V": ("kinetics", "#e9b44c"),
    "loss_solid_diffusion_V": ("solid diffusion", "#c8553d"),
}
"""Column, name and colour, from the bottom of the stack to its top."""
INK, BINDER_GREY, ABSENT = "#222222", "#a8a8a8", "#ffffff"
SOLID_MAP, SALT_MAP = "inferno", "GnBu"
STYLE: Mapping[str, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
DPI = 200
RENDER_SECONDS = 300
"""After which a rendering is given up."""
LARGEST_RENDERED = 3_000_000
"""Voxels; larger images are thinned out."""


def voltage_curve(path: Path, columns: Mapping[str, Floats], *, title: str = "") -> None:
    """Draw voltage and open-circuit potential of the mean composition, and the losses between them as a stack below.

    Parameters
    ----------
    path
        Picture; the suffix names the format (.png, .svg, .pdf).
    columns
        Of timeseries.csv, by name, shape (n_rows,); NaN where a cell is empty.
    title
        Above the picture.
    """
    along, label = _abscissa(columns)
    losses = {name: 1e3 * columns[name] for name in LOSSES}
    total = np.sum(list(losses.values()), axis=0)
    with _figure((5.6, 5.2)) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1.0))
        top.plot(along, columns["voltage_V"] + 1e-3 * total, color=INK, lw=1.0, ls=(0, (4, 2)), label="U(mean x)")
        top.plot(along, columns["voltage_V"], color="#c8553d", lw=2.0, label="cell voltage")
        top.set_ylabel("voltage (V)")
        top.legend(loc="best", handlelength=1.8)
        names, colours = zip(*LOSSES.values(), strict=True)
        bottom.stackplot(along, *losses.values(), colors=colours, labels=names, lw=0)
        bottom.set(xlabel=label, ylabel="loss (mV)", xlim=(np.nanmin(along), np.nanmax(along)))
        handles, texts = bottom.get_legend_handles_labels()
        bottom.legend(handles[::-1], texts[::-1], loc="upper left", bbox_to_anchor=(1.01, 1.0), handlelength=1.0)
        figure.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold")
        figure.savefig(path, dpi=DPI)
