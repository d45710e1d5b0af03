"""Where the numbers of a run go while it goes on: tables, fields, checkpoints, progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from battsim.output.checkpoint import FOLDER
from battsim.output.fields import FieldWriter, StackFields
from battsim.output.tables import TableWriter
from battsim.run.checkpoint import Progress, tables_of

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sinks:
    """Where the numbers of a run go while it goes on.

    Attributes
    ----------
    timeseries, steps, profiles
        Tables.
    fields
        On voxels; None where there are none.
    checkpoints
        Folder; None for runs that are short enough to begin anew.
    """

    timeseries: TableWriter
    steps: TableWriter
    profiles: TableWriter
    fields: FieldWriter | StackFields | None
    checkpoints: Path | None
    report: Report

    @property
    def rows(self) -> dict[str, int]:
        """Of each table so far."""
        return {
            "timeseries.csv": self.timeseries.rows,
            "steps.csv": self.steps.rows,
            "profiles.csv": self.profiles.rows,
        }

    @property
    def saved(self) -> tuple[tuple[float, str], ...]:
        """Times (s) and names of the fields so far."""
        return () if self.fields is None else self.fields.saved


def silent(share: float, message: str) -> None:
    """Progress that nobody watches."""


def part_of(report: Report, start: float, stop: float) -> Report:
    """Progress of a part of the work, told as that of the whole, from one share of it to another."""

    def told(share: float, message: str) -> None:
        report(start + (stop - start) * share, message)

    return told


def open_sinks(
    results: Path,
    stack: ExitStack,
    report: Report,
    n_electrodes: int,
    *,
    fields: FieldWriter | StackFields | None = None,
    progress: Progress | None = None,
    suffix: str = "",
    checkpoints: bool = True,
) -> Sinks:
    """Tables that begin, or go on where a checkpoint was made; they close with the stack.

    Parameters
    ----------
    results
        Folder of the results.
    n_electrodes
        Of the model, which decides about the columns.
    fields, progress
        Of a run that has them.
    suffix
        Behind the names of the tables, such as "_p2d_image".
    checkpoints
        Whether the run leaves any.
    """
    tables = {
        name: stack.enter_context(
            TableWriter(
                results / f"{name.removesuffix('.csv')}{suffix}.csv",
                columns,
                None if progress is None else progress.rows[name],
            )
        )
        for name, columns in tables_of(n_electrodes).items()
    }
    return Sinks(
        tables["timeseries.csv"],
        tables["steps.csv"],
        tables["profiles.csv"],
        fields,
        results / FOLDER if checkpoints else None,
        report,
    )
