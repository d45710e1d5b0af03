"""Pictures of a run for reports and papers: voltage and losses, and sections through its fields.

matplotlib and VTK are loaded where they are used. A picture is drawn off screen, without touching the caller's own
figures and settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CaseError
from meshing.image import AXES, Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Colours = NDArray[np.float64]

LOSSES = {
    "loss_electronic_V": ("electronic", "#6c757d"),
    "loss_counter_V": ("counter electrode", "#b8b8c8"),
    "loss_electrolyte_ohmic_V": ("electrolyte, ohmic", "#2a6f97"),
    "loss_electrolyte_concentration_V": ("electrolyte, concentration", "#89c2d9"),
    "loss_kinetics_V": ("kinetics", "#f2b84b"),
    "loss_solid_diffusion_V": ("solid diffusion", "#c8553d"),
}
"""Column, name and colour, from the bottom of the stack to its top."""
BINDER, PHASES = "binder", ("pore", "active", "binder")
INK, VOLTAGE = "#222222", "#c8553d"
BINDER_GREY, ABSENT = (0.62, 0.62, 0.62, 1.0), (1.0, 1.0, 1.0, 1.0)
MAPS = {"x": ("inferno", 0.05, 0.97), "c_e": ("GnBu", 0.15, 1.0)}
"""Colours of a field, and the part of them that is used: neither black nor white, which mean something else."""
LABELS = {"x": "lithium in the active material, $c_s/c_{max}$", "c_e": "salt in the pores, $c_e$ (mol/m³); binder grey"}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
DPI = 200
WIDTH = 7.2
"""Of the pictures of fields, inch."""
DEPTHS = (0.08, 0.36, 0.64, 0.92)
"""Where an electrode is cut across, as shares of its thickness."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedFields:
    """Fields of one time on voxels.

    Attributes
    ----------
    values
        By name without unit, shape (nx, ny, nz); NaN where a field is not defined.
    voxel_size
        Edges along the array's axes, m.
    """

    values: Mapping[str, NDArray[Any]]
    voxel_size: tuple[float, float, float]


def voltage_curve(path: Path, columns: Mapping[str, Floats], *, title: str = "") -> None:
    """Draw cell voltage and open-circuit potential of the mean composition, and below it the losses between them.

    Parameters
    ----------
    path
        Picture; the suffix names the format (.png, .svg, .pdf).
    columns
        Of timeseries.csv, by name, shape (n_rows,); NaN where a cell is empty.
    title
        Above the picture.
    """
    along, label = abscissa(columns)
    losses = [1e3 * columns[name] for name in LOSSES]
    names, colours = zip(*LOSSES.values(), strict=True)
    with figure_of((5.4, 5.4)) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.3, 1.0))
        open_circuit = columns["voltage_V"] + 1e-3 * np.sum(losses, axis=0)
        top.fill_between(along, columns["voltage_V"], open_circuit, color=VOLTAGE, alpha=0.08, lw=0)
        top.plot(along, open_circuit, color=INK, lw=1.1, ls=(0, (5, 2)), label="open circuit at mean composition")
        top.plot(along, columns["voltage_V"], color=VOLTAGE, lw=2.2, label="cell voltage")
        top.set_ylabel("voltage (V)")
        top.legend(loc="best", handlelength=2.2)
        bottom.stackplot(along, *losses, colors=colours, labels=names, lw=0.4, edgecolor="white")
        bottom.set(xlabel=label, ylabel="loss (mV)", xlim=(float(np.nanmin(along)), float(np.nanmax(along))))
        handles, texts = bottom.get_legend_handles_labels()
        figure.legend(handles[::-1], texts[::-1], loc="outside lower center", ncols=3, handlelength=1.0)
        top.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=10)
        figure.savefig(path, dpi=DPI)


def abscissa(columns: Mapping[str, Floats]) -> tuple[Floats, str]:
    """Capacity in mAh/cm2 where it only grows, else time in hours, with its label."""
    capacity = columns["capacity_Ah_m2"]
    if capacity[-1] > capacity[0] and np.all(np.diff(capacity) >= 0.0):
        return 0.1 * capacity, "capacity (mAh/cm²)"
    return columns["time_s"] / 3600.0, "time (h)"


