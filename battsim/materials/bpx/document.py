"""From a BPX file to an object in the layout of version 1.1 whose schema has been checked."""

from __future__ import annotations

import copy
import importlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

from battsim.errors import CaseError, InputError
from battsim.materials.bpx import names
from battsim.materials.bpx.section import Section

SUPPORTED = ("0.1", "0.2", "0.3", "0.4", "0.5", "1.0", "1.1")
"""Versions of the schema that are read; a patch number after them is ignored."""

WRITTEN = "1.1.0"
"""Version that is written, and in whose schema every file is checked."""

STRAIGHT = {"x": [0.0, 1.0], "y": [1.0, 1.0]}
"""Stands in for every formula while the schema is checked."""


def load(path: Path) -> dict[str, Any]:
    """Content of a JSON file; InputError where it cannot be read as an object."""

    def refuse(constant: str) -> float:
        raise ValueError(f"the number {constant}")

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as a BPX file ({error}). Give a JSON file.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: a {type(content).__name__} found; a BPX file is a JSON object with a Header.")
    return content


def version_of(header: Section) -> str:
    """Version of a file, major and minor number, such as "1.1".

    Raises
    ------
    CaseError
        Where it is missing, malformed or not supported.
    """
    value = header.required("BPX", f"the version, one of {', '.join(SUPPORTED)}")
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    match = None if isinstance(value, bool) else re.fullmatch(r"(\d+\.\d+)(\.\d+)?", text.strip())
    if match is None or match.group(1) not in SUPPORTED:
        allowed = f"a version among {', '.join(SUPPORTED)} (any patch number)"
        raise header.refuse("BPX", f"version {value!r}", allowed)
    return match.group(1)


def in_layout_of_1(document: dict[str, Any]) -> dict[str, Any]:
    """Copy of an object of version 0.x with what 1.0 moved into "State" moved there."""
    moved = copy.deepcopy(document)
    parameters = _object(moved, "Parameterisation")
    cell, electrolyte = _object(parameters, names.CELL), _object(parameters, names.ELECTROLYTE)
    conditions, thermal = {}, {}
    if names.INITIAL_TEMPERATURE in cell:
        conditions[names.INITIAL_TEMPERATURE] = cell.pop(names.INITIAL_TEMPERATURE)
    if names.SALT_BEFORE_1 in electrolyte:
        conditions[names.SALT] = electrolyte.pop(names.SALT_BEFORE_1)
    if names.AMBIENT in cell:
        thermal[names.AMBIENT] = cell.pop(names.AMBIENT)
    cell.pop(names.HEAT_CONDUCTIVITY_BEFORE_1, None)
    moved[names.STATE] = {names.CONDITIONS: conditions, names.THERMAL: thermal}
    return moved


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """Object of a key, or an empty one that belongs to nobody; what is wrong with it is said later."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def package(why: str) -> Any:
    """Module `bpx`; InputError that names the extra where it is not installed."""
    try:
        return importlib.import_module("bpx")
    except ImportError as error:
        raise InputError(
            f"{why}: the package bpx, which holds the schema, is not installed; install it with "
            "'pip install \"battsim[bpx]\"'."
        ) from error


def check_schema(where: str, document: dict[str, Any]) -> None:
    """Check an object in the layout of version 1.1 against the package's schema; formulas are not shown to it.

    Raises
    ------
    CaseError
        With the first place that the schema refuses.
    """
    schema = package(where)
    shown = _without_formulas(document)
    shown["Header"] = {**shown["Header"], "BPX": WRITTEN}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema.parse_bpx_obj(shown)
    except ValueError as error:
        raise CaseError(f"{where}: the BPX schema refuses it: {_first_problem(error)}") from error


def _without_formulas(value: Any, key: str = "", *, user: bool = False) -> Any:
    """Deep copy with a table in place of every formula; `user` inside the user-defined block."""
    if isinstance(value, dict):
        return {name: _without_formulas(v, name, user=user or name == names.USER_DEFINED) for name, v in value.items()}
    if isinstance(value, str) and (key in names.FUNCTION_KEYS or (user and key != "description")):
        return STRAIGHT
    return copy.deepcopy(value)


def _first_problem(error: ValueError) -> str:
    """One line of what may be a pydantic error."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    place = ", ".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
