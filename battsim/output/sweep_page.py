"""The page of a sweep: one file with its pictures in it, and a table that links the members."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from battsim.output.record import write_text

PAGE = "index.html"
WIDTH = 520
"""Of a picture on the page, pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with what it shows."""

    png: bytes
    title: str
    text: str


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
    from jinja2 import Environment, StrictUndefined

    template = (files("battsim") / "templates" / "sweep" / "index.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(template)
    text = page.render(
        title=title,
        counts=_counts(rows),
        pictures=[embedded(picture) for picture in pictures],
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


def embedded(picture: Picture) -> dict[str, Any]:
    """A picture as a template has it."""
    data = base64.b64encode(picture.png).decode("ascii")
    return {"title": picture.title, "text": picture.text, "data": data, "width": WIDTH}


def _row(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    cells = [cell_of(row.get(name)) for name in columns]
    failed = row["state"] == "failed"
    if failed:
        cells = [*cells[:-1], {"text": row["error"], "value": None}] if cells else cells
    return {"member": row["member"], "state": row["state"], "failed": failed, "cells": cells}


def cell_of(value: Any) -> dict[str, Any]:
    """A cell as it is shown, and the number that it is sorted by."""
    if isinstance(value, int | float):
        return {"text": f"{value:.5g}", "value": repr(value)}
    return {"text": "" if value is None else str(value), "value": None}
