"""What `battsim compare` compares: results, a baseline inside them, or a measured CSV, as columns of timeseries.csv."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from battsim.cli.guard import RESULTS
from battsim.errors import InputError
from battsim.output.record import state_of
from battsim.post.rows import timeseries_columns

Floats = NDArray[np.float64]

TIMESERIES, PROFILES, SUMMARY = "timeseries", "profiles", "summary.json"
LADDER = "ladder"
COMPLETE = ("voltage_V and capacity_Ah_m2", "voltage_V, time_s and current_A_m2 (positive in discharge)")
CONVERSIONS = "1 mV = 0.001 V, 1 mAh/cm2 = 10 Ah/m2, 1 mA/cm2 = 10 A/m2, 1 h = 3600 s"
HIGHEST_VOLTAGE = 10.0
"""V; more is another unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One side of a comparison.

    Attributes
    ----------
    table
        The file that it was read from.
    columns
        By the names of timeseries.csv, shape (n_rows,); voltage_V and capacity_Ah_m2 are there, step as well.
    has_steps
        Whether the file numbers the steps of a protocol.
    profiles
        Columns of the profiles beside it; None where there are none.
    one_c
        What 1 C means, A/m2; None where nothing says so.
    state
        Of the run that wrote it; None for a file of its own.
    """

    table: Path
    columns: Mapping[str, Floats]
    has_steps: bool
    profiles: Mapping[str, Floats] | None
    one_c: float | None
    state: str | None

    @property
    def name(self) -> str:
        """The case, and which of its cells; of another file its name."""
        if self.state is None:
            return self.table.name
        folder = _results_of(self.table)
        case = folder.resolve().parent.name if folder.resolve().name == RESULTS else folder.resolve().name
        which = self.table.stem.removeprefix(TIMESERIES).strip("_")
        return f"{case}, {which}" if which else case


def read_source(place: Path) -> Source:
    """One side of a comparison, from a case or results directory, a table inside it, or a measured CSV.

    Raises
    ------
    InputError
        Where nothing is there, or a table is not understood.
    """
    table = _table(place)
    folder = _results_of(table)
    state = state_of(folder) if table.name.startswith(TIMESERIES) else None
    columns = _read(table, strict=state is None, growing=state == "running")
    profiles = table.with_name(table.name.replace(TIMESERIES, PROFILES, 1))
    has_profiles = profiles != table and profiles.is_file()
    return Source(
        table=table,
        columns=_completed(table, columns),
        has_steps="step" in columns,
        profiles=_numbers(profiles, growing=state == "running") if has_profiles else None,
        one_c=None if state is None else _one_c(folder / SUMMARY),
        state=state,
    )


def _table(place: Path) -> Path:
    """The time series that an argument names."""
    if place.is_file():
        return place
    if not place.exists():
        raise InputError(
            f"{place} does not exist; name a case directory with results, a timeseries*.csv, or a measured CSV"
        )
    for folder in (place / RESULTS, place):
        if (folder / f"{TIMESERIES}.csv").is_file():
            return folder / f"{TIMESERIES}.csv"
    missing = f"{place} holds no {RESULTS}/{TIMESERIES}.csv"
    if (place / RESULTS / SUMMARY).is_file():
        raise InputError(f"{missing}: its run has no voltage to compare; name the case of a cell")
    if (place / "case.toml").is_file():
        raise InputError(f"{missing}; run it first: battsim run {place}")
    raise InputError(f"{missing} and no {TIMESERIES}.csv; name a case directory with results, or a CSV file")


def _results_of(table: Path) -> Path:
    """Folder of the results that a table belongs to."""
    return table.parent.parent if table.parent.name == LADDER else table.parent


def _one_c(summary: Path) -> float | None:
    """What 1 C means, A/m2; None where the run left no summary."""
    if not summary.is_file():
        return None
    try:
        value = json.loads(summary.read_text(encoding="utf-8")).get("current_1C_A_m2")
    except (ValueError, AttributeError):
        raise InputError(f"{summary} is damaged: it is no JSON object; run the case anew with --fresh") from None
    return float(value) if value else None


def _read(table: Path, *, strict: bool, growing: bool) -> dict[str, Floats]:
    """Columns whose names are understood; `strict` where no other names may be there."""
    columns = _numbers(table, growing=growing)
    known = timeseries_columns(2)
    odd = [name for name in columns if name not in known]
    usable = "voltage_V" in columns and ("capacity_Ah_m2" in columns or {"time_s", "current_A_m2"} <= columns.keys())
    if not usable or (strict and odd):
        problem = f"has columns that are not understood: {', '.join(odd)}" if odd else "lacks a column"
        raise InputError(
            f"{table}: line 1 {problem} (found: {', '.join(columns)}); a measured CSV needs {' or '.join(COMPLETE)}; "
            f"it may have step, and others of timeseries.csv by their names ({', '.join(known[:14])}); rename or "
            f"convert columns ({CONVERSIONS}), and leave others out"
        )
    return {name: values for name, values in columns.items() if name in known}


def _numbers(table: Path, *, growing: bool) -> dict[str, Floats]:
    """Columns of a CSV file by name, NaN where a cell is empty; of one that still grows without its unfinished line."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} is not text in UTF-8; save it as CSV") from None
    lines = (text[: text.rfind("\n") + 1] if growing else text).splitlines()
    rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if row]
    if len(rows) < 2:
        raise InputError(f"{table} holds no rows of numbers; a line of names and lines of numbers are expected")
    names = [name.strip() for name in rows[0][1]]
    _refuse_names(table, names)
    cells = np.array([_row(table, names, number, row) for number, row in rows[1:]])
    return dict(zip(names, cells.T, strict=True))


