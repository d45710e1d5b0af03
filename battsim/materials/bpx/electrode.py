"""Electrode of a BPX file: layer, particles, binder."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from battsim.constants import FARADAY
from battsim.errors import CaseError
from battsim.materials.bpx import names
from battsim.materials.bpx.functions import (
    INSIDE_SITES,
    STOICHIOMETRIES,
    Function,
    at_standard,
    believed_range,
    check_positive,
    general_exchange_current,
    level_off,
    read_function,
    with_temperature,
)
from battsim.materials.bpx.record import BpxBinder, BpxElectrode, BpxParticle
from battsim.materials.bpx.section import FINITE, INSIDE, NOT_NEGATIVE, POSITIVE, SHARE, Range, Section
from battsim.materials.bpx.setting import Setting
from battsim.materials.closures import constant1, square_root_exchange_current
from battsim.materials.types import REFERENCE_TEMPERATURE, ActiveMaterial, Closure1, ExchangeCurrent, Floats

DENSITY_STAND_IN = {names.NEGATIVE: 2260.0, names.POSITIVE_ELECTRODE: 4750.0}
"""kg/m3 where the file gives none: graphite's and a layered oxide's crystal."""

TRANSFER = Range(0.0, 2.0, low_open=True, high_open=True)
"""Transfer coefficients."""

VOLUME_TOLERANCE = 1e-3
"""By which volume fractions may exceed 1: a R/3 is rounded in published files."""


def read_electrode(section: Section, place: str, setting: Setting) -> BpxElectrode:
    """Electrode of a file, its binder from the user-defined block.

    Raises
    ------
    CaseError
        On a key that is missing, unknown or out of range, and on volume fractions above 1.
    """
    blend = section.has(names.PARTICLE)
    section.check_keys(
        (*names.ELECTRODE_KEYS, names.PARTICLE) if blend else (*names.ELECTRODE_KEYS, *names.PARTICLE_KEYS)
    )
    conductivity = section.number(names.CONDUCTIVITY, POSITIVE)
    components = {"": section}
    if blend:
        listed = section.section(names.PARTICLE)
        components = {name: listed.section(name) for name in listed.data}
        if not components:
            raise section.refuse(names.PARTICLE, "an empty object", "at least one component")
    setting.known(place, names.BINDER_NAMES if blend else (*names.BINDER_NAMES, *names.MATERIAL_NAMES))
    electrode = BpxElectrode(
        thickness=section.number(names.THICKNESS, POSITIVE),
        porosity=section.number(names.POROSITY, SHARE),
        transport_efficiency=section.number(names.EFFICIENCY, SHARE),
        conductivity=conductivity,
        particles=tuple(_particle(part, place, name, conductivity, setting) for name, part in components.items()),
        binder=_binder(place, setting),
    )
    filled = electrode.porosity + electrode.active_volume_fraction
    if filled > 1.0 + VOLUME_TOLERANCE:
        raise CaseError(
            f"{section.where}: the volume fractions add up to {filled:.4f}: {names.POROSITY} {electrode.porosity:g} "
            f"and active material {electrode.active_volume_fraction:.4f} (area per volume times radius / 3); at most 1 "
            "is allowed. Correct one of them."
        )
    return electrode


def _binder(place: str, setting: Setting) -> BpxBinder:
    """Carbon-binder domain from the user-defined block."""
    user = setting.user

    def value(name: str, allowed: Range) -> float | None:
        return user.optional(names.named(place, name), allowed)

    return BpxBinder(
        conductivity=value(names.BINDER_CONDUCTIVITY, POSITIVE),
        porosity=value(names.BINDER_POROSITY, INSIDE),
        tortuosity=value(names.BINDER_TORTUOSITY, Range(1.0)),
        active_coverage=value(names.BINDER_COVERAGE, Range(0.0, 1.0)),
        contact_resistance=value(names.BINDER_RESISTANCE, NOT_NEGATIVE),
    )


def _particle(section: Section, place: str, name: str, effective: float, setting: Setting) -> BpxParticle:
    """Particle of an electrode or component of a blend; `effective` is the electrode's conductivity, S/m."""
    if name:
        section.check_keys(names.PARTICLE_KEYS)
    here = names.component(place, name)
    if name:
        setting.known(here, names.MATERIAL_NAMES)
    if any(section.has(key) for key in names.HYSTERESIS):
        setting.note(f"{here}: the branches of an OCP with hysteresis are left out; {names.OCP!r} is used for both.")
    functions = (names.OCP, names.ENTROPIC, names.DIFFUSIVITY)
    return BpxParticle(
        name=name,
        material=_material(section, place, here, effective, setting),
        radius=section.number(names.RADIUS, POSITIVE),
        area_per_volume=section.number(names.AREA, POSITIVE),
        given=MappingProxyType({key: section.data[key] for key in functions if section.has(key)}),
    )


