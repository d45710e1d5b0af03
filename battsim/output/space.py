"""A view in space of the lithium in the active material, with a corner cut away."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from battsim.output.pictures import (
    DPI,
    LABELS,
    PHASES,
    SavedFields,
    axes_at,
    colour_bar,
    colours_of,
    field_sections,
    figure_of,
    in_cell_axes,
    put_title,
    read_fields,
    value_range,
)
from meshing.image import Axis

Floats = NDArray[np.float64]
Kind = Literal["render", "sections"]

LOGGER = logging.getLogger(__name__)
RENDER_SECONDS = 300
"""After which a view is given up."""
LARGEST_RENDERED = 3_000_000
"""Voxels; larger images are thinned out."""
SMOOTHING = 0.7
"""Of the surface, voxels."""
CUT = (0.45, 0.45, 0.55)
"""Where the corner is cut away: collector's end, front and top, as shares of the extent."""
VIEW = (0.5, -1.0, 0.7)
"""Direction in which the camera stands: the separator is on the left, the collector on the right."""
WINDOW = (1800, 1200)
"""Pixels."""
PROGRAM = "import sys; from battsim.output.space import draw; draw(*sys.argv[1:])"


def render_field(
    path: Path,
    vti: Path,
    *,
    phases: Sequence[str] = PHASES,
    through_plane: Axis = "x",
    flipped: bool = False,
    title: str = "",
) -> Kind:
    """Draw the active material in space, coloured by its lithium; sections in its place where nothing can be rendered.

    VTK renders in a process of its own, because without a graphics library some of its versions end the process.

    Parameters
    ----------
    path
        Picture; the suffix names the format.
    vti, phases, through_plane, flipped, title
        As `field_sections`.

    Returns
    -------
    "render" or "sections"
        Which picture was drawn; the log says why it is sections.

    Raises
    ------
    CaseError
        Where the file lacks x or c_e.
    """
    fields = in_cell_axes(read_fields(vti), through_plane, flipped)
    with tempfile.TemporaryDirectory() as folder:
        pixels = Path(folder) / "view.png"
        trouble = _rendered(vti, pixels, through_plane, flipped)
        if trouble is None:
            _compose(path, pixels, fields, title)
            return "render"
    LOGGER.warning("%s: no view in space, since VTK could not render (%s); sections are drawn instead", path, trouble)
    field_sections(path, vti, phases=phases, through_plane=through_plane, flipped=flipped, title=title)
    return "sections"


def _rendered(vti: Path, pixels: Path, through_plane: Axis, flipped: bool) -> str | None:
    """None where the view was rendered, else what went wrong."""
    command = [sys.executable, "-c", PROGRAM, str(vti), str(pixels), through_plane, "flipped" if flipped else ""]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"no picture after {RENDER_SECONDS} s"
    if done.returncode == 0 and pixels.is_file():
        return None
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return said[-1] if said else f"exit code {done.returncode}"


def _compose(path: Path, pixels: Path, fields: SavedFields, title: str) -> None:
    """The rendered view with a colour bar and a title."""
    from matplotlib.image import imread

    view = _trimmed(imread(pixels))
    width = 6.4
    height = width * view.shape[0] / view.shape[1]
    above = 0.4 if title else 0.1
    with figure_of((width + 0.2, height + 0.75 + above), constrained=False) as figure:
        axes = axes_at(figure, (0.1, 0.75, width, height))
        axes.imshow(view, interpolation="antialiased")
        axes.set_axis_off()
        for x, name, side in (
            (0.02, "\N{LEFTWARDS ARROW} separator", "left"),
            (0.98, "collector \N{RIGHTWARDS ARROW}", "right"),
        ):
            figure.text(x, 0.5 / (height + 0.75 + above), name, ha=side, va="center", fontsize=8.5)
        colour_bar(axes_at(figure, (0.25 * width, 0.45, 0.5 * width, 0.1)), "x", fields.values["x"], LABELS["x"])
        put_title(figure, title)
        figure.savefig(path, dpi=DPI)


def _trimmed(view: NDArray[Any]) -> NDArray[Any]:
    """The view without its white margins."""
    inked = np.any(view[..., :3] < 0.995, axis=-1)
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def draw(vti: str, pixels: str, through_plane: Axis, flipped: str) -> None:
    """Render the lithium of a saved time to a .png file; the arguments are texts, as another process passes them."""
    import pyvista as pv
    from matplotlib.colors import ListedColormap

    fields = in_cell_axes(read_fields(Path(vti)), through_plane, bool(flipped))
    grid, extent = _smooth_grid(fields)
    solid = _cut_open(grid, extent)
    plotter: Any = pv.Plotter(off_screen=True, window_size=list(WINDOW))
    plotter.set_background("white")
    plotter.add_mesh(
        solid,
        scalars="x",
        cmap=ListedColormap(colours_of("x", np.linspace(0.0, 1.0, 256))),
        clim=value_range(fields.values["x"]),
        show_scalar_bar=False,
        smooth_shading=True,
        split_sharp_edges=True,
        feature_angle=50.0,
        ambient=0.4,
        diffuse=0.65,
        specular=0.1,
    )
    box = pv.Box((0.0, extent[0], 0.0, extent[1], 0.0, extent[2]))
    plotter.add_mesh(box, style="wireframe", color="#b0b0b0", line_width=1.5)
    plotter.camera.focal_point = 0.5 * extent
    plotter.camera.position = 0.5 * extent + 2.0 * extent.max() * np.array(VIEW)
    plotter.camera.up = (0.0, 0.0, 1.0)
    plotter.camera.view_angle = 20.0
    plotter.reset_camera()
    plotter.enable_anti_aliasing("ssaa")
    plotter.screenshot(pixels)


def _smooth_grid(fields: SavedFields) -> tuple[Any, Floats]:
    """Points in the voxels' centres with "inside", 1 in the active material and smoothed, and "x"; and the extent, µm.

    x goes on past the surface with the value of the nearest active voxel, so that no colour is mixed there.
    """
    import pyvista as pv
    from scipy import ndimage

    x = fields.values["x"]
    every = int(np.ceil((x.size / LARGEST_RENDERED) ** (1.0 / 3.0)))
    edges = 1e6 * every * np.asarray(fields.voxel_size)
    x = x[::every, ::every, ::every]
    inside = np.isfinite(x)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    smooth = ndimage.gaussian_filter(inside.astype(np.float32), SMOOTHING, mode="nearest")
    # one layer outside closes the surface at the image's faces
    values = {"inside": np.pad(smooth, 1), "x": np.pad(x[tuple(nearest)].astype(np.float32), 1, mode="edge")}
    grid = pv.ImageData(dimensions=values["x"].shape, spacing=edges, origin=-0.5 * edges)
    for name, array in values.items():
        grid.point_data[name] = array.ravel(order="F")
    return grid, edges * x.shape


def _cut_open(grid: Any, extent: Floats) -> Any:
    """Surface of the active material without the corner at the collector, in front, on top."""
    x, y, z = np.asarray(CUT) * extent
    whole = grid.clip_scalar(scalars="inside", value=0.5, invert=False)
    far = 2.0 * extent
    opened = whole.clip_box((x, far[0], -far[1], y, z, far[2]), invert=True)
    return opened.extract_geometry()
