"""The commands of `battsim`."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from battsim.cli.guard import TERMINATED, AnsweredError, Terminated, UsageError, guarded
from battsim.cli.options import ImageOptions
from battsim.cli.show import print_json, print_summary, terminal_progress

if TYPE_CHECKING:
    from battsim.case import Case
    from meshing.mesh import Mesh

_A_RECIPE = "a recipe"
TEMPLATES = ("half-cell", "p2d", "tortuosity")
MESH_SUFFIXES = (".vtu", ".vtk", ".msh")
PAIRS = "VALUE=NUMBER[,...]"
COMPARED = "Case or results directory, a timeseries*.csv inside one, or a measured CSV."

app = typer.Typer(
    name="battsim",
    help="What an electrode microstructure does to the cell: from a segmented image to tortuosity and a 3-D discharge.",
    epilog="Start with: battsim init mycase --template half-cell; battsim run mycase",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CaseDirectory = Annotated[Path, typer.Argument(metavar="DIR", help="Case directory, with its case.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
AllowOutside = Annotated[bool, typer.Option("--allow-outside", help="Let the case name files outside its directory.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove the results that are there and start anew.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint, as if the run had never been interrupted.")
]
WorkerCount = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=4096, help="Processes on this machine; default: one per processor."),
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS|FILE", help="A dask scheduler that is there, instead of --workers.")
]


def main() -> None:
    """Entry point of the `battsim` command."""
    signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated(TERMINATED)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"battsim {version('battsim')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """What an electrode microstructure does to the cell, from a segmented image to a 3-D discharge."""


@app.command(epilog="Example: battsim init mycase --template half-cell")
@guarded
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to make, or an empty one.")],
    template: Annotated[str, typer.Option(help=f"What to start from: {' or '.join(TEMPLATES)}.")] = TEMPLATES[0],
    as_json: AsJson = False,
) -> None:
    """Start a case: a directory with a commented case.toml that runs as it is."""
    from importlib.resources import files

    if template not in TEMPLATES:
        raise UsageError(f"--template {template} is not known; use one of {', '.join(TEMPLATES)}")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; name a directory")
    target = directory / "case.toml"
    if target.exists():
        raise UsageError(f"{directory} has a case.toml already, which is left as it is; name another directory")
    text = (files("battsim") / "templates" / template / "case.toml").read_text(encoding="utf-8")
    directory.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as stream:
        stream.write(text)
    if as_json:
        print_json({"directory": directory, "template": template, "files": ["case.toml"]})
        return
    typer.echo(f"{target} written; read it, then: battsim run {directory}")


@app.command(epilog="Example: battsim info image.tif")
@guarded
def info(
    file: Annotated[Path, typer.Argument(metavar="IMAGE", help="TIFF, npy or VTI file, or a folder of slices.")],
    as_json: AsJson = False,
) -> None:
    """Say what is in an image, and what to write about it in case.toml."""
    from battsim.cli.images import image_info, print_info

    found = image_info(file)
    if as_json:
        print_json(found)
    else:
        print_info(found)


@app.command(epilog="Example: battsim validate mycase")
@guarded
def validate(directory: CaseDirectory, allow_outside: AllowOutside = False, as_json: AsJson = False) -> None:
    """Check a case, and that its image is what the case says, without running it."""
    from battsim.case import assumed, images_of, load_case

    case = load_case(directory, allow_outside=allow_outside)
    if any(image.file is not None for image in images_of(case).values()):
        from battsim.run import check_images

        check_images(case)
    notes = assumed(case)
    if as_json:
        print_json({"valid": True, "kind": case.kind, "warnings": notes, "case": case.resolved()})
        return
    for note in notes:
        typer.echo(f"warning: {note}", err=True)
    typer.echo(f"{directory}: valid ({case.kind}; {_contents(case)})")


@app.command(
    epilog="Examples: battsim run mycase   |   battsim run mycase --resume   |   battsim run mycase "
    "--rates C/5,1C,2C --columns 3"
)
@guarded
def run(
    directory: CaseDirectory,
    resume: Resume = False,
    fresh: Fresh = False,
    rates: Annotated[
        str | None,
        typer.Option(metavar="RATE[,RATE]", help="Run the protocol at each of these rates, on one mesh: C/5,1C,2C."),
    ] = None,
    columns: Annotated[
        int, typer.Option(min=1, help="Run on so many columns of the image, or realisations of the recipe.")
    ] = 1,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Run a case; writes DIR/results. With --rates or --columns each run is a folder of results in there."""
    from battsim.cli.runs import run_directory, run_study_of

    _refuse_both(resume, fresh, "results")
    if rates is None and columns == 1:
        run_directory(directory, resume, fresh, allow_outside, as_json)
    else:
        run_study_of(directory, rates, columns, resume, fresh, allow_outside, as_json)


