"""A tortuosity case: effective transport of the conducting phases along the asked axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from battsim.case import TortuosityCase
from battsim.errors import ImpossibleError
from battsim.output.record import MICROSTRUCTURE_FILE, write_json
from battsim.post.transport.summary import TransportRequest, percolates, transport_summary
from battsim.run.build import cell_image, fine_image
from battsim.run.coarsening import coarsening, coarsening_warnings
from battsim.run.transport_files import TransportFiles
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
    phases = measure_phases(image)
    measured = {
        "voxel_size_m": image.voxel_size,
        "shape": image.shape,
        "phases": {name: asdict(found) for name, found in phases.items()},
    }
    coarser = coarsening(case.image.coarsen, fine)
    write_json(results / MICROSTRUCTURE_FILE, measured | coarser)
    request = _request(case)
    files = TransportFiles(results / "fields", results, case.output.fields, image, request)
    summary = transport_summary(image, request, report=report, keep=files.save if case.output.fields else None)
    if not percolates(summary):
        raise ImpossibleError(
            f"{' + '.join(request.conductivity)} percolates along none of {', '.join(summary['directions'])}: no voxel "
            "path joins opposite faces; check [image] labels and crop, or let more phases conduct in "
            "[transport] conductivity"
        )
    files.finish(report, case.name)
    return summary | {"warnings": [*coarsening_warnings(coarser), *summary["warnings"]]}


def _request(case: TortuosityCase) -> TransportRequest:
    """What the case asks of its image."""
    transport = case.transport
    return TransportRequest(
        conductivity=transport.conductivity,
        porosity=transport.porosity,
        axes=transport.axes,
        sides=transport.sides,
        length=transport.length,
        tolerance=transport.tolerance,
        threads=case.solver.threads,
        tensor=transport.tensor or None,
        electrode=transport.electrode,
        separator=case.image.separator_side,
        representative=transport.representative,
        discretisation=transport.discretisation,
    )