def _refuse_names(table: Path, names: Sequence[str]) -> None:
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise InputError(
            f"{table}: line 1 is one name, {names[0]!r}; columns must be separated by commas, numbers have points"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{table}: line 1 names {', '.join(twice)} twice; each column must have a name of its own")


def _row(table: Path, names: Sequence[str], number: int, row: Sequence[str]) -> list[float]:
    """Numbers of a line."""
    if len(row) != len(names):
        raise InputError(f"{table}: line {number} has {len(row)} cells under {len(names)} names; repair or remove it")
    found = []
    for name, cell in zip(names, row, strict=True):
        try:
            value = float(cell) if cell.strip() else math.nan
        except ValueError:
            raise InputError(
                f"{table}: line {number} has {cell!r} under {name}; a number such as 3.72 or 1e-3 is expected"
            ) from None
        found.append(value)
    return found


def _completed(table: Path, columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """The columns with capacity and step, checked."""
    needed = [name for name in ("step", "time_s", "current_A_m2", "voltage_V", "capacity_Ah_m2") if name in columns]
    for name in needed:
        if (bad := np.flatnonzero(~np.isfinite(columns[name]))).size:
            raise InputError(f"{table}: {name} is empty or not finite in row {bad[0] + 1} below the names; fill it in")
    highest = float(np.abs(columns["voltage_V"]).max())
    if highest > HIGHEST_VOLTAGE:
        raise InputError(f"{table}: voltage_V reaches {highest:g}, beyond {HIGHEST_VOLTAGE:g} V; convert it to V")
    if "time_s" in columns and (back := np.flatnonzero(np.diff(columns["time_s"]) < 0.0)).size:
        raise InputError(
            f"{table}: time_s falls in row {back[0] + 2} below the names; it must not, sort or cut the file"
        )
    complete = dict(columns)
    if "capacity_Ah_m2" not in columns:
        complete["capacity_Ah_m2"] = _integral(columns["time_s"], columns["current_A_m2"]) / 3600.0
    if "step" in columns:
        return complete
    complete["step"] = np.zeros(columns["voltage_V"].size)
    return _without_rest(complete)


def _without_rest(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """The rows from the last one before charge passes, so that a rest before it is no part of the time."""
    capacity = columns["capacity_Ah_m2"]
    passed = np.flatnonzero(capacity != capacity[0])
    return {name: values[max(passed[0] - 1, 0) :] if passed.size else values for name, values in columns.items()}


def _integral(time: Floats, values: Floats) -> Floats:
    """By trapezoids, from 0 at the first row."""
    return np.append(0.0, np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(time)))