@app.command(
    epilog="Examples: battsim sweep mycase --dry-run   |   battsim sweep mycase --workers 4   |   battsim sweep mycase "
    "--resume   |   battsim sweep mycase --write-slurm > sweep.slurm"
)
@guarded
def sweep(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Case directory, with case.toml and sweep.toml.")],
    workers: WorkerCount = None,
    scheduler: Scheduler = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is done; the rest goes on, members that failed are tried again.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the members that are there and start anew.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show members, memory and time; run nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run more members than limits.members of sweep.toml.")] = False,
    write_slurm: Annotated[
        bool, typer.Option("--write-slurm", help="Print a script that runs the sweep on a SLURM cluster.")
    ] = False,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Run a case with many values of its keys, as DIR/sweep.toml says; writes DIR/runs."""
    from battsim.cli.sweeps import SweepOptions, print_slurm, sweep_directory

    _refuse_both(resume, fresh, "members")
    _refuse_two_places(workers, scheduler)
    if write_slurm:
        print_slurm(directory, workers)
        return
    options = SweepOptions(workers, scheduler, resume, fresh, dry_run, yes, allow_outside)
    sweep_directory(directory, options, as_json)


@app.command(
    epilog="Examples: battsim search mycase --dry-run   |   battsim search mycase --workers 4   |   battsim search "
    "mycase --resume --trials 100"
)
@guarded
def search(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Case directory, with case.toml and search.toml.")],
    trials: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Designs in all, instead of trials of search.toml.")
    ] = None,
    workers: WorkerCount = None,
    scheduler: Scheduler = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search that is there.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove the search that is there, with its members, and start anew.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show ranges, memory and time; run nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run more members than limits.members of search.toml.")] = False,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Look for the best design within limits, as DIR/search.toml says; writes DIR/search.html and DIR/runs."""
    from battsim.cli.searches import SearchOptions, search_directory

    _refuse_both(resume, fresh, "search")
    _refuse_two_places(workers, scheduler)
    options = SearchOptions(workers, scheduler, resume, fresh, dry_run, yes, allow_outside, trials=trials)
    search_directory(directory, options, as_json)


@app.command(
    epilog="Examples: battsim tortuosity image.tif --phase 0 --axis x   |   battsim tortuosity image.tif "
    "--conductivity 0=1,2=0.125 --porosity 2=0.5 --voxel-size '0.4 um' --error-bars   |   battsim tortuosity mycase"
)
@guarded
def tortuosity(
    target: Annotated[Path, typer.Argument(metavar="IMAGE|DIR", help="A segmented image, or a tortuosity case.")],
    phase: Annotated[str | None, typer.Option(metavar="VALUE[,VALUE]", help="Values that conduct, all alike.")] = None,
    conductivity: Annotated[str | None, typer.Option(metavar=PAIRS, help="Values that conduct, and how well.")] = None,
    porosity: Annotated[str | None, typer.Option(metavar=PAIRS, help="Share that counts in eps of tau; 1.")] = None,
    voxel_size: Annotated[str, typer.Option(help="Edge of a voxel, or three with commas, in array order.")] = "1 um",
    axis: Annotated[str, typer.Option(help="x, y, z or all.")] = "all",
    sides: Annotated[str, typer.Option(help="no-flux or periodic.")] = "no-flux",
    length: Annotated[
        str, typer.Option(help="Fixed values on the outer faces, or in the centres of voxels.")
    ] = "outer",
    tolerance: Annotated[float, typer.Option(help="Relative, on D_eff, of the iteration.")] = 1e-4,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of the solver.")] = 2,
    error_bars: Annotated[
        bool, typer.Option("--error-bars", help="What size of voxels and image bring as error.")
    ] = False,
    tensor: Annotated[
        str | None, typer.Option(help="The tensor, by its sides: periodic, mirrored, linear, uniform-flux.")
    ] = None,
    electrode: Annotated[
        bool, typer.Option("--electrode", help="Transport into a blocking electrode as well.")
    ] = False,
    fields: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write potential and flux there, for ParaView.")
    ] = None,
    fresh: Fresh = False,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Tortuosity factor of a phase along x, y and z."""
    options = ImageOptions(
        phase=phase,
        conductivity=conductivity,
        porosity=porosity,
        voxel_size=voxel_size,
        axis=axis,
        sides=sides,
        length=length,
        tolerance=tolerance,
        threads=threads,
        error_bars=error_bars,
        tensor=tensor,
        electrode=electrode,
        fields=fields,
    )
    if (target / "case.toml").is_file() or (target.is_dir() and phase is None and conductivity is None):
        if options.given:
            raise UsageError(f"{', '.join(options.given)}: goes with an image; {target} says it in case.toml")
        from battsim.cli.runs import run_directory

        run_directory(target, False, fresh, allow_outside, as_json, kind="tortuosity")
        return
    from battsim.cli.image_transport import image_tortuosity

    with terminal_progress() as progress:
        summary = image_tortuosity(target, options, progress)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    if not any(direction["percolates"] for direction in summary["directions"].values()):
        what = f"--phase {phase}" if phase is not None else f"--conductivity {conductivity}"
        raise AnsweredError(
            f"{target}: {what} does not percolate along {' or '.join(summary['directions'])}; "
            "choose another phase or axis, or check the segmentation"
        )


@app.command(epilog="Example: battsim mesh mycase --output mycase/mesh.vtu")
@guarded
def mesh(
    directory: CaseDirectory,
    output: Annotated[Path | None, typer.Option(help="File to write; default DIR/mesh.vtu.")] = None,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Build the mesh of a case, write it for ParaView, and count it."""
    from battsim.case import FullCellCase, ImageCase, load_case

    case = load_case(directory, allow_outside=allow_outside)
    if not isinstance(case, ImageCase | FullCellCase):
        raise UsageError(f'{directory} has model.kind = "{case.kind}", which has no image to mesh; battsim run it')
    place = directory / "mesh.vtu" if output is None else output
    if place.suffix.lower() not in MESH_SUFFIXES:
        raise UsageError(f"--output {place} must end in {', '.join(MESH_SUFFIXES)}")
    if not place.parent.is_dir():
        raise UsageError(f"--output {place}: {place.parent} is not a directory; make it first")
    from battsim.run import mesh_of
    from meshing.write import write_mesh

    built = mesh_of(case)
    write_mesh(place, built)
    counts = {"file": place, **_counts(built)}
    if as_json:
        print_json(counts)
    else:
        print_summary(counts)


@app.command(
    epilog="Examples: battsim compare mycase othercase   |   battsim compare mycase "
    "mycase/results/timeseries_p2d_image.csv   |   battsim compare mycase measured.csv --out gap"
)
@guarded
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help=COMPARED)],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same; every difference is B minus A.")],
    step: Annotated[
        int | None, typer.Option(min=0, help="Step of the protocol, from 0; default: the first that passes charge.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write gap.csv and gap.png there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how far one voltage curve is from another at equal capacity, and loss by loss.

    A measured CSV has voltage_V and capacity_Ah_m2, or voltage_V, time_s and current_A_m2, positive in discharge.
    """
    from battsim.cli.compare import compare as compared
    from battsim.cli.compare import print_comparison

    found = compared(a, b, step, out)
    if as_json:
        print_json(found)
    else:
        print_comparison(found)


def _refuse_both(resume: bool, fresh: bool, what: str) -> None:
    if resume and fresh:
        raise UsageError(f"--resume goes on with the {what} that --fresh removes; choose one")


def _refuse_two_places(workers: int | None, scheduler: str | None) -> None:
    if workers is not None and scheduler is not None:
        raise UsageError("--workers runs here, --scheduler where workers are already; choose one")


def _counts(mesh: Mesh) -> dict[str, Any]:
    """How many cells and faces there are of each kind."""
    return {
        "cells": mesh.n_cells,
        "faces": mesh.n_faces,
        "phases": {name: int((mesh.phase == k).sum()) for k, name in enumerate(mesh.phases)},
        "patches": {name: patch.cells.size for name, patch in mesh.patches.items()},
        "interfaces": {"|".join(pair.phases): pair.first.size for pair in mesh.interfaces},
        "interface_area_m2": {"|".join(pair.phases): float(pair.area.sum()) for pair in mesh.interfaces},
    }


def _contents(case: Case) -> str:
    """What a case is about, in a few words: its image, or its electrodes."""
    from battsim.case import ImageCase, P2DCase, images_of

    if isinstance(case, ImageCase):
        return f"image from {case.image.file or 'a recipe'}; phases {', '.join(case.image.phases)}"
    images = images_of(case)
    if images:
        return f"full cell; {'; '.join(f'{key} from {image.file or _A_RECIPE}' for key, image in images.items())}"
    assert isinstance(case, P2DCase)
    return f"{case.model.cell} cell; tables {', '.join(case.electrodes)}"
