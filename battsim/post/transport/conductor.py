"""What conducts in an image: conductivities by phase or by voxel, and what each voxel counts in the porosity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CaseError
from meshing.image import VoxelImage

Floats = NDArray[np.float64]
Conductivity = Mapping[str, float] | NDArray[np.floating[Any]]
"""By phase name, or of each voxel, shape (nx, ny, nz); 0 or more, phases not named insulate."""


@dataclass(frozen=True, slots=True, eq=False)
class Conductor:
    """An image as transport sees it.

    Attributes
    ----------
    voxels
        Shape (nx, ny, nz): phase numbers, uint8, or conductivities of the voxels, float32 or float64.
    conductivity
        Of each phase, shape (256,); None where `voxels` are conductivities.
    weight
        What a voxel of each phase counts in eps, shape (256,); conducting voxels of conductivities count as phase 1.
    voxel_size
        Edge lengths along x, y, z, m.
    """

    voxels: NDArray[Any]
    conductivity: Floats | None
    weight: Floats
    voxel_size: tuple[float, float, float]

    @property
    def alike(self) -> bool:
        """Whether all conducting voxels have one conductivity, and are cubes."""
        k = self.conductivity
        return k is not None and np.unique(k[k > 0]).size == 1 and len(set(self.voxel_size)) == 1

    @property
    def conducts(self) -> NDArray[np.bool_] | None:
        """Which phases conduct, shape (256,); None where `voxels` are conductivities."""
        return None if self.conductivity is None else self.conductivity > 0


def conductor(image: VoxelImage, conductivity: Conductivity, porosity: Mapping[str, float] | None = None) -> Conductor:
    """The image as transport sees it.

    Raises
    ------
    CaseError
        Where a phase, conductivity or porosity is not allowed.
    """
    if isinstance(conductivity, Mapping):
        k = phase_conductivity(image, conductivity)
        table, weight = np.zeros(256), np.zeros(256)
        table[: k.size], weight[: k.size] = k, phase_weights(image, k, porosity or {})
        return Conductor(image.labels, table, weight, image.voxel_size)
    if porosity:
        raise CaseError("transport.porosity goes with conductivities by phase; leave it out, or give them by phase")
    values = _voxel_conductivity(image, conductivity)
    weight = np.zeros(256)
    weight[1] = 1.0
    return Conductor(values, None, weight, image.voxel_size)


def phase_conductivity(image: VoxelImage, conductivity: Mapping[str, float]) -> Floats:
    """Conductivity of each phase in the image's order, shape (n_phases,). Raises CaseError as `conductor`."""
    k = np.zeros(len(image.phases))
    for name, value in conductivity.items():
        k[_index(image, name, "conductivity")] = value
        if not (isfinite(value) and value >= 0):
            raise CaseError(f"transport.conductivity.{name} = {value}; allowed are finite numbers of 0 or more")
    if not k.any():
        raise CaseError(
            f"transport.conductivity = {dict(conductivity)}: nothing conducts; "
            f"give at least one of {', '.join(image.phases)} a conductivity above 0"
        )
    return k


def phase_weights(image: VoxelImage, conductivity: Floats, porosity: Mapping[str, float]) -> Floats:
    """What a voxel of each phase counts in eps, shape (n_phases,). Raises CaseError as `conductor`."""
    weight = (conductivity > 0).astype(float)
    for name, value in porosity.items():
        index = _index(image, name, "porosity")
        if not 0 < value <= 1:
            raise CaseError(f"transport.porosity.{name} = {value}; allowed are numbers above 0 and up to 1")
        if conductivity[index] == 0:
            raise CaseError(
                f"transport.porosity.{name} = {value}, but the phase does not conduct; "
                f"give it a conductivity above 0, or delete its porosity"
            )
        weight[index] = value
    return weight


def _voxel_conductivity(image: VoxelImage, conductivity: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(conductivity)
    if values.shape != image.shape or values.dtype.kind != "f":
        raise CaseError(
            f"conductivity is an array of {values.dtype} of shape {values.shape}; the image of shape {image.shape} "
            "needs floating-point numbers, one for each voxel"
        )
    if not (values.min() >= 0 and values.max() < np.inf):
        bad = np.argwhere(~((values >= 0) & (values < np.inf)))[0]
        raise CaseError(
            f"conductivity of voxel {tuple(int(n) for n in bad)} is {values[tuple(bad)]}; "
            "allowed are finite numbers of 0 or more"
        )
    if not values.any():
        raise CaseError("conductivity is 0 in all voxels: nothing conducts; give some of them a value above 0")
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _index(image: VoxelImage, name: str, key: str) -> int:
    if name not in image.phases:
        raise CaseError(
            f"transport.{key}.{name}: the image has no phase named '{name}'; choose from {', '.join(image.phases)}"
        )
    return image.index(name)
