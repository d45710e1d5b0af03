"""Reads a case directory: TOML, what BPX files fill in, the schema of its kind, the rules that need several keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from battsim.case.files import files_of, outside, require_file
from battsim.case.fill import with_bpx
from battsim.case.full import FullCellCase, misplaced
from battsim.case.messages import explain, join, shown, suggest
from battsim.case.p2d import P2DCase
from battsim.case.rules import check_start, problems, refuse_absurd
from battsim.case.schema import Case, ResolvedCase, TortuosityCase
from battsim.case.unavailable import not_available
from battsim.errors import CaseError, InputError

CASE_FILE = "case.toml"
KINDS: dict[str, type[Case]] = {"resolved": ResolvedCase, "p2d": P2DCase, "tortuosity": TortuosityCase}
LARGEST_FILE = 1_000_000


def load_case(directory: Path, *, allow_outside: bool = False) -> Case:
    """The case in a directory, checked, SI, every default filled in.

    Raises
    ------
    CaseError
        Where case.toml asks for something that is not allowed or not available; all problems are listed.
    InputError
        Where case.toml or a file that it names cannot be found.
    ImpossibleError
        Where a rate, current or power is absurd, or the first step cannot begin.
    """
    file = directory / CASE_FILE
    return read_case(_of_case(file), directory, allow_outside=allow_outside, file=str(file))


def read_case(data: dict[str, Any], directory: Path, *, allow_outside: bool = False, file: str = CASE_FILE) -> Case:
    """The case in a table, such as `case.resolved()`; `file` is what messages call it. Raises as `load_case`."""
    model = _kind_of(data, file)
    refused = not_available(data) or list(_other_kinds_tables(data, model))
    if refused:
        raise CaseError(join(file, refused))
    try:
        case = model.model_validate(with_bpx(data, directory.resolve(), file, allow_outside=allow_outside))
    except ValidationError as error:
        raise CaseError(join(file, explain(error, model))) from None
    case._directory = directory.resolve()
    contradictions = [*problems(case), *_outside(case, allow_outside)]
    if contradictions:
        raise CaseError(join(file, contradictions))
    refuse_absurd(case, file)
    for key, name in files_of(case).items():
        require_file(case.directory, file, key, name)
    check_start(case, file)
    return case


def _of_case(file: Path) -> dict[str, Any]:
    """The tables of a case file."""
    if not file.is_file():
        what = "is not a directory" if not file.parent.is_dir() else f"contains no {CASE_FILE}"
        raise InputError(
            f"{file.parent} {what}; a case is a directory with a {CASE_FILE}: "
            f"start one with battsim init {file.parent} --template half-cell"
        )
    return read_toml(file, LARGEST_FILE, 'Strings need quotes ("1 um")')


def read_toml(file: Path, most_bytes: int, quotes: str) -> dict[str, Any]:
    """The tables of a file that is there; `quotes` is what to say of strings where it is not valid TOML.

    Raises
    ------
    CaseError
        Where it is too large, or not TOML in UTF-8.
    InputError
        Where it cannot be read.
    """
    if file.stat().st_size > most_bytes:
        raise CaseError(f"{file} has {file.stat().st_size} bytes; a file of this kind has at most {most_bytes}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CaseError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise CaseError(
            f"{file} is not valid TOML: {error}. {quotes}, a key stands once, and a table starts with [name]"
        ) from None
    except RecursionError:
        raise CaseError(f"{file} nests lists or tables too deeply; four levels are enough") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _kind_of(data: dict[str, Any], file: str) -> type[Case]:
    """The model of `model.kind`, which decides what the other tables mean."""
    model = data.get("model")
    if not isinstance(model, dict) or "kind" not in model:
        raise CaseError(
            join(file, ['model.kind: is required and missing; add [model] with kind = "resolved" (or p2d, tortuosity)'])
        )
    kind = model["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise CaseError(join(file, [f"model.kind = {shown(kind)} is not allowed; {suggest(kind, KINDS)}"]))
    return FullCellCase if kind == "resolved" and model.get("cell") == "full" else KINDS[kind]


def _other_kinds_tables(data: dict[str, Any], model: type[Case]) -> Iterator[str]:
    """Tables that exist, but would have no effect on this kind of case."""
    kind = data["model"]["kind"]
    for table in data:
        if table in model.model_fields or not any(table in other.model_fields for other in KINDS.values()):
            continue
        told = misplaced(table, model)
        if told is not None:
            yield told
        else:
            yield f'{table}: is not used by model.kind = "{kind}"; delete the table'


def _outside(case: Case, allow_outside: bool) -> Iterator[str]:
    """Files outside the case directory, symbolic links followed."""
    for key, name in files_of(case).items():
        wrong = outside(case.directory, key, name)
        if wrong is not None and not allow_outside:
            yield wrong
