"""The page of a sweep: one file with its pictures in it, and a table that links the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from battsim.output.page import Picture, cell_of, render
from battsim.output.record import write_text

PAGE = "index.html"


def write_page(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    pictures: Sequence[Picture],
    notes: Sequence[str],
    *,
    title: str,
) -> None:
    """Write the page.

    Parameters
    ----------
    rows
        Of the table of a sweep, each with member, state and error.
    columns
        Headings of the columns that are shown, by the name of the column.
    notes
        What is worth knowing beside the pictures, a paragraph each.
    """
    text = render(
        "sweep/index.html",
        title,
        pictures,
        counts=_counts(rows),
        notes=notes,
        columns=[
            {"path": name, "name": heading}
            for name, heading in {"member": "member", "state": "state", **columns}.items()
        ],
        rows=[_row(row, list(columns)) for row in rows],
    )
    write_text(path, text)


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    states = [row["state"] for row in rows]
    told = [f"{states.count('done')} of {len(states)} members are done"]
    return ", ".join(
        [*told, *(f"{n} {name}" for name in ("failed", "running", "pending") if (n := states.count(name)))]
    )


def _row(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    cells = [cell_of(row.get(name)) for name in columns]
    failed = row["state"] == "failed"
    if failed:
        cells = [*cells[:-1], {"text": row["error"], "value": None}] if cells else cells
    return {"member": row["member"], "state": row["state"], "failed": failed, "cells": cells}
