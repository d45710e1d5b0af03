"""The protocol of a case in a homogenised cell, with its tables."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.places import LinePlaces
from battsim.post.profiles import Profiles
from battsim.run.checkpoint import Inputs, Progress
from battsim.run.protocol import Ended, Run, RunCase, run_protocol
from battsim.run.sinks import Report, open_sinks


def run_cell(
    case: RunCase,
    cell: P2DCell,
    results: Path,
    report: Report,
    inputs: Inputs,
    start: tuple[float, ...],
    one_c: float,
    *,
    progress: Progress | None = None,
    suffix: str = "",
    checkpoints: bool = True,
) -> Ended:
    """The end of a case's protocol in a homogenised cell; its tables are written on the way.

    Parameters
    ----------
    start
        Stoichiometry of each electrode.
    one_c
        What 1 C means, A.
    suffix, checkpoints
        As `open_sinks` takes them.
    """
    with ExitStack() as stack:
        sinks = open_sinks(
            results, stack, report, len(cell.electrodes), progress=progress, suffix=suffix, checkpoints=checkpoints
        )
        run = Run(
            case,
            inputs,
            cell,
            ParticleElimination(cell.network, cell.layout, cell.materials.salt),
            Profiles(cell, cell.network.line),
            LinePlaces(cell.network, cell.layout),
            sinks,
            one_c,
        )
        return run_protocol(run, start, progress)