def field_sections(
    path: Path,
    vti: Path,
    *,
    phases: Sequence[str] = PHASES,
    through_plane: Axis = "x",
    flipped: bool = False,
    title: str = "",
) -> None:
    """Draw one section through the electrode and four across it: lithium in the active material, salt in the pores.

    Parameters
    ----------
    path
        Picture; the suffix names the format.
    vti
        A saved time with the fields x, c_e and phase.
    phases
        Names of the phases that "phase" counts; the one named binder becomes grey.
    through_plane, flipped
        The case's through-plane axis; `flipped` where the separator is at its high end.
    title
        Above the picture.

    Raises
    ------
    CaseError
        Where the file lacks x or c_e.
    """
    fields = in_cell_axes(read_fields(vti), through_plane, flipped)
    colours = painted(fields, phases)
    n, height = colours.shape[:2]
    h = [1e6 * edge for edge in fields.voxel_size]
    depths = [round(share * (n - 1)) for share in DEPTHS]
    layout = _layout(fields)
    with figure_of(layout.size, constrained=False) as figure:
        through = axes_at(figure, layout.through)
        _section(through, colours[:, height // 2].transpose(1, 0, 2), h[0], h[2])
        _name_ends(through)
        _scale_bar(through, n * h[0])
        for box, depth in zip(layout.across, depths, strict=True):
            axes = axes_at(figure, box)
            _section(axes, colours[depth], h[2], h[1])
            position = (depth + 0.5) * h[0]
            axes.set_title(f"{position:.3g} µm", fontsize=8, pad=3)
            through.axvline(position, color="white", lw=0.8, ls=(0, (2, 2)))
        for box, (name, label) in zip(layout.bars, LABELS.items(), strict=True):
            colour_bar(axes_at(figure, box), name, fields.values[name], label)
        put_title(figure, title)
        figure.savefig(path, dpi=DPI)


def read_fields(vti: Path) -> SavedFields:
    """Fields of a .vti file by name without unit.

    Raises
    ------
    CaseError
        Where the file holds no voxels that can be read.
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(vti))
    if not vti.is_file() or not reader.CanReadFile(str(vti)):
        raise CaseError(f"{vti}: is no VTK image data (.vti) that can be read; name a file under results/fields")
    reader.Update()
    image = reader.GetOutput()
    data = image.GetCellData()
    shape = [n - 1 for n in image.GetDimensions()]
    arrays = [data.GetArray(k) for k in range(data.GetNumberOfArrays())]
    values = {
        array.GetName().split(" [")[0]: vtk_to_numpy(array).reshape(shape, order="F")  # type: ignore[no-untyped-call]
        for array in arrays
    }
    x, y, z = image.GetSpacing()
    missing = [name for name in ("x", "c_e", "phase") if name not in values]
    if missing:
        raise CaseError(
            f"{vti}: lacks the field {missing[0]}; pictures need x, c_e and phase: put c_s and c_e into [output] fields"
        )
    return SavedFields(values, (x, y, z))


def in_cell_axes(fields: SavedFields, through_plane: Axis, flipped: bool) -> SavedFields:
    """The fields with the through-plane axis first and the separator at its low end."""
    axis = AXES.index(through_plane)
    turned = {name: np.moveaxis(values, axis, 0) for name, values in fields.values.items()}
    if flipped:
        turned = {name: values[::-1] for name, values in turned.items()}
    a, b, c = (fields.voxel_size[k] for k in (axis, *(k for k in range(3) if k != axis)))
    return SavedFields(turned, (a, b, c))


def painted(fields: SavedFields, phases: Sequence[str]) -> Colours:
    """Colour of each voxel, shape (nx, ny, nz, 4): active material by x, pore by c_e, binder grey, left out white."""
    x, c_e, phase = (fields.values[name] for name in ("x", "c_e", "phase"))
    colours = np.empty((*x.shape, 4))
    colours[...] = ABSENT
    in_solid, in_salt = np.isfinite(x), np.isfinite(c_e)
    colours[in_salt] = colours_of("c_e", _share(c_e[in_salt], value_range(c_e)))
    if BINDER in phases:
        colours[phase == phases.index(BINDER)] = BINDER_GREY
    colours[in_solid] = colours_of("x", _share(x[in_solid], value_range(x)))
    return colours


def value_range(values: NDArray[Any]) -> tuple[float, float]:
    """What a colour bar spans: all but the outermost half per cent of the values on either side, never nothing."""
    found = values[np.isfinite(values)]
    if found.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(found, (0.5, 99.5)))
    margin = max(0.0, 0.5 * (1e-3 * max(abs(low), 1e-9) - (high - low)))
    return low - margin, high + margin


def _share(values: NDArray[Any], span: tuple[float, float]) -> Floats:
    """Values as shares of a colour bar, 0 to 1."""
    return np.clip((values - span[0]) / (span[1] - span[0]), 0.0, 1.0).astype(np.float64)


@contextmanager
def figure_of(size: tuple[float, float], *, constrained: bool = True) -> Iterator[Figure]:
    """A figure of its own, in the project's style, drawn without a screen."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=size, layout="constrained" if constrained else None)
        FigureCanvasAgg(figure)
        yield figure


def put_title(figure: Figure, title: str) -> None:
    """Set the title, if any, at the upper left."""
    if title:
        width, height = figure.get_size_inches()
        figure.suptitle(title, x=0.1 / width, y=1.0 - 0.1 / height, ha="left", va="top", fontsize=10.5, weight="bold")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the sections stand: size of the picture, boxes (left, bottom, width, height), all in inch."""

    size: tuple[float, float]
    through: tuple[float, float, float, float]
    across: tuple[tuple[float, float, float, float], ...]
    bars: tuple[tuple[float, float, float, float], ...]


def _layout(fields: SavedFields) -> _Layout:
    """The section through the electrode beside the four across it, or above them where the electrode is long."""
    n, height, width = (count * edge for count, edge in zip(fields.values["x"].shape, fields.voxel_size, strict=True))
    margin, gap, below, above, bar = 0.3, 0.12, 0.62, 0.42, 0.1
    inner = WIDTH - 2.0 * margin
    if n > 1.6 * width:
        small = (inner - 3.0 * gap) / 4.0
        tall, flat = small * height / width, inner * width / n
        base = below + bar
        across = [(margin + k * (small + gap), base, small, tall) for k in range(4)]
        through = (margin, base + tall + 0.3, inner, flat)
    else:
        # the section and the two rows of smaller ones, titles included, are equally high
        small = (inner - 0.35 - gap) / (2.0 + n / width * (2.0 * height / width))
        small = min(small, 0.26 * inner)
        tall = small * height / width
        flat = 2.0 * tall + 0.22
        base = below + bar
        through = (margin, base, flat * n / width, flat)
        start = margin + through[2] + 0.35
        across = [(start + (k % 2) * (small + gap), base + (1 - k // 2) * (tall + 0.22), small, tall) for k in range(4)]
    right = max(box[0] + box[2] for box in (through, *across))
    half = 0.5 * (right - margin - 0.3)
    bars = [(margin + k * (half + 0.3), 0.45, half, bar) for k in range(2)]
    return _Layout((right + margin, through[1] + through[3] + above), through, tuple(across), tuple(bars))


def axes_at(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Axes in a box given in inch."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = box
    return figure.add_axes((left / width, bottom / height, wide / width, high / height))


def _section(axes: Axes, colours: Colours, along: float, up: float) -> None:
    """Draw voxels of the given edges (µm), rows upwards."""
    rows, columns = colours.shape[:2]
    axes.imshow(colours, origin="lower", extent=(0.0, columns * along, 0.0, rows * up), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6)


def _name_ends(axes: Axes) -> None:
    for x, name, side in ((-4, "separator", "right"), (4, "collector", "left")):
        place = ("axes fraction", "axes fraction")
        at = (0.0 if x < 0 else 1.0, 0.5)
        axes.annotate(
            name,
            at,
            (x, 0),
            place,
            "offset points",
            rotation=90,
            ha=side,
            va="center",
            fontsize=8,
            annotation_clip=False,
        )


def _scale_bar(axes: Axes, extent: float) -> None:
    """A bar of a round length near a sixth of the extent (µm)."""
    from matplotlib.patheffects import withStroke

    power = 10.0 ** np.floor(np.log10(extent / 6.0))
    length = power * max(step for step in (1, 2, 5) if step * power <= extent / 6.0)
    low, high = axes.get_ylim()
    x, y = 0.03 * extent, low + 0.06 * (high - low)
    axes.plot((x, x + length), (y, y), color="white", lw=3, solid_capstyle="butt")
    text = axes.text(
        x + 0.5 * length, y + 0.02 * (high - low), f"{length:g} µm", color="white", ha="center", va="bottom"
    )
    text.set(path_effects=[withStroke(linewidth=2.0, foreground=INK)], fontsize=8.5, fontweight="bold")


def colour_bar(axes: Axes, name: str, values: NDArray[Any], label: str) -> None:
    """A horizontal bar; x and c_e have their own colours."""
    low, high = value_range(values)
    axes.imshow(colours_of(name, np.linspace(0.0, 1.0, 256))[None], extent=(low, high, 0.0, 1.0), aspect="auto")
    axes.set(yticks=[])
    axes.set_xlabel(label, fontsize=8.5, labelpad=2)
    axes.tick_params(labelsize=8)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.5)


def colours_of(name: str, share: Floats) -> Colours:
    """Colours of shares (0 to 1) of a field's range."""
    import matplotlib as mpl

    colours, low, high = MAPS[name]
    return np.asarray(mpl.colormaps[colours](low + (high - low) * share))
