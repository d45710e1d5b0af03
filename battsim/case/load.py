"""Reads a case directory: TOML, then the schema of its kind, then the rules that need several keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from battsim.case.active import chosen_materials
from battsim.case.full import FullCellCase, images_of, misplaced
from battsim.case.materials import Curve, OwnActive
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
    return read_case(_read_toml(file), directory, allow_outside=allow_outside, file=str(file))


def read_case(data: dict[str, Any], directory: Path, *, allow_outside: bool = False, file: str = CASE_FILE) -> Case:
    """The case in a table, such as `case.resolved()`; `file` is what messages call it. Raises as `load_case`."""
    model = _kind_of(data, file)
    refused = not_available(data) or list(_other_kinds_tables(data, model))
    if refused:
        raise CaseError(join(file, refused))
    try:
        case = model.model_validate(data)
    except ValidationError as error:
        raise CaseError(join(file, explain(error, model))) from None
    case._directory = directory.resolve()
    contradictions = [*problems(case), *_outside(case, allow_outside)]
    if contradictions:
        raise CaseError(join(file, contradictions))
    refuse_absurd(case, file)
    _require_files(case, file)
    check_start(case, file)
    return case


def files_of(case: Case) -> dict[str, str]:
    """Every file that the case names, by the dotted path of its key."""
    images = {f"{key}.file": image.file for key, image in images_of(case).items() if image.file is not None}
    curves = {
        f"{key}.{name}.file": curve.file
        for key, chosen in chosen_materials(case).items()
        if isinstance(chosen, OwnActive)
        for name, curve in (("ocp", chosen.ocp), ("entropic", chosen.entropic))
        if isinstance(curve, Curve) and curve.file is not None
    }
    return images | curves


def _read_toml(file: Path) -> dict[str, Any]:
    """The tables of a case file."""
    if not file.is_file():
        what = "is not a directory" if not file.parent.is_dir() else f"contains no {CASE_FILE}"
        raise InputError(
            f"{file.parent} {what}; a case is a directory with a {CASE_FILE}: "
            f"start one with battsim init {file.parent} --template half-cell"
        )
    if file.stat().st_size > LARGEST_FILE:
        raise CaseError(f"{file} has {file.stat().st_size} bytes; a case file has at most {LARGEST_FILE}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CaseError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise CaseError(
            f"{file} is not valid TOML: {error}. "
            'Strings need quotes ("1 um"), a key stands once, and a table starts with [name]'
        ) from None
    except RecursionError:
        raise CaseError(f"{file} nests lists or tables too deeply; a case file needs four levels") from None
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
        try:
            place = case.locate(name)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{key} = {shown(name)} cannot be followed: {error}; name a plain file") from None
        if not allow_outside and not place.is_relative_to(case.directory):
            yield (
                f"{key} = {shown(name)} is {place}, outside the case directory; copy it into the case, "
                "or allow it with --allow-outside"
            )


def _require_files(case: Case, file: str) -> None:
    """InputError for the first file that the case names and that is not there."""
    for key, name in files_of(case).items():
        place = case.locate(name)
        slices = key.endswith("image.file") and place.is_dir()
        if not (place.is_file() or slices):
            what = "is a directory, not a file" if place.is_dir() else "does not exist"
            raise InputError(
                f"{file}: {key} = {shown(name)}: {place} {what}; "
                "paths are relative to the case directory, so put the file there or correct the name"
            )
