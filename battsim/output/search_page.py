"""The page of a search: one file with its pictures in it, and a table that links the members of each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from battsim.output.page import Picture, cell_of, render
from battsim.output.record import write_text

MEMBERS = "members"
"""Column with the directories of a trial, with blanks between them."""


def write_page(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    pictures: Sequence[Picture],
    paragraphs: Sequence[str],
    best: Sequence[Mapping[str, Any]],
    *,
    title: str,
) -> None:
    """Write the page.

    Parameters
    ----------
    rows
        Of search.csv.
    columns
        Headings of the columns that are shown, by the name of the column.
    paragraphs
        What the search came to, in words.
    best
        Rows of the best designs.
    """
    text = render(
        "search/index.html",
        title,
        pictures,
        paragraphs=paragraphs,
        columns=[{"path": name, "name": heading} for name, heading in columns.items()],
        best=[_row(row, list(columns)) for row in best],
        rows=[_row(row, list(columns)) for row in rows],
    )
    write_text(path, text)


def _row(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """A row with its links: to results where there can be some, to the folder otherwise."""
    folders = str(row.get(MEMBERS) or "").split()
    return {
        "state": row["state"],
        "cells": [cell_of(row.get(name)) for name in columns],
        "error": row.get("error") or "",
        "links": [{"to": f"{folder}/", "name": folder} for folder in folders],
    }
