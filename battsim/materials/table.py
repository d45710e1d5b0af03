"""Measured curves from a CSV file: monotone interpolation with its derivative, continued by the end slopes.

F. N. Fritsch, J. Butland, "A method for constructing local monotone piecewise cubic interpolants", SIAM J. Sci. Stat.
Comput. 5 (1984) 300-304: between two rows the curve never leaves their interval, so noise-free data stay monotone.
"""

import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator

from battsim.errors import InputError
from battsim.materials.types import Closure1, Floats, extend_by_end_slope


def read_table(path: Path) -> tuple[Floats, Floats]:
    """Two columns of a CSV file, the first strictly increasing; shape (n_rows,) each.

    Commas separate the columns; one header line, empty lines and lines that begin with # are passed over.

    Raises
    ------
    InputError
        With file, line and column of what is missing, not a finite number or out of order.
    """
    rows: list[tuple[int, float, float]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header_allowed = True
            for fields in reader:
                if not any(field.strip() for field in fields) or fields[0].lstrip().startswith("#"):
                    continue
                if header_allowed and not any(_is_number(field) for field in fields):
                    header_allowed = False
                    continue
                header_allowed = False
                rows.append(_parse_row(path, reader.line_num, fields))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}). Give a CSV file with two columns.") from error
    _check_order(path, rows)
    return np.array([row[1] for row in rows]), np.array([row[2] for row in rows])


def interpolate(x: Floats, y: Floats) -> Closure1:
    """Closure through the points, continued past the ends by the end slopes; x strictly increasing."""
    curve = PchipInterpolator(x, y)
    slope = curve.derivative()

    def inside(at: Floats) -> tuple[Floats, Floats]:
        return curve(at), slope(at)

    return extend_by_end_slope(inside, (float(x[0]), float(x[-1])))


def tabulated(path: Path) -> tuple[Closure1, tuple[float, float]]:
    """Closure of the curve in a CSV file, and the range of its first column."""
    x, y = read_table(path)
    return interpolate(x, y), (float(x[0]), float(x[-1]))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _parse_row(path: Path, line: int, fields: list[str]) -> tuple[int, float, float]:
    if len(fields) != 2:
        raise InputError(f"{path}, line {line}: {len(fields)} columns found; two are needed, separated by a comma.")
    for column, field in enumerate(fields, start=1):
        if not field.strip():
            raise InputError(f"{path}, line {line}, column {column}: the value is missing.")
        if not _is_number(field) or not math.isfinite(float(field)):
            raise InputError(f"{path}, line {line}, column {column}: {field.strip()!r} is not a finite number.")
    return line, float(fields[0]), float(fields[1])


def _check_order(path: Path, rows: list[tuple[int, float, float]]) -> None:
    if len(rows) < 2:
        raise InputError(f"{path}: {len(rows)} row(s) of numbers found; at least two are needed.")
    for (_, before, _), (line, here, _) in pairwise(rows):
        if here <= before:
            raise InputError(
                f"{path}, line {line}, column 1: {here:g} does not exceed {before:g} of the row before; "
                "sort the rows by rising abscissa and remove duplicates."
            )
