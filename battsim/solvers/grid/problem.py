"""The linear system of steady diffusion on a grid of voxels, as data.

Each voxel i of the grid that conducts has a potential u_i with

    sum over its six faces of g (u_neighbour - u_i) + source_i = 0,
    g = face_factor[axis] / (r_i + r_neighbour),

r the half resistance 1/(2 k) of a voxel of conductivity k, face_factor the face's area over the distance of the two
centres. What stands behind an outer face is said axis by axis: nothing (closed), the voxel at the other end (periodic,
where the potential rises by `rise` each time the end is crossed), or a fixed potential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from battsim.solvers.grid.layout import plain

Double = NDArray[np.float64]
_TYPES = np.uint8, np.float32, np.float64


def half_resistance(voxels: NDArray[Any], table: Double | None) -> Double:
    """Half resistance 1/(2 k) of voxels, infinite where they insulate; voxels without a table are conductivities."""
    if table is not None:
        r: Double = table[voxels]
        return r
    with np.errstate(divide="ignore"):
        return 0.5 / np.asarray(voxels, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A fixed potential behind the outer faces at one end of an axis.

    Attributes
    ----------
    value
        Potential: a number, or shape of the end (the two other axes in order).
    conductance
        Between each voxel at the end and the potential, shape of the end, same unit as the faces' g; 0 where there is
        none. None: half a voxel, face_factor / r.
    """

    value: float | Double
    conductance: Double | None = None


AxisEnds = Literal["closed", "periodic"] | tuple[Fixed, Fixed]


@dataclass(frozen=True, slots=True, eq=False)
class GridProblem:
    """Steady diffusion on a grid.

    Attributes
    ----------
    voxels
        Shape (nx, ny, nz): either numbers of phases, uint8, for which `half_resistance` holds r, or conductivities
        (float32 or float64, 0 insulates). Kept as given, or as a copy where that is not contiguous and writable.
    half_resistance
        r of each phase, shape (256,), infinite where it insulates; None where `voxels` are conductivities.
    face_factor
        Face area over the distance of two centres, for faces across x, y, z.
    ends
        Per axis: "closed", "periodic", or the fixed potentials at its low and high end.
    rise
        Per axis, by how much u rises each time a periodic grid is crossed towards its high end; 0 elsewhere.
    source
        Shape (nx, ny, nz), positive into the voxel, same unit as g u; 0 in insulating voxels; None for none.

    A cluster of conducting voxels without any fixed potential is determined up to a constant, and only if its sources
    sum to zero.
    """

    voxels: NDArray[Any]
    half_resistance: Double | None
    face_factor: tuple[float, float, float]
    ends: tuple[AxisEnds, AxisEnds, AxisEnds]
    rise: tuple[float, float, float] = (0.0, 0.0, 0.0)
    source: Double | None = None

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.size == 0:
            raise ValueError(f"a grid has three axes of at least one voxel, not shape {self.voxels.shape}")
        object.__setattr__(self, "voxels", plain(self.voxels))
        if self.voxels.dtype not in _TYPES:
            raise ValueError(
                f"voxels have type {self.voxels.dtype}; phases are uint8, conductivities float32 or float64"
            )
        if (self.half_resistance is None) == (self.voxels.dtype == np.uint8):
            raise ValueError("half_resistance goes with phase numbers of type uint8, and with nothing else")
        if self.half_resistance is not None and self.half_resistance.shape != (256,):
            raise ValueError(f"half_resistance has shape {self.half_resistance.shape}; a table of 256 is needed")
        if self.half_resistance is not None and not (self.half_resistance > 0).all():
            raise ValueError("half_resistance must be above 0 everywhere, infinite where a phase insulates")
        if not all(np.isfinite(c) and c > 0 for c in self.face_factor):
            raise ValueError(f"face factors must be finite and above 0, not {self.face_factor}")
        if any(rise != 0 and end != "periodic" for rise, end in zip(self.rise, self.ends, strict=True)):
            raise ValueError(f"rise = {self.rise}, but only a periodic axis can have one: {self.ends}")
        if self.source is not None and self.source.shape != self.voxels.shape:
            raise ValueError(f"source has shape {self.source.shape}, the grid {self.voxels.shape}")
