"""Fields on voxels and meshes become files: VTK image data with a time series beside them, and meshio formats.

Every file is written beside its destination and then moved there, so that a reader never meets half a file. Whatever
the disk refuses reaches the caller as OSError.
"""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meshing.errors import MeshError
from meshing.image import AXES
from meshing.mesh import Floats, Mesh

MESH_FORMATS = {".vtu": "vtu", ".vtk": "vtk42", ".msh": "gmsh"}
"""Suffixes of the binary formats that need no further package, and meshio's name for them."""
CORNERS = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))
"""Corners of a hexahedron along x, y, z in the order of VTK and gmsh."""
ROUNDING = 1e-9
"""Relative difference of lengths and volumes that is put down to rounding in their sums."""


def write_vti(
    path: Path,
    fields: Mapping[str, NDArray[Any]],
    voxel_size: tuple[float, float, float],
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write cell data on a voxel grid as VTK image data, zlib-compressed; array axes 0, 1, 2 become x, y, z.

    Parameters
    ----------
    path
        Destination, ending in .vti.
    fields
        Arrays of one shape (nx, ny, nz) by name and unit, such as "c_e [mol.m-3]"; NaN where a field is not defined.
        Vectors along x, y, z have shape (nx, ny, nz, 3). Floats are stored as float32, uint8 and bool as uint8; float32
        with x fastest in memory is written without a copy.
    voxel_size
        Edges of a voxel along x, y, z, m.
    origin
        Low corner of the grid, m.

    Raises
    ------
    MeshError
        For fields of other types, of no common shape, or a size that is no positive length.
    OSError
        Where the file cannot be written.
    """
    _check_fields(path, fields, voxel_size)
    with _replacing(path, (".vti",)) as part:
        _write_image(part, fields, voxel_size, origin)


def _check_fields(path: Path, fields: Mapping[str, NDArray[Any]], voxel_size: tuple[float, float, float]) -> None:
    shapes = {name: np.shape(values) for name, values in fields.items()}
    shape = next(iter(shapes.values()), ())[:3]
    if len(shape) != 3 or 0 in shape or not set(shapes.values()) <= {shape, (*shape, 3)}:
        raise MeshError(
            f"{path}: needs fields of one shape (nx, ny, nz), or (nx, ny, nz, 3) for vectors; the shapes given are "
            f"{shapes or 'none'}"
        )
    for name, values in fields.items():
        if values.dtype.kind != "f" and values.dtype not in (np.uint8, np.bool_):
            raise MeshError(
                f"{path}: field '{name}' has type {values.dtype}; allowed are floats, uint8 and bool. Convert it first"
            )
    if not all(np.isfinite(h) and h > 0 for h in voxel_size):
        raise MeshError(f"{path}: voxel_size must be positive lengths in metres, not {voxel_size}")


def _write_image(
    path: Path,
    fields: Mapping[str, NDArray[Any]],
    voxel_size: tuple[float, float, float],
    origin: tuple[float, float, float],
) -> None:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    image = vtkImageData()
    image.SetDimensions(*(n + 1 for n in next(iter(fields.values())).shape[:3]))
    image.SetSpacing(*voxel_size)
    image.SetOrigin(*origin)
    kept = []  # VTK borrows the memory of these arrays until the file is written
    for name, values in fields.items():
        stored = np.float32 if values.dtype.kind == "f" else np.uint8
        # VTK runs through x fastest, and through the components of a vector before that
        ordered = values.swapaxes(0, 2).astype(stored, order="C", copy=False)
        kept.append(ordered.reshape(-1, *ordered.shape[3:]))
        array = numpy_to_vtk(kept[-1])  # type: ignore[no-untyped-call]
        array.SetName(name)
        image.GetCellData().AddArray(array)
    scalars = [name for name, values in fields.items() if values.ndim == 3]
    vectors = [name for name, values in fields.items() if values.ndim == 4]
    if scalars:
        image.GetCellData().SetActiveScalars(scalars[0])
    if vectors:
        image.GetCellData().SetActiveVectors(vectors[0])
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    writer.SetCompressorTypeToZLib()
    writer.SetCompressionLevel(1)
    with _vtk_errors() as messages:
        done = writer.Write() == 1 and writer.GetErrorCode() == 0
    if messages or not done:
        raise OSError(f"{path}: VTK could not write the file ({'; '.join(messages[:1])}); check that the disk has room")


@contextmanager
def _vtk_errors() -> Iterator[list[str]]:
    """A list that holds, once the block has ended, what VTK would have printed on standard error in it."""
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

    messages: list[str] = []
    window, previous = vtkStringOutputWindow(), vtkOutputWindow.GetInstance()
    cutoff = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtkOutputWindow.SetInstance(previous)
        vtkLogger.SetStderrVerbosity(cutoff)
        text = window.GetOutput() or ""
        blocks = text.split("ERROR: In ")[1:]
        # the first line of a message says where in VTK's source, the rest what
        messages += [" ".join(block.split("\n", 1)[-1].split()) for block in blocks]


def append_pvd(series: Path, time_s: float, path: Path) -> None:
    """Add a file at a time to a ParaView series (.pvd), which is whole before and after; a new series is begun.

    Entries at this time or later are dropped first, so that a run that is resumed from an earlier time replaces what
    it computes again.

    Parameters
    ----------
    series
        The .pvd file.
    time_s
        Time of the file, s.
    path
        The file, already written; the series holds its name relative to the series' folder.

    Raises
    ------
    MeshError
        Where the file is not there, the time is no number, or the series is not one of ours.
    OSError
        Where the series cannot be written.
    """
    if not math.isfinite(time_s):
        raise MeshError(f"{series}: the time of '{path.name}' is {time_s}; it must be a number of seconds")
    if not path.is_file():
        raise MeshError(f"{series}: '{path}' is not there; write a file before it is added to the series")
    name = Path(os.path.relpath(path, series.parent)).as_posix()
    entries = [entry for entry in _read_pvd(series) if entry[0] < time_s]
    lines = [
        f'    <DataSet timestep="{time!r}" part="0" file="{html.escape(file)}"/>'
        for time, file in [*entries, (float(time_s), name)]
    ]
    text = [
        '<?xml version="1.0"?>',
        '<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">',
        "  <Collection>",
        *lines,
        "  </Collection>",
        "</VTKFile>",
    ]
    with _replacing(series, (".pvd",)) as part:
        part.write_text("\n".join(text) + "\n", encoding="utf-8")


def _read_pvd(series: Path) -> list[tuple[float, str]]:
    """Times and file names of a series, none where there is no file yet."""
    if not series.exists():
        return []
    text = series.read_text(encoding="utf-8")
    found = re.findall(r'<DataSet timestep="([^"]+)" part="0" file="([^"]+)"/>', text)
    if "</VTKFile>" not in text or len(found) != text.count("<DataSet"):
        raise MeshError(f"{series}: is no series written here; remove it, or choose another name")
    return [(float(time), html.unescape(file)) for time, file in found]


def write_mesh(path: Path, mesh: Mesh, cell_data: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write a structured mesh as hexahedra with its phase index, "phase", and further values per cell.

    Parameters
    ----------
    path
        Destination; .vtu (compressed), .vtk (legacy; blanks in names become underscores) or .msh (gmsh 4.1), all
        binary.
    mesh
        A mesh whose cells are boxes on a structured grid, graded or not.
    cell_data
        Values by name and unit, shape (n_cells,).

    Raises
    ------
    MeshError
        For another suffix, a mesh that is no grid of boxes, or values that do not fit its cells.
    OSError
        Where the file cannot be written.
    """
    import meshio

    data: dict[str, NDArray[Any]] = {"phase": mesh.phase, **(cell_data or {})}
    for name, values in data.items():
        if values.shape != (mesh.n_cells,) or (name == "phase" and values is not mesh.phase):
            raise MeshError(
                f"{path}: '{name}' has shape {values.shape}; each needs one value per cell, ({mesh.n_cells},), and a "
                f"name other than 'phase', which holds the phase index"
            )
    edges = grid_edges(mesh)
    with _replacing(path, tuple(MESH_FORMATS)) as part:
        kind = MESH_FORMATS[path.suffix.lower()]
        if kind == "vtk42":
            data = {name.replace(" ", "_"): values for name, values in data.items()}
        if kind == "gmsh":
            # gmsh wants an entity and a physical group for every cell: the phase, counted from 1
            group = mesh.phase.astype(np.int32) + 1
            data = {**data, "gmsh:physical": group, "gmsh:geometrical": group}
        solid = meshio.Mesh(
            _grid_points(edges),
            [("hexahedron", _hexahedra(mesh))],
            cell_data={name: [values] for name, values in data.items()},
        )
        meshio.write(part, solid, file_format=kind, binary=True)


def grid_edges(mesh: Mesh) -> tuple[Floats, Floats, Floats]:
    """Coordinates of the grid's planes along x, y, z, shapes (n + 1,), m; MeshError where the mesh is no such grid."""
    edges = [_axis_edges(mesh, axis) for axis in range(3)]
    sizes = [np.diff(planes)[mesh.position[:, axis]] for axis, planes in enumerate(edges)]
    if not np.allclose(sizes[0] * sizes[1] * sizes[2], mesh.volume, rtol=ROUNDING, atol=0.0):
        raise MeshError("the cells' volumes are not those of boxes, so the mesh cannot be written as hexahedra")
    return edges[0], edges[1], edges[2]


def _axis_edges(mesh: Mesh, axis: int) -> Floats:
    """Planes between the cells along one axis, from the distances between cell centres and faces."""
    across = mesh.position[mesh.neighbour, axis] != mesh.position[mesh.owner, axis]
    known = [
        (mesh.owner[across], mesh.owner_distance[across]),
        (mesh.neighbour[across], mesh.neighbour_distance[across]),
    ]
    patches = [mesh.patches[name] for end in ("low", "high") if (name := f"{AXES[axis]}-{end}") in mesh.patches]
    known += [(patch.cells, patch.distance) for patch in patches]
    cells = np.concatenate([cells for cells, _ in known])
    index, found = mesh.position[cells, axis], 2.0 * np.concatenate([distance for _, distance in known])
    sizes = np.full(mesh.grid_shape[axis], np.nan)
    sizes[index] = found
    if not np.allclose(sizes[index], found, rtol=ROUNDING, atol=0.0):
        raise MeshError(
            f"cells of one layer along {AXES[axis]} differ in size: the mesh is no structured grid of boxes"
        )
    if not np.all(sizes > 0.0):
        raise MeshError(
            f"{np.count_nonzero(~(sizes > 0.0))} of {sizes.size} layers along {AXES[axis]} have no face that tells "
            f"their size: the mesh is no structured grid of boxes, or lacks its patches {AXES[axis]}-low and "
            f"{AXES[axis]}-high"
        )
    edges = np.concatenate([[0.0], np.cumsum(sizes)])
    centre = 0.5 * (edges[1:] + edges[:-1])[mesh.position[:, axis]]
    start = mesh.centre[0, axis] - centre[0]
    if not np.allclose(mesh.centre[:, axis], centre + start, rtol=0.0, atol=ROUNDING * edges[-1]):
        raise MeshError(f"the cells' centres along {AXES[axis]} do not lie in layers: the mesh is no grid of boxes")
    planes: Floats = edges + start
    return planes


def _grid_points(edges: tuple[Floats, Floats, Floats]) -> Floats:
    """Points of the grid in C order, shape (n_points, 3), m."""
    points = np.empty((*(planes.size for planes in edges), 3))
    for k, planes in enumerate(np.ix_(*edges)):
        points[..., k] = planes
    return points.reshape(-1, 3)


def _hexahedra(mesh: Mesh) -> NDArray[np.int64]:
    """Point numbers of each cell's corners, shape (n_cells, 8)."""
    _, ny, nz = mesh.grid_shape
    i, j, k = mesh.position.T.astype(np.int64)
    return np.stack([((i + a) * (ny + 1) + j + b) * (nz + 1) + k + c for a, b, c in CORNERS], axis=1)


@contextmanager
def _replacing(path: Path, allowed: tuple[str, ...]) -> Iterator[Path]:
    """A name in the same folder to write to, moved to `path` when the block ends well and removed otherwise."""
    if path.suffix.lower() not in allowed:
        raise MeshError(
            f"{path}: the suffix '{path.suffix}' names no format written here; allowed: {', '.join(allowed)}"
        )
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        part.touch()  # a missing folder or permission shows here, as OSError with its reason
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
