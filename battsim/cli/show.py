"""What the commands print, and how they show that a run goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import typer

Progress = Callable[[float, str], None]
ERROR_SOURCES = {
    "discretisation": ("relative_error", "voxels"),
    "representative": ("tau_error", "size of the image"),
}
"""Estimates of error along an axis, by their key: the relative error of tau in them, and what they are called."""
TOGETHER = 3
"""So many numbers of an entry stand in one cell of a table."""


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
        show = stack.enter_context(terminal_progress())

        def report(share: float, message: str) -> None:
            log.write(f"{share:7.2%}  {message}\n")
            log.flush()
            show(share, message)

        yield report


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Receives how far a command is, onto the terminal where standard error is one."""
    if _on_terminal():
        with _progress_bar() as show:
            yield show
    else:
        yield lambda _share, _message: None


def _on_terminal() -> bool:
    return sys.stderr.isatty()


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
        elif name == "tensor":
            _print_tensor(value)
        elif name == "warnings":
            for warning in value:
                typer.echo(f"warning: {warning}", err=True)
        else:
            _print_value(name, value)


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """A table, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


def _print_value(name: str, value: object, indent: str = "") -> None:
    """One entry of a summary: a line, or a table where it is nested; empty ones are left out.

    Entries that are alike inside stand side by side; a list of such entries is a table with a line for each.
    """
    match value:
        case Mapping() if value and _all_mappings(value.values()):
            print_rows([[f"{indent}{name}", *map(str, value)], *_lines(value, f"{indent}  ")])
        case Mapping() if any(_is_nested(inner) for inner in value.values()):
            typer.echo(f"{indent}{name}:")
            for key, inner in value.items():
                _print_value(key, inner, f"{indent}  ")
        case Mapping() if value:
            typer.echo(f"{indent}{name}: {', '.join(f'{key} {_shown(inner)}' for key, inner in value.items())}")
        case list() if value and _all_mappings(value):
            typer.echo(f"{indent}{name}:")
            keys = list(dict.fromkeys(key for each in value for key in each))
            rows = [[_shown(each.get(key)) for key in keys] for each in value]
            print_rows([[f"{indent}  {first}", *others] for first, *others in (keys, *rows)])
        case Mapping() | list():
            pass
        case _:
            typer.echo(f"{indent}{name}: {_shown(value)}")


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(each, Mapping) for each in value))


def _all_mappings(values: Iterable[object]) -> TypeGuard[Iterable[Mapping[str, Any]]]:
    return all(isinstance(value, Mapping) for value in values)


def _lines(columns: Mapping[str, Any], indent: str) -> Iterator[list[str]]:
    """A row for each key of mappings that stand side by side; what is nested in them follows under its key."""
    for key in dict.fromkeys(key for column in columns.values() for key in column):
        cells = [column.get(key) for column in columns.values()]
        inner = [cell if isinstance(cell, Mapping) else {} for cell in cells]
        parts = list(dict.fromkeys(part for cell in inner for part in cell))
        nested = any(_is_nested(value) for cell in inner for value in cell.values())
        if 1 < len(parts) <= TOGETHER and not nested:
            values = [", ".join(_shown(cell.get(part)) for part in parts) for cell in inner]
            yield [f"{indent}{key} ({', '.join(parts)})", *values]
        elif parts:
            yield [f"{indent}{key}", *("" for _ in columns)]
            yield from _lines(dict(zip(columns, inner, strict=True)), f"{indent}  ")
        elif not any(_is_nested(cell) for cell in cells):
            yield [f"{indent}{key}", *map(_shown, cells)]


def _print_directions(directions: Mapping[str, Mapping[str, Any]]) -> None:
    """A table of a tortuosity, one line per axis."""
    electrode = any("electrode" in found for found in directions.values())
    rows = [["axis", "tau", "D_eff", "percolating", *(["tau_e"] if electrode else []), "error of tau"]]
    for axis, found in directions.items():
        errors = _errors(found) if found["percolates"] else "does not percolate"
        share = f"{100.0 * found['percolating_fraction']:.2f} %"
        into = [_shown((found["electrode"] or {}).get("tau_e"))] if electrode else []
        rows.append([axis, _shown(found["tau"]), _shown(found["D_eff"]), share, *into, errors])
    print_rows(rows)
    for axis, found in directions.items():
        for key, (error, source) in ERROR_SOURCES.items():
            if found.get(key) and found[key][error] is None:
                typer.echo(f"{axis}: no estimate for the {source}: {found[key]['reason']}")


def _print_tensor(tensor: Mapping[str, Any] | None) -> None:
    """The rows of an effective tensor."""
    if tensor is None:
        typer.echo("tensor: -")
        return
    typer.echo(f"tensor of D_eff, {tensor['boundary']}:")
    for row in tensor["D_eff"]:
        typer.echo("  " + "  ".join(f"{value:10.5g}" for value in row))


def _errors(found: Mapping[str, Any]) -> str:
    """How much each source of error may move tau, as far as it was estimated; an estimate that failed is "?"."""
    shares = {"iteration": found["error_estimate"]}
    for key, (error, source) in ERROR_SOURCES.items():
        if key in found:
            shares[source] = None if found[key] is None else found[key][error]
    moved = {source: "?" if share is None else f"{found['tau'] * share:.2g}" for source, share in shares.items()}
    return ", ".join(f"+- {size} ({source})" for source, size in moved.items())


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:.5g}" if isinstance(value, float) else "-" if value is None else str(value)
