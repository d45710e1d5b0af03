"""Transport through an image as files: fields of each axis for ParaView, and a table slice by slice."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.output.fields import SERIES
from meshing.image import Axis
from meshing.write import append_pvd, write_vti

Floats = NDArray[np.float64]

UNITS = {"potential": "1", "flux": "1", "flux_magnitude": "1"}
"""Fields and their units: 1 at the low end to 0 at the high end, and flux over the mean flux through the image."""
COLUMNS = ("axis", "position_m", "porosity", "potential", "flux")
SLICES = "slices.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Means over each slice normal to the transport axis, shape (n,).

    Attributes
    ----------
    position
        Centre, from the low end of the image, m.
    porosity
        Share of the slice that counts in eps of tau.
    potential
        Of the voxels that have one; NaN where none has.
    flux
        Per area of the whole cross-section, conductivity / m: in 1/m where conductivities are relative, in S/m2 (A/m2
        per volt) where they are in S/m.
    """

    position: Floats
    porosity: Floats
    potential: Floats
    flux: Floats


def write_transport(
    directory: Path,
    axis: Axis,
    fields: Mapping[str, NDArray[Any]],
    phase: NDArray[np.uint8],
    voxel_size: tuple[float, float, float],
    *,
    number: int,
) -> Path:
    """Write the fields of one axis, and add them to the series in the same directory; returns their file.

    Parameters
    ----------
    directory
        Made where it is missing.
    fields
        Among potential and flux_magnitude, shape (nx, ny, nz), and flux, shape (nx, ny, nz, 3), by name.
    phase
        Phase number of each voxel, written beside them.
    number
        0 for the first axis, which begins the series anew, 1 for the next: what ParaView takes for the time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"transport_{axis}.vti"
    named = {f"{name} [{UNITS[name]}]": values for name, values in fields.items()}
    write_vti(path, {**named, "phase": phase}, voxel_size)
    append_pvd(directory / SERIES, float(number), path)
    return path


def write_slices(path: Path, slices: Mapping[Axis, Slices]) -> None:
    """Write one row per slice of each axis; numbers have 10 significant digits, NaN becomes an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for axis, found in slices.items():
            for row in zip(found.position, found.porosity, found.potential, found.flux, strict=True):
                writer.writerow([axis, *(f"{value:.10g}" if np.isfinite(value) else "" for value in row)])
