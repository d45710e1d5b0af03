"""Electrolyte of a BPX file, with TF = 1 and a constant t_plus unless the user-defined block says more."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from battsim.materials.bpx import names
from battsim.materials.bpx.functions import (
    SALTS,
    check_positive,
    in_salt,
    level_off,
    read_function,
    with_temperature,
)
from battsim.materials.bpx.section import FINITE, INSIDE, Section
from battsim.materials.bpx.setting import Setting
from battsim.materials.types import REFERENCE_TEMPERATURE, ClosureT, Electrolyte

CHECKED = (1.0, 4000.0)
"""Salt concentrations between which a formula for t_plus or TF is evaluated, mol/m3; it levels off outside."""


def read_electrolyte(section: Section, setting: Setting) -> Electrolyte:
    """Electrolyte of a file.

    Raises
    ------
    CaseError
        On a key that is missing, unknown or out of range, and on a function that is not positive.
    """
    section.check_keys(names.ELECTROLYTE_KEYS, names.MOVED_IN_1)
    diffusivity, D_range = _property(section, names.DIFFUSIVITY, names.DIFFUSIVITY_ENERGY, setting)
    conductivity, kappa_range = _property(section, names.CONDUCTIVITY, names.CONDUCTIVITY_ENERGY, setting)
    transference = section.number(names.TRANSFERENCE, INSIDE)
    user = setting.known(names.ELECTROLYTE, names.ELECTROLYTE_NAMES)
    factor_key = names.named(names.ELECTROLYTE, names.THERMODYNAMIC_FACTOR)
    if user.has(factor_key):
        check_positive(user, factor_key, read_function(user, factor_key, in_solid=False), SALTS[CHECKED[1] > SALTS])
    else:
        setting.note(
            f"{names.ELECTROLYTE}: no thermodynamic factor given; TF = 1, an ideal solution (as PyBaMM reads BPX)."
        )
    return Electrolyte(
        name=f"{setting.title}, electrolyte",
        source=setting.source,
        diffusivity=diffusivity,
        conductivity=conductivity,
        transference=_user_function(user, names.TRANSFERENCE_FUNCTION, transference),
        thermodynamic_factor=_user_function(user, names.THERMODYNAMIC_FACTOR, 1.0),
        fitted=(max(D_range[0], kappa_range[0]), min(D_range[1], kappa_range[1])),
    )


def _property(section: Section, key: str, energy: str, setting: Setting) -> tuple[ClosureT, tuple[float, float]]:
    """Closure of a positive property, and the range of concentrations for which it may be taken."""
    function = read_function(section, key, in_solid=False)
    at_reference, note = in_salt(section, key, function, setting.salt)
    setting.note(None if note is None else f"{names.ELECTROLYTE}: {note}")
    activation = section.default(energy, FINITE, 0.0)
    closure = with_temperature(lambda c_e: at_reference(c_e, REFERENCE_TEMPERATURE), activation, setting.reference)
    return closure, function.domain or CHECKED


def _user_function(user: Section, name: str, otherwise: float) -> ClosureT:
    """Closure of a function of the user-defined block, or of a number; the same at all temperatures."""
    key = names.named(names.ELECTROLYTE, name)
    where = user if user.has(key) else Section(user.where, {key: otherwise})
    return with_temperature(level_off(read_function(where, key, in_solid=False), *CHECKED), 0.0, REFERENCE_TEMPERATURE)


def given_functions(parameters: Section, user: Section) -> Mapping[str, Any]:
    """What the file says of the electrolyte, by its keys, to be written back unchanged."""
    electrolyte = parameters.optional_section(names.ELECTROLYTE).data
    extra = (names.named(names.ELECTROLYTE, name) for name in names.ELECTROLYTE_NAMES)
    return MappingProxyType(
        {key: electrolyte[key] for key in names.ELECTROLYTE_KEYS if key in electrolyte}
        | {key: user.data[key] for key in extra if user.has(key)}
    )
