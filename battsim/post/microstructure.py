"""What the electrode is made of: the content of microstructure.json, in case axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from battsim.models.resolved.network import ACTIVE, BINDER, PORE
from battsim.models.resolved.parameters import HalfCellParameters, Solids
from battsim.models.resolved.potentials import LeftOut
from battsim.post.transport import effective_transport
from meshing.connect import AlongAxes, End, touching
from meshing.image import AXES, Orientation, VoxelImage
from meshing.measure import measure_active, measure_interfaces, measure_phases
from meshing.mesh import Mesh


def microstructure(
    image: VoxelImage,
    mesh: Mesh,
    parameters: HalfCellParameters | Solids,
    *,
    orientation: Orientation | None = None,
    left_out: Sequence[LeftOut] = (),
    tolerance: float = 1e-4,
) -> dict[str, Any]:
    """Volume fractions, percolation, areas, sizes, effective transport, and what the model left out.

    Parameters
    ----------
    image
        In cell axes: x runs from the separator to the collector.
    mesh
        Its mesh, with the interfaces of the active material.
    parameters
        Transport factor and porosity of the binder, conductivities of the solids.
    orientation
        How the case's axes were turned into cell axes; the result is in case axes. By default they are the same.
    left_out
        Cells without a determined potential, as the model reports them.
    tolerance
        Relative, on the effective transport.

    Raises
    ------
    NotConvergedError
        Where an effective transport did not reach the tolerance.
    """
    orientation = orientation or Orientation()
    permeable = (PORE, BINDER) if parameters.binder.transport == "nanoporous" else (PORE,)
    phases = {name: asdict(measure) for name, measure in measure_phases(image).items()}
    for measure in phases.values():
        along = [measure["percolating_fraction"][axis] for axis in AXES]
        measure["percolating_fraction"] = asdict(AlongAxes(*_in_case_axes(along, orientation)))
    return {
        "voxel_size_m": _in_case_axes(image.voxel_size, orientation),
        "shape": _in_case_axes(image.shape, orientation),
        "phases": phases,
        "interfaces": {name: asdict(measure) for name, measure in measure_interfaces(image, mesh).items()},
        "active": asdict(measure_active(image, mesh, ionic=permeable)),
        "transport": {
            "ionic": _ionic(image, parameters, permeable, tolerance),
            "electronic": _electronic(image, parameters, tolerance),
        },
        "removed": [asdict(part) for part in left_out],
    }


def _ionic(
    image: VoxelImage, parameters: HalfCellParameters | Solids, permeable: Sequence[str], tolerance: float
) -> dict[str, float | None]:
    """Through-plane transport factor b = D_eff / D of the electrolyte, its porosity and tortuosity factor eps / b.

    eps counts the electrolyte that the separator reaches: pore, and the nano-pores of the binder.
    """
    binder = parameters.binder.ionic
    b = {name: value for name, value in ((PORE, 1.0), (BINDER, binder.b)) if name in permeable and name in image.phases}
    return _transport(image, b, {PORE: 1.0, BINDER: binder.porosity}, 1.0, "low", tolerance)


def _electronic(
    image: VoxelImage, parameters: HalfCellParameters | Solids, tolerance: float
) -> dict[str, float | None]:
    """Through-plane conduction: sigma_eff (S/m), b = sigma_eff over the most conductive solid's, eps and eps / b.

    eps is the volume fraction of the solids that the collector reaches.
    """
    known = ((ACTIVE, parameters.active.conductivity), (BINDER, parameters.binder.conductivity))
    sigma = {name: value for name, value in known if name in image.phases and image.volume_fraction(name) > 0.0}
    bulk = max(sigma.values())
    found = _transport(image, sigma, {}, bulk, "high", tolerance)
    assert found["b"] is not None
    return {**found, "sigma_eff_S_m": found["b"] * bulk, "sigma_bulk_S_m": bulk}


def _transport(
    image: VoxelImage,
    conductivity: Mapping[str, float],
    porosity: Mapping[str, float],
    bulk: float,
    end: End,
    tolerance: float,
) -> dict[str, float | None]:
    """b, eps and tau = eps / b along the cell's x axis; eps of what reaches the named end. No path: b = 0, tau None."""
    direction = effective_transport(image, conductivity, axis="x", bulk=bulk, tolerance=tolerance)
    reached = touching(image.mask(*conductivity), 0, (end,))
    counts = np.bincount(image.labels[reached], minlength=len(image.phases))
    eps = float(sum(porosity.get(name, 1.0) * counts[image.index(name)] for name in conductivity)) / image.labels.size
    return {
        "b": direction.D_eff,
        "tau": eps / direction.D_eff if direction.percolates else None,
        "eps": eps,
        "error_estimate": direction.error_estimate,
    }


def _in_case_axes(values: Sequence[Any], orientation: Orientation) -> list[Any]:
    """One value per cell axis, in the order of the case's axes."""
    out = list(values[1:])
    out.insert(orientation.axis, values[0])
    return out
