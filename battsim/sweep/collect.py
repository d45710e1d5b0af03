"""The table of a sweep, index.csv and index.parquet: a row per member with its inputs, its numbers and what it took."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from battsim.case import Case, CellCase
from battsim.output.record import RECORD_FILE, read_json, write_text
from battsim.sweep.members import RESULTS, Member, standing_of

INDEX = "index"
OF_RECORD = ("wall_s", "cpu_s", "peak_memory_bytes", "version")
"""What run.json has that the table has too; the peak is that of the worker's process so far."""
MEAN_POWER = "mean_power_W_m2"
"""Energy over time of a protocol of one discharge: the other axis of a Ragone plot."""
TEXTS = ("kind", "stop.reason")
"""Entries of summary.json that are text and that the table has too."""

Cell = float | int | str | None
Row = dict[str, Cell]


def rows_of(members: Sequence[Member], runs: Path, errors: Mapping[str, str | None] | None = None) -> list[Row]:
    """A row per member: its hash, state, error, every parameter (SI), its numbers, time and memory.

    Parameters
    ----------
    errors
        Of members that failed, by their hash, where even that could not be written.
    """
    return [_row(member, runs / member.key, (errors or {}).get(member.key)) for member in members]


def write_index(runs: Path, rows: Sequence[Row]) -> None:
    """Write `index.csv` and `index.parquet`; a reader sees the old files or the new ones."""
    columns = columns_of(rows)
    write_text(runs / f"{INDEX}.csv", csv_text(rows, columns))
    _write_parquet(runs / f"{INDEX}.parquet", rows, columns)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every column that some row has, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table as CSV, numbers to the last bit; a cell that is None or that a row does not have is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def numbers_of(content: Any, path: str = "") -> Iterator[tuple[str, float | int]]:
    """Every number in nested tables, by its dotted path; lists are left out, true and false are 1 and 0."""
    if isinstance(content, Mapping):
        for name, inner in content.items():
            yield from numbers_of(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(content, bool | int | float):
        yield path, int(content) if isinstance(content, bool) else content


def _row(member: Member, directory: Path, error: str | None) -> Row:
    standing = standing_of(directory)
    row: Row = {"member": member.key, "state": "failed" if error else standing.state, "error": error or standing.error}
    row |= dict(member.values)
    if row["state"] == "done":
        summary = read_json(directory / RESULTS / "summary.json") or {}
        texts: Row = {path: value for path in TEXTS if isinstance(value := _at(summary, path), str)}
        row |= texts | dict(numbers_of(summary)) | mean_power(member.case, summary)
    record = read_json(directory / RESULTS / RECORD_FILE) or {}
    return row | {"tries": standing.tries} | {key: record.get(key) for key in OF_RECORD}


def mean_power(case: Case, summary: Mapping[str, Any]) -> Row:
    """Mean power of a single discharge, W/m2; nothing for any other protocol."""
    energy, time = _at(summary, "energy_Wh_m2"), _at(summary, "stop.time_s")
    single = isinstance(case, CellCase) and [step.step for step in case.protocol] == ["discharge"]
    return {MEAN_POWER: 3600.0 * energy / time} if single and energy and time else {}


def _at(content: Mapping[str, Any], path: str) -> Any:
    place: Any = content
    for part in path.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def _text(cell: Any) -> str:
    return "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)


def _write_parquet(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """The same table with types: numbers where every cell of a column is one, else text."""
    import pyarrow
    from pyarrow import parquet

    table = {}
    for name in columns:
        cells = [row.get(name) for row in rows]
        known = [cell for cell in cells if cell is not None]
        if any(isinstance(cell, str) for cell in known):
            cells = [None if cell is None else str(cell) for cell in cells]
        elif any(isinstance(cell, float) for cell in known):
            cells = [None if cell is None else float(cell) for cell in cells]
        elif not all(isinstance(cell, bool) for cell in known):
            cells = [None if cell is None else int(cell) for cell in cells]
        table[name] = pyarrow.array(cells)
    part = path.with_name(f".{path.name}.part")
    parquet.write_table(pyarrow.table(table), part)
    part.replace(path)
