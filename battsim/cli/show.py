"""What the commands print, and how they show that a run goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import typer

Progress = Callable[[float, str], None]


def print_json(content: object) -> None:
    """The one object of `--json`; what is not finite becomes null."""
    from battsim.output.record import plain

    typer.echo(json.dumps(plain(content), ensure_ascii=False, allow_nan=False))


@contextmanager
def progress_of(results: Path) -> Iterator[Progress]:
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


def print_summary(summary: Mapping[str, Any]) -> None:
    """The main numbers, for reading."""
    for name, value in summary.items():
        if name == "directions":
            _print_directions(value)
        elif name == "warnings":
            for warning in value:
                typer.echo(f"warning: {warning}", err=True)
        elif isinstance(value, Mapping) and value:
            typer.echo(f"{name}: {', '.join(f'{key} {_shown(inner)}' for key, inner in value.items())}")
        elif not isinstance(value, list | Mapping):
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