def _material(section: Section, place: str, here: str, effective: float, setting: Setting) -> ActiveMaterial:
    """Active material, moved from the file's reference temperature to 298.15 K."""
    user = setting.user
    low, high = section.number(names.MINIMUM, INSIDE), section.number(names.MAXIMUM, INSIDE)
    if low >= high:
        raise section.refuse(names.MINIMUM, f"{low:g}", f"a number below that of {names.MAXIMUM!r}, {high:g},")
    ocp = read_function(section, names.OCP, in_solid=True)
    fitted = _fitted(section, here, setting, ocp, (low, high))
    entropic = read_function(section, names.ENTROPIC, in_solid=True) if section.has(names.ENTROPIC) else None
    diffusivity = read_function(section, names.DIFFUSIVITY, in_solid=True)
    check_positive(section, names.DIFFUSIVITY, diffusivity, STOICHIOMETRIES[1:-1])
    slope_in_T = constant1(0.0) if entropic is None else entropic.closure
    _check_finite(section, names.ENTROPIC, entropic, fitted)
    full, empty = (high, low) if place == names.NEGATIVE else (low, high)
    return ActiveMaterial(
        name=f"{setting.title}, {here}",
        source=setting.source,
        max_concentration=section.number(names.MAX_CONCENTRATION, POSITIVE),
        stoichiometry_soc100=full,
        stoichiometry_soc0=empty,
        fitted=fitted,
        ocp=_at_standard_temperature(ocp.closure, slope_in_T, setting.reference),
        entropic=slope_in_T,
        diffusivity=with_temperature(
            level_off(diffusivity, *INSIDE_SITES),
            section.default(names.DIFFUSIVITY_ENERGY, FINITE, 0.0),
            setting.reference,
        ),
        exchange_current=_exchange_current(section, here, setting),
        alpha_a=user.default(names.named(here, names.ALPHA_A), TRANSFER, 0.5),
        alpha_c=user.default(names.named(here, names.ALPHA_C), TRANSFER, 0.5),
        conductivity=_bulk_conductivity(here, effective, setting),
        density=_density(place, here, setting),
        film_resistance=user.default(names.named(here, names.FILM), NOT_NEGATIVE, 0.0),
    )


def _bulk_conductivity(here: str, effective: float, setting: Setting) -> float:
    """Conductivity of the active material, S/m; the electrode's effective one where none is given."""
    bulk = setting.user.optional(names.named(here, names.BULK_CONDUCTIVITY), POSITIVE)
    if bulk is None:
        setting.note(
            f"{here}: no {names.BULK_CONDUCTIVITY!r} given; the electrode's effective {effective:g} S/m is used."
        )
    return effective if bulk is None else bulk


def _density(place: str, here: str, setting: Setting) -> float:
    """Density of the active material, kg/m3, or its stand-in."""
    density, stand_in = setting.user.optional(names.named(here, names.BULK_DENSITY), POSITIVE), DENSITY_STAND_IN[place]
    if density is None:
        setting.note(f"{here}: no {names.BULK_DENSITY!r} given; {stand_in:g} kg/m3 stands in, per kilogram.")
    return stand_in if density is None else density


def _fitted(
    section: Section, here: str, setting: Setting, ocp: Function, window: tuple[float, float]
) -> tuple[float, float]:
    """Range of x in which the potential is used as given."""
    user, believed = setting.user, believed_range(section, names.OCP, ocp, window)
    keys = [names.named(here, name) for name in (names.FITTED_MINIMUM, names.FITTED_MAXIMUM)]
    allowed = Range(*believed)
    low, high = (user.default(key, allowed, end) for key, end in zip(keys, believed, strict=True))
    if low >= high:
        raise user.refuse(keys[0], f"{low:g}", f"a number below the fitted maximum, {high:g},")
    if not low <= window[0] < window[1] <= high:
        setting.note(
            f"{here}: the limits of charge, {window[0]:g} to {window[1]:g}, leave the range of the OCP, {low:g} to "
            f"{high:g}; it continues straight there."
        )
    return low, high


def _check_finite(section: Section, key: str, function: Function | None, fitted: tuple[float, float]) -> None:
    """CaseError where a function has no finite value in the fitted range."""
    if function is None:
        return
    places = np.linspace(*fitted, 201)
    for x in places[~np.isfinite(function.tried(places))][:1]:
        raise section.refuse(key, f"no finite value at x = {x:g}", "a finite value over the range of the OCP")


def _at_standard_temperature(ocp: Closure1, entropic: Closure1, reference: float) -> Closure1:
    """U at 298.15 K from U at the file's reference temperature."""
    warmer = REFERENCE_TEMPERATURE - reference
    if warmer == 0.0:
        return ocp

    def evaluate(x: Floats) -> tuple[Floats, Floats]:
        (U, dU_dx), (dU_dT, d2U_dTdx) = ocp(x), entropic(x)
        return U + warmer * dU_dT, dU_dx + warmer * d2U_dTdx

    return evaluate


def _exchange_current(section: Section, here: str, setting: Setting) -> ExchangeCurrent:
    """Exchange current from the rate constant, or from the user-defined function of x."""
    rate = section.number(names.RATE, POSITIVE)
    activation = section.default(names.RATE_ENERGY, FINITE, 0.0)
    standard = at_standard(activation, setting.reference)
    key, exponent_key = names.named(here, names.EXCHANGE_CURRENT), names.named(here, names.SALT_EXPONENT)
    exponent = setting.user.default(exponent_key, NOT_NEGATIVE, 0.5)
    if setting.user.has(key):
        function = read_function(setting.user, key, in_solid=True)
        check_positive(setting.user, key, function, STOICHIOMETRIES[1:-1])
        general = Function(lambda x: _scaled(function.closure(x), standard), function.domain)
        return general_exchange_current(general, exponent, setting.salt, activation)
    if setting.user.has(exponent_key):
        raise setting.user.refuse(exponent_key, "an exponent without its function", f"{key!r} beside it")
    c_max = section.number(names.MAX_CONCENTRATION, POSITIVE)
    return square_root_exchange_current(standard * FARADAY * rate / (c_max * setting.salt**0.5), c_max, activation)


def _scaled(pair: tuple[Floats, Floats], factor: float) -> tuple[Floats, Floats]:
    return factor * pair[0], factor * pair[1]
