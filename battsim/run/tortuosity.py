"""A tortuosity case: effective transport of the conducting phases along the asked axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from battsim.case import TortuosityCase
from battsim.errors import ImpossibleError
from battsim.output.record import write_json
from battsim.post.transport import effective_transport
from battsim.run.build import cell_image, fine_image
from battsim.run.coarsening import coarsening, coarsening_warnings
from meshing.measure import measure_phases


def run_tortuosity(case: TortuosityCase, results: Path, report: Callable[[float, str], None]) -> dict[str, Any]:
    """Summary of a tortuosity case; D_eff is relative to the most conductive phase, the bulk.

    Raises
    ------
    ImpossibleError
        Where the conducting phases percolate along none of the asked axes.
    """
    report(0.0, "image")
    fine = fine_image(case)
    image = cell_image(case, fine)
    transport = case.transport
    phases = measure_phases(image)
    measured = {
        "voxel_size_m": image.voxel_size,
        "shape": image.shape,
        "phases": {name: asdict(found) for name, found in phases.items()},
    }
    coarser = coarsening(case, fine)
    write_json(results / "microstructure.json", measured | coarser)
    directions = {}
    for number, axis in enumerate(transport.axes):
        report((number + 0.5) / (len(transport.axes) + 0.5), f"transport along {axis}")
        direction = effective_transport(
            image,
            transport.conductivity,
            axis=axis,
            porosity=transport.porosity,
            bulk=max(transport.conductivity.values()),
            length=transport.length,
            tolerance=transport.tolerance,
        )
        directions[axis] = asdict(direction)
    if not any(direction["percolates"] for direction in directions.values()):
        raise ImpossibleError(
            f"{' + '.join(transport.conductivity)} percolates along none of {', '.join(transport.axes)}: no voxel path "
            "joins opposite faces; check [image] labels and crop, or let more phases conduct in "
            "[transport] conductivity"
        )
    report(1.0, "done")
    porosity = sum(transport.porosity[name] * image.volume_fraction(name) for name in transport.conductivity)
    return {
        "kind": "tortuosity",
        "porosity": porosity,
        "directions": directions,
        "warnings": coarsening_warnings(coarser),
    }
