"""The command line: the only place that prints, exits or reads arguments.

Heavy packages are imported inside the commands, so that `battsim --help` answers at once.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from battsim.errors import BattsimError, ImpossibleError
from meshing.errors import ImageError, LabelError, MeshError

if TYPE_CHECKING:
    from battsim.case import Case

P = ParamSpec("P")
Progress = Callable[[float, str], None]

DONE, USAGE, INVALID, UNREADABLE, IMPOSSIBLE, RESOURCES, BUG = 0, 2, 3, 4, 5, 7, 70
INTERRUPTED, TERMINATED = 130, 143
RESULTS = "results"
TEMPLATES = ("half-cell", "tortuosity")

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
Resume = Annotated[bool, typer.Option("--resume", help="Go on from a checkpoint (not available in this version).")]


class UsageError(Exception):
    """Arguments that do not fit together, or do not fit what is on the disk."""


class AnsweredError(ImpossibleError):
    """No physical solution, where standard output has the full answer already."""


class Terminated(SystemExit):
    """SIGTERM as an exception, so that a run writes its record before the process ends."""


def main() -> None:
    """Entry point of the `battsim` command."""
    signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated(TERMINATED)


def _guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with every error as a message and an exit code, never a traceback."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (Exception, KeyboardInterrupt, Terminated) as error:
            if isinstance(error, typer.Exit):
                raise
            message, code = _explain(error, kwargs)
            if kwargs.get("as_json") and not isinstance(error, AnsweredError):
                _print_json({"error": message, "exit_code": code})
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(code) from None

    return guarded


def _explain(error: BaseException, arguments: Mapping[str, Any]) -> tuple[str, int]:
    """Message and exit code of an error."""
    match error:
        case BattsimError():
            return str(error), error.exit_code
        case LabelError():
            return str(error), INVALID
        case ImageError():
            return str(error), UNREADABLE
        case MeshError():
            return str(error), IMPOSSIBLE
        case UsageError():
            return str(error), USAGE
        case KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case Terminated():
            return "terminated", TERMINATED
        case MemoryError():
            return f"out of memory ({error or 'the system gave no more'}); crop or coarsen the image", RESOURCES
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"no space left on the disk for {error.filename}; free some, or run elsewhere", RESOURCES
        case OSError(filename=str() | Path()):
            return f"{error.filename}: {error.strerror}; check that it exists and that you may use it", UNREADABLE
        case _:
            place = _write_traceback(error, arguments.get("directory"))
            return f"a bug of ours: {type(error).__name__}: {error}; please report it with {place}", BUG


def _write_traceback(error: BaseException, directory: Path | None) -> Path:
    """Puts the traceback into the run's log where there is one, otherwise into a file of its own."""
    text = "".join(traceback.format_exception(error))
    if directory is not None and (directory / RESULTS).is_dir():
        log = directory / RESULTS / "run.log"
        with log.open("a", encoding="utf-8") as stream:
            stream.write(text)
        return log
    handle, name = tempfile.mkstemp(prefix="battsim-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)


def _print_json(content: object) -> None:
    """The one object of `--json`; what is not finite becomes null."""
    from battsim.output.record import plain

    typer.echo(json.dumps(plain(content), ensure_ascii=False, allow_nan=False))


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
@_guarded
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
        _print_json({"directory": directory, "template": template, "files": ["case.toml"]})
        return
    typer.echo(f"{target} written; read it, then: battsim run {directory}")


@app.command(epilog="Example: battsim validate mycase")
@_guarded
def validate(directory: CaseDirectory, allow_outside: AllowOutside = False, as_json: AsJson = False) -> None:
    """Check a case, and that its image is what the case says, without running it."""
    from battsim.case import load_case

    case = load_case(directory, allow_outside=allow_outside)
    if case.image_file is not None:
        from battsim.run import build_image

        build_image(case)
    if as_json:
        _print_json({"valid": True, "kind": _kind(case), "case": case.resolved()})
        return
    source = case.image.file or "a recipe"
    typer.echo(f"{directory}: valid ({_kind(case)}; image from {source}; phases {', '.join(case.image.phases)})")


@app.command(epilog="Example: battsim run mycase --fresh")
@_guarded
def run(
    directory: CaseDirectory,
    resume: Resume = False,
    fresh: Fresh = False,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Run a case; writes DIR/results."""
    if resume:
        raise UsageError("--resume is not available in this version: no checkpoints are written; use --fresh")
    _run(directory, fresh, allow_outside, as_json)


def _run(directory: Path, fresh: bool, allow_outside: bool, as_json: bool, kind: str | None = None) -> None:
    """Loads, runs and reports a case; with `kind`, only of that kind."""
    from battsim.case import load_case

    case = load_case(directory, allow_outside=allow_outside)
    if kind is not None and _kind(case) != kind:
        raise UsageError(f'{directory} has model.kind = "{_kind(case)}", not "{kind}"; use battsim run {directory}')
    results = directory / RESULTS
    _make_room(results, fresh)
    from battsim.run import run_case

    with _progress(results) as progress:
        summary = run_case(case, results=results, progress=progress)
    if as_json:
        _print_json(summary)
        return
    _print_summary(summary)
    typer.echo(f"results in {results}")


def _make_room(results: Path, fresh: bool) -> None:
    """An empty place for results; refuses to replace a finished or a running one without --fresh."""
    from battsim.output.record import clear, state_of

    state = state_of(results)
    if not fresh and state == "done":
        raise UsageError(f"{results} holds a finished run, which is left as it is; --fresh removes it and starts anew")
    if not fresh and state == "running":
        raise UsageError(
            f"{results} belongs to a run that is under way, or was killed; --fresh removes it and starts anew"
        )
    if results.is_dir():
        clear(results)


@app.command(
    epilog="Examples: battsim tortuosity image.tif --phase 0 --axis x   |   battsim tortuosity image.tif --phase 0,2 "
    "--voxel-size '0.4 um'   |   battsim tortuosity mycase"
)
@_guarded
def tortuosity(
    target: Annotated[Path, typer.Argument(metavar="IMAGE|DIR", help="A segmented image, or a tortuosity case.")],
    phase: Annotated[str | None, typer.Option(metavar="VALUE[,VALUE]", help="Values that conduct, as one.")] = None,
    voxel_size: Annotated[str, typer.Option(help="Edge of a voxel, or three with commas, in array order.")] = "1 um",
    axis: Annotated[str, typer.Option(help="x, y, z or all.")] = "all",
    fresh: Fresh = False,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Tortuosity factor of a phase along x, y and z."""
    if target.is_dir():
        if phase is not None or axis != "all" or voxel_size != "1 um":
            raise UsageError(f"--phase, --axis and --voxel-size go with an image; {target} says them in case.toml")
        _run(target, fresh, allow_outside, as_json, kind="tortuosity")
        return
    summary = _image_tortuosity(target, phase, voxel_size, axis)
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)
    if not any(direction["percolates"] for direction in summary["directions"].values()):
        raise AnsweredError(
            f"{target}: --phase {phase} does not percolate along {' or '.join(summary['directions'])}; "
            "choose another phase or axis, or check the segmentation"
        )


@app.command(epilog="Example: battsim mesh mycase --output mycase/mesh.vtu")
@_guarded
def mesh(
    directory: CaseDirectory,
    output: Annotated[Path | None, typer.Option(help="File to write; default DIR/mesh.vtu.")] = None,
    allow_outside: AllowOutside = False,
    as_json: AsJson = False,
) -> None:
    """Build the mesh of a case, write it for ParaView, and count it."""
    from battsim.case import load_case

    case = load_case(directory, allow_outside=allow_outside)
    place = directory / "mesh.vtu" if output is None else output
    if place.suffix.lower() != ".vtu":
        raise UsageError(f"--output {place} must end in .vtu")
    if not place.parent.is_dir():
        raise UsageError(f"--output {place}: {place.parent} is not a directory; make it first")
    from battsim.run import build_image, build_mesh
    from meshing.write import write_mesh

    built = build_mesh(case, build_image(case))
    write_mesh(place, built)
    counts = {
        "file": place,
        "cells": built.n_cells,
        "faces": built.n_faces,
        "phases": {name: int((built.phase == k).sum()) for k, name in enumerate(built.phases)},
        "patches": {name: patch.cells.size for name, patch in built.patches.items()},
        "interfaces": {"|".join(i.phases): {"faces": i.first.size, "area_m2": i.area.sum()} for i in built.interfaces},
    }
    if as_json:
        _print_json(counts)
        return
    typer.echo(f"{place}: {built.n_cells} cells, {built.n_faces} inner faces")
    for name, count in counts["phases"].items():
        typer.echo(f"  {name}: {count} cells")
    for name, patch in counts["patches"].items():
        typer.echo(f"  patch {name}: {patch} faces")
    for name, interface in counts["interfaces"].items():
        typer.echo(f"  interface {name}: {interface['faces']} faces, {interface['area_m2']:.4g} m2")


def _kind(case: Case) -> str:
    return str(case.resolved()["model"]["kind"])


@contextmanager
def _progress(results: Path) -> Iterator[Progress]:
    """Receives how far a run is: into results/run.log, and onto the terminal where standard error is one."""
    results.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context((results / "run.log").open("a", encoding="utf-8"))
        show = stack.enter_context(_progress_bar()) if sys.stderr.isatty() else None

        def report(share: float, message: str) -> None:
            log.write(f"{share:7.2%}  {message}\n")
            log.flush()
            if show is not None:
                show(share, message)

        yield report


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda share, message: bars.update(task, completed=share, description=message)


def _print_summary(summary: Mapping[str, Any]) -> None:
    """The main numbers, for reading."""
    for name, value in summary.items():
        if name == "directions":
            _print_directions(value)
        elif name == "warnings":
            for warning in value:
                typer.echo(f"warning: {warning}", err=True)
        elif isinstance(value, Mapping):
            typer.echo(f"{name}: {', '.join(f'{key} {_shown(inner)}' for key, inner in value.items())}")
        elif not isinstance(value, list):
            typer.echo(f"{name}: {_shown(value)}")


def _print_directions(directions: Mapping[str, Mapping[str, Any]]) -> None:
    """One line per axis of a tortuosity."""
    for axis, found in directions.items():
        if found["percolates"]:
            typer.echo(f"{axis}: tau {_shown(found['tau'])}, D_eff {_shown(found['D_eff'])}")
        else:
            typer.echo(f"{axis}: does not percolate, D_eff 0")


def _shown(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "-" if value is None else str(value)
