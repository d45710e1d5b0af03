"""CSV tables that grow while a run goes on, and can be read meanwhile."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

Cell = float | int | np.generic | None


class TableWriter:
    """A CSV file with fixed columns; each row reaches the disk as it is appended.

    Use it in a `with` block. Numbers have 10 significant digits; None and what is not finite become an empty cell.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._stream = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._write(self._columns)

    def append(self, row: Mapping[str, Cell]) -> None:
        """Writes one row; every column must be there, by its name, and nothing else."""
        if row.keys() != set(self._columns):
            odd = sorted(row.keys() ^ set(self._columns))
            raise KeyError(f"a row must have exactly the columns of its table; differing: {', '.join(odd)}")
        self._write([_text(row[name]) for name in self._columns])

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
