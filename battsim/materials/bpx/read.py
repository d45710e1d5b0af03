"""From a BPX file to the record of a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from battsim.errors import CaseError
from battsim.materials.bpx import names
from battsim.materials.bpx.document import check_schema, in_layout_of_1, load, version_of
from battsim.materials.bpx.electrode import read_electrode
from battsim.materials.bpx.electrolyte import given_functions, read_electrolyte
from battsim.materials.bpx.record import BpxCell, BpxElectrode, BpxSeparator
from battsim.materials.bpx.section import FINITE, POSITIVE, SHARE, Range, Section
from battsim.materials.bpx.setting import Setting


def read_bpx(path: Path) -> BpxCell:
    """Cell that a BPX file describes.

    Raises
    ------
    InputError
        Where the file is no JSON object, or the package `bpx` (extra `bpx`) is not installed.
    CaseError
        Where the version is not supported, a key is missing, unknown or out of range, a formula or a table is wrong, or
        the volume fractions of an electrode exceed 1: with file, key, value and range.
    """
    document = load(path)
    top = Section(str(path), document)
    header = top.section("Header")
    version = version_of(header)
    if version.startswith("0."):
        document = in_layout_of_1(document)
        top = Section(str(path), document)
    top.check_keys(("Header", "Parameterisation", names.STATE, "Validation"))
    cell = _cell(top, header, version)
    check_schema(str(path), document)
    return cell


def _cell(top: Section, header: Section, version: str) -> BpxCell:
    """Record of the whole file."""
    parameters, partial = _parameters(top, header)
    state = _state(top)
    ratings = parameters.section(names.CELL)
    ratings.check_keys(names.CELL_KEYS, names.MOVED_IN_1)
    conditions, thermal = state.optional_section(names.CONDITIONS), state.optional_section(names.THERMAL)
    user = parameters.optional_section(names.USER_DEFINED)
    setting = Setting(
        user=user,
        reference=ratings.default(names.REFERENCE, POSITIVE, 298.15),
        salt=conditions.default(names.SALT, POSITIVE, 1000.0),
        title=header.text("Title") or Path(top.where).stem,
        source=f"BPX file {Path(top.where).name}"
        + (f", {header.text('References')}" if header.has("References") else ""),
    )
    _note_assumptions(setting, conditions, version)

    def wanted(key: str) -> bool:
        return parameters.has(key) or not partial

    electrolyte = (
        read_electrolyte(parameters.section(names.ELECTROLYTE), setting) if wanted(names.ELECTROLYTE) else None
    )
    electrodes: dict[str, BpxElectrode | None] = {
        key: read_electrode(parameters.section(key), key, setting) if wanted(key) else None
        for key in (names.NEGATIVE, names.POSITIVE_ELECTRODE)
    }
    separator = _separator(parameters.section(names.SEPARATOR)) if wanted(names.SEPARATOR) else None
    return BpxCell(
        title=setting.title,
        source=setting.source,
        version=version,
        negative=electrodes[names.NEGATIVE],
        positive=electrodes[names.POSITIVE_ELECTRODE],
        separator=separator,
        electrolyte=electrolyte,
        initial_salt=setting.salt,
        initial_soc=conditions.optional(names.SOC, Range(0.0, 1.0)),
        initial_temperature=conditions.optional(names.INITIAL_TEMPERATURE, POSITIVE),
        ambient_temperature=thermal.optional(names.AMBIENT, POSITIVE),
        reference_temperature=setting.reference,
        electrolyte_given=given_functions(parameters, user),
        user_defined=setting.rest(),
        description=header.text("Description"),
        notes=tuple(setting.notes),
        **_ratings(ratings),
    )


def _note_assumptions(setting: Setting, conditions: Section, version: str) -> None:
    """Notes on what the file leaves open as a whole."""
    if version in ("0.1", "0.2"):
        setting.note(
            f"BPX {version}: its standard writes j = i0 sinh(...); read as j = 2 i0 sinh(...), as in 0.3 and later, "
            "which the files of this version in circulation mean."
        )
    if not conditions.has(names.SALT):
        setting.note(
            "no initial salt concentration given: 1000 mol/m3 is assumed, also as reference of the rate constants."
        )


def _ratings(ratings: Section) -> dict[str, Any]:
    """What the file says of the cell as a whole, by the fields of the record."""
    lower, upper = ratings.number(names.LOWER, FINITE), ratings.number(names.UPPER, FINITE)
    if lower >= upper:
        raise ratings.refuse(names.LOWER, f"{lower:g} V", f"a voltage below that of {names.UPPER!r}, {upper:g} V,")
    return {
        "electrode_area": ratings.number(names.ELECTRODE_AREA, POSITIVE),
        "electrode_pairs": _count(ratings, names.PAIRS),
        "nominal_capacity": ratings.number(names.CAPACITY, POSITIVE),
        "lower_voltage": lower,
        "upper_voltage": upper,
        "external_surface_area": ratings.optional(names.EXTERNAL_AREA, POSITIVE),
        "volume": ratings.optional(names.VOLUME, POSITIVE),
        "density": ratings.optional(names.DENSITY, POSITIVE),
        "specific_heat_capacity": ratings.optional(names.HEAT_CAPACITY, POSITIVE),
    }


def _parameters(top: Section, header: Section) -> tuple[Section, bool]:
    """Parameterisation, and whether parts of it may be missing."""
    header.check_keys(("BPX", "Title", "Description", "References", "Model"))
    model = header.required("Model", '"DFN", "SPMe" or "Partial"')
    if model not in ("DFN", "SPMe", "Partial"):
        allowed = '"DFN" or "SPMe" (which have electrolyte, separator and porosities), or "Partial" with one electrode'
        raise header.refuse("Model", repr(model), allowed)
    parameters = top.section("Parameterisation")
    electrodes = (names.NEGATIVE, names.POSITIVE_ELECTRODE)
    parameters.check_keys((names.CELL, names.ELECTROLYTE, *electrodes, names.SEPARATOR, names.USER_DEFINED))
    if not any(parameters.has(key) for key in electrodes):
        raise CaseError(f"{parameters.where}: neither {electrodes[0]!r} nor {electrodes[1]!r} found; give one of them.")
    return parameters, model == "Partial"


def _state(top: Section) -> Section:
    """State, without degradation: that would change the electrodes after they have been described."""
    state = top.optional_section(names.STATE)
    state.check_keys((names.CONDITIONS, names.THERMAL, names.DEGRADATION))
    state.optional_section(names.CONDITIONS).check_keys(names.CONDITION_KEYS)
    state.optional_section(names.THERMAL).check_keys(names.THERMAL_KEYS)
    degradation = state.optional_section(names.DEGRADATION)
    degradation.check_keys(names.DEGRADATION_KEYS)
    for key, value in degradation.data.items():
        losses = value.values() if isinstance(value, dict) else (value,)
        if any(loss not in (0, None) for loss in losses):
            raise degradation.refuse(
                key, f"{value!r}", "0 (degradation is not modelled; describe the aged cell itself)"
            )
    return state


def _count(section: Section, key: str) -> int:
    """Whole number of at least one."""
    value = section.number(key, Range(1.0))
    if value != int(value):
        raise section.refuse(key, f"{value:g}", "a whole number")
    return int(value)


def _separator(section: Section) -> BpxSeparator:
    section.check_keys(names.LAYER_KEYS)
    return BpxSeparator(
        thickness=section.number(names.THICKNESS, POSITIVE),
        porosity=section.number(names.POROSITY, SHARE),
        transport_efficiency=section.number(names.EFFICIENCY, SHARE),
    )
