"""Reads a case directory: TOML, then the schema of its kind, then the rules that need several keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from battsim.case.active import active_material
from battsim.case.materials import Curve
from battsim.case.messages import explain, join, shown, suggest
from battsim.case.schema import Case, ResolvedCase, TortuosityCase
from battsim.case.unavailable import not_available
from battsim.errors import CaseError, ImpossibleError, InputError
from battsim.materials.charge import stoichiometry_at_voltage
from battsim.materials.library import ACTIVE_MATERIALS, COUNTER_ELECTRODES, ELECTROLYTES

CASE_FILE = "case.toml"
KINDS: dict[str, type[Case]] = {"resolved": ResolvedCase, "tortuosity": TortuosityCase}
HIGHEST_RATE = 1000.0
"""C-rate beyond which a request is a slip: the cell would be empty within seconds."""
HIGHEST_CURRENT = 1e6
"""Current density beyond which a request is a slip, A/m2."""
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
        Where a rate or current is absurd.
    """
    file = directory / CASE_FILE
    return read_case(_read_toml(file), directory, allow_outside=allow_outside, file=str(file))


def read_case(data: dict[str, Any], directory: Path, *, allow_outside: bool = False, file: str = CASE_FILE) -> Case:
    """The case in a table, such as `case.resolved()`; `file` is what messages call it. Raises as `load_case`."""
    model = _kind_of(data, file)
    refused = [*not_available(data), *_other_kinds_tables(data, model)]
    if refused:
        raise CaseError(join(file, refused))
    try:
        case = model.model_validate(data)
    except ValidationError as error:
        raise CaseError(join(file, explain(error, model))) from None
    case._directory = directory.resolve()
    problems = [*_problems(case), *_outside(case, allow_outside)]
    if problems:
        raise CaseError(join(file, problems))
    _refuse_absurd(case, file)
    _require_files(case, file)
    if isinstance(case, ResolvedCase):
        _check_active_material(case, file)
    return case


def files_of(case: Case) -> dict[str, str]:
    """Every file that the case names, by the dotted path of its key."""
    files = {} if case.image.file is None else {"image.file": case.image.file}
    if isinstance(case, ResolvedCase) and not isinstance(case.materials.active, str):
        for key in ("ocp", "entropic"):
            curve = getattr(case.materials.active, key)
            if isinstance(curve, Curve) and curve.file is not None:
                files[f"materials.active.{key}.file"] = curve.file
    return files


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
            join(file, ['model.kind: is required and missing; add [model] with kind = "resolved" or "tortuosity"'])
        )
    kind = model["kind"]
    if kind == "p2d":
        raise CaseError(join(file, not_available(data)))
    if not isinstance(kind, str) or kind not in KINDS:
        raise CaseError(join(file, [f"model.kind = {shown(kind)} is not allowed; {suggest(kind, KINDS)}"]))
    return KINDS[kind]


def _other_kinds_tables(data: dict[str, Any], model: type[Case]) -> Iterator[str]:
    """Tables that exist, but would have no effect on this kind of case."""
    kind = data["model"]["kind"]
    for table in data:
        if table not in model.model_fields and any(table in other.model_fields for other in KINDS.values()):
            yield f'{table}: is not used by model.kind = "{kind}"; delete the table'


def _problems(case: Case) -> Iterator[str]:
    """Rules that need several keys."""
    if isinstance(case, ResolvedCase):
        yield from _image_problems(case)
        yield from _material_problems(case)
        if len(set(case.output.fields)) != len(case.output.fields):
            yield f"output.fields = {shown(case.output.fields)} repeats a field; name each once"
    if isinstance(case, TortuosityCase):
        for name in case.transport.conductivity:
            if name not in case.image.phases:
                yield f"transport.conductivity.{name}: is no phase of the image; {suggest(name, case.image.phases)}"


def _image_problems(case: ResolvedCase) -> Iterator[str]:
    """A half cell needs its phases by their names, and a direction."""
    known = ("pore", "active", "binder")
    for name in ("pore", "active"):
        if name not in case.image.phases:
            yield (
                f"image.labels.{name}: is required and missing; a half cell needs pore and active, "
                "such as labels = { pore = 0, active = 1 }"
            )
    for name in case.image.phases:
        if name not in known:
            hint = f"{suggest(name, known)}; or list its value in image.ignore"
            yield f"image.labels.{name}: is no phase of a half cell; {hint}"
    if case.image.file is not None and "through_plane" not in case.image.model_fields_set:
        yield (
            "image.through_plane: is required and missing; add the axis from separator to collector, "
            'such as through_plane = "x"'
        )


def _material_problems(case: ResolvedCase) -> Iterator[str]:
    """Names that are no published set."""
    active = case.materials.active
    base = "" if isinstance(active, str) else ".base"
    chosen = active if isinstance(active, str) else active.base
    for key, name, known in (
        (f"active{base}", chosen, ACTIVE_MATERIALS),
        ("electrolyte", case.materials.electrolyte, ELECTROLYTES),
        ("counter", case.materials.counter, COUNTER_ELECTRODES),
    ):
        if name is not None and name not in known:
            yield f"materials.{key} = {shown(name)} is no set that is known here; {suggest(name, sorted(known))}"


def _check_active_material(case: ResolvedCase, file: str) -> None:
    """Build it once: formulas are read, curves tried out over their range, and the initial voltage found on them."""
    try:
        active = active_material(case)
    except (CaseError, InputError) as error:
        raise type(error)(f"{file}: materials.active: {error}") from None
    if case.initial.voltage is not None:
        try:
            stoichiometry_at_voltage(active, case.initial.voltage, case.conditions.temperature)
        except CaseError as error:
            raise CaseError(f"{file}: {error}") from None


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


def _refuse_absurd(case: Case, file: str) -> None:
    """Rates that no cell survives for the length of a time step."""
    for number, step in enumerate(case.protocol if isinstance(case, ResolvedCase) else ()):
        limits = (("rate", step.rate, HIGHEST_RATE, "C"), ("current", step.current, HIGHEST_CURRENT, "A/m2"))
        for key, value, highest, unit in limits:
            if value is not None and value > highest:
                raise ImpossibleError(
                    f"{file}: protocol.{number}.{key} = {value:g} {unit} is beyond {highest:g} {unit}, "
                    "which no electrode can carry; check the unit, or lower it"
                )


def _require_files(case: Case, file: str) -> None:
    """InputError for the first file that the case names and that is not there."""
    for key, name in files_of(case).items():
        place = case.locate(name)
        slices = key == "image.file" and place.is_dir()
        if not (place.is_file() or slices):
            what = "is a directory, not a file" if place.is_dir() else "does not exist"
            raise InputError(
                f"{file}: {key} = {shown(name)}: {place} {what}; "
                "paths are relative to the case directory, so put the file there or correct the name"
            )
