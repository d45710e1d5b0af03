"""CSV tables that grow while a run goes on, and can be read meanwhile."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CheckpointError

Cell = float | int | np.generic | None


class TableWriter:
    """A CSV file with fixed columns; each row reaches the file as it is appended.

    Use it in a `with` block. Numbers have 10 significant digits; None and what is not finite become an empty cell.

    Parameters
    ----------
    path
        The file; replaced where it is there already.
    columns
        Names.
    rows
        Keep the file that is there, cut back to this many rows, and go on behind them; None begins a new file.

    Raises
    ------
    CheckpointError
        Where a file that is to be kept lacks rows, or has other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], rows: int | None = None) -> None:
        self._columns, self.rows = tuple(columns), rows or 0
        if rows is not None:
            os.truncate(path, end_of_row(path, columns, rows))
        self._stream = path.open("w" if rows is None else "a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        if rows is None:
            self._write(self._columns)

    def append(self, row: Mapping[str, Cell]) -> None:
        """Writes one row; every column must be there, by its name, and nothing else."""
        if row.keys() != set(self._columns):
            odd = sorted(row.keys() ^ set(self._columns))
            raise KeyError(f"a row must have exactly the columns of its table; differing: {', '.join(odd)}")
        self._write([_text(row[name]) for name in self._columns])
        self.rows += 1

    def to_disk(self) -> None:
        """Returns when the rows so far would survive a loss of power."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _write(self, cells: Sequence[str]) -> None:
        self._writer.writerow(cells)
        self._stream.flush()

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def end_of_row(path: Path, columns: Sequence[str], rows: int) -> int:
    """Length of a table, bytes, up to the end of its row number `rows`; 0 rows are the line of its columns.

    Raises
    ------
    CheckpointError
        Where the table has fewer rows, or other columns.
    """
    end, found = 0, -1
    try:
        with path.open("rb") as stream:
            for line in stream:
                if found < 0 and line != f"{','.join(columns)}\n".encode():
                    raise CheckpointError(f"{path} does not begin with the columns that are written there")
                if found == rows or not line.endswith(b"\n"):
                    break
                end, found = end + len(line), found + 1
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing, of which {rows} rows are to be kept") from None
    if found < rows:
        raise CheckpointError(f"{path} has {max(found, 0)} whole rows, of which {rows} are to be kept")
    return end


def read_table(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a table by name, each shape (n_rows,), an empty cell as NaN.

    A last line without its line end is left out: the run may be writing it just now.
    """
    text = path.read_text(encoding="utf-8")
    rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
    cells = np.array([[float(cell) if cell else math.nan for cell in row] for row in rows[1:]], dtype=np.float64)
    return dict(zip(rows[0], cells.reshape(len(rows) - 1, len(rows[0])).T, strict=True))


def _text(cell: Cell) -> str:
    """The cell as it is written."""
    value = cell.item() if isinstance(cell, np.generic) else cell
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.10g}"
