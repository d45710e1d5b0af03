"""Picture of transport through an image: potential and flux in one section along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from battsim.output.pictures import DPI, WIDTH, axes_at, figure_of, put_title, value_range
from meshing.image import AXES, Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

INSULATING = "#d9d9d9"
MAPS = {"potential": "viridis", "flux": "inferno"}
LABELS = {"potential": "potential", "flux": "flux over its mean"}
GAP, RIGHT, HIGHEST = 0.55, 0.75, 2.4
"""Room for the ticks of a section, room for those of the colour bars, and the highest section, inch."""


@dataclass(frozen=True, slots=True, eq=False)
class TransportSection:
    """A plane of voxels that contains the transport axis.

    Attributes
    ----------
    axis, up
        Along the rows of the arrays (to the right) and along their columns (upwards).
    potential, flux
        Potential and magnitude of the flux over the mean flux, shape (n along `axis`, n along `up`); NaN where a voxel
        insulates.
    edges
        Of a voxel along `axis` and `up`, m.
    """

    axis: Axis
    up: Axis
    potential: NDArray[Any]
    flux: NDArray[Any]
    edges: tuple[float, float]


def middle_section(
    axis: Axis, potential: NDArray[Any], flux: NDArray[Any], voxel_size: tuple[float, float, float]
) -> TransportSection:
    """The section through the middle of the image, cut across its shorter lateral extent; copies, shape as potential.

    Parameters
    ----------
    potential, flux
        Shape (nx, ny, nz); the flux is a magnitude over the mean flux, and counts where there is a potential.
    """
    along = AXES.index(axis)
    lateral = [a for a in range(3) if a != along]
    cut = min(lateral, key=lambda a: potential.shape[a])
    up = next(a for a in lateral if a != cut)
    potential, flux = (values.take(potential.shape[cut] // 2, cut) for values in (potential, flux))
    flux = np.where(np.isfinite(potential), flux, np.nan)
    if up < along:
        potential, flux = potential.T, flux.T
    return TransportSection(axis, AXES[up], potential, flux, (voxel_size[along], voxel_size[up]))


def draw_transport(path: Path, sections: Sequence[TransportSection], *, title: str = "") -> None:
    """Draw potential (above) and flux magnitude (below) of each section, all at one scale, insulating voxels grey.

    Parameters
    ----------
    path
        Picture; the suffix names the format (.png, .svg, .pdf).
    sections
        One per axis, at least one.
    title
        Above the picture.
    """
    extents = [_extent(section) for section in sections]
    high = max(extent[1] for extent in extents)
    room = WIDTH - RIGHT - GAP * len(extents)
    scale = min(room / sum(extent[0] for extent in extents), HIGHEST / high)
    above = 0.55 if title else 0.3
    width = scale * sum(extent[0] for extent in extents) + GAP * len(extents) + RIGHT
    flux = np.concatenate([section.flux.reshape(-1) for section in sections])
    tops = {"potential": 1.0, "flux": value_range(flux)[1]}
    with figure_of((width, 2.0 * (scale * high + GAP) + above), constrained=False) as figure:
        for row, (name, top) in enumerate(tops.items()):
            left, bottom = GAP, GAP + (1 - row) * (scale * high + GAP)
            for section, (along, up) in zip(sections, extents, strict=True):
                axes = axes_at(figure, (left, bottom, scale * along, scale * up))
                shown = _draw(axes, section, name, top)
                if row == 0:
                    axes.set_title(f"along {section.axis}", fontsize=9, pad=4)
                left += scale * along + GAP
            bar = axes_at(figure, (left - GAP + 0.12, bottom, 0.1, scale * high))
            figure.colorbar(shown, cax=bar, label=LABELS[name], extend="neither" if name == "potential" else "max")
        put_title(figure, title)
        figure.savefig(path, dpi=DPI)


def _extent(section: TransportSection) -> tuple[float, float]:
    """Length along the axis and upwards, µm."""
    n, m = section.potential.shape
    return 1e6 * n * section.edges[0], 1e6 * m * section.edges[1]


def _draw(axes: Axes, section: TransportSection, name: str, top: float) -> AxesImage:
    """One field of a section, coloured from 0 to `top`; extents in µm."""
    import matplotlib as mpl

    along, up = _extent(section)
    values = section.potential if name == "potential" else section.flux
    axes.set(xlabel=f"{section.axis} (µm)", ylabel=f"{section.up} (µm)")
    axes.locator_params(nbins=4)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6)
    return axes.imshow(
        np.ma.masked_invalid(values.T),
        origin="lower",
        extent=(0.0, along, 0.0, up),
        interpolation="nearest",
        cmap=mpl.colormaps[MAPS[name]].with_extremes(bad=INSULATING),
        vmin=0.0,
        vmax=top,
    )
