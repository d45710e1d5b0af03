"""From the record of a cell to a BPX object of version 1.1, and to a file.

Functions that came from a file go back as they were (formula, number or table). Others are sampled, over the whole
range of their argument and at the reference temperature, as finely as readers need that draw straight lines (PyBaMM) or
monotone cubics (this package) between the entries: open-circuit potentials to 0.02 mV, properties of transport to 1e-4
of their value. Temperature dependences that are no Arrhenius law, exchange currents that are not sqrt(c_e x (1 - x)),
and t_plus and TF as functions go into the user-defined block or get lost to other readers: a sentence of the
description says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from battsim.errors import CaseError, InputError
from battsim.materials.bpx import names
from battsim.materials.bpx.document import WRITTEN
from battsim.materials.bpx.law import exchange_current_of, property_of
from battsim.materials.bpx.record import BpxBinder, BpxCell, BpxElectrode, BpxParticle, BpxSeparator
from battsim.materials.bpx.sample import is_constant, sampled
from battsim.materials.types import ActiveMaterial, ClosureT, Electrolyte, Floats, extend_by_end_slope, open_circuit

OCP_TOLERANCE = 2e-5
"""Of a sampled open-circuit potential, V."""

ENTROPIC_TOLERANCE = 1e-7
"""Of a sampled entropic coefficient, V/K."""

TRANSPORT_TOLERANCE = 1e-4
"""Of a sampled property of transport or exchange current, relative."""

LEAST_SALT = 1.0
"""Salt concentration at which tables of the electrolyte begin, mol/m3."""


@dataclass(slots=True)
class _Draft:
    """What is gathered while an object is written."""

    cell: BpxCell
    user_defined: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def put(self, place: str, name: str, value: Any, default: Any = None) -> None:
        """Write a quantity into the user-defined block unless it is None or has its default."""
        if value is not None and value != default:
            self.user_defined[names.named(place, name)] = value

    def note(self, text: str | None) -> None:
        """Keep a sentence for the description."""
        if text is not None:
            self.notes.append(text)


def bpx_of(cell: BpxCell) -> dict[str, Any]:
    """BPX object of version 1.1, ready for `json.dumps` and for `pybamm.ParameterValues.create_from_bpx_obj`.

    External surface and volume, which readers ask for although no isothermal model uses them, are those of the layers
    where the record has none. Where a part of the cell is None, the model is "Partial".

    Raises
    ------
    CaseError
        Where the record holds something that BPX has no place for.
    """
    draft = _Draft(cell, dict(cell.user_defined))
    parameters: dict[str, Any] = {names.CELL: _ratings(cell)}
    if cell.electrolyte is not None:
        parameters[names.ELECTROLYTE] = _electrolyte(cell.electrolyte, draft)
    for place, electrode in ((names.NEGATIVE, cell.negative), (names.POSITIVE_ELECTRODE, cell.positive)):
        if electrode is not None:
            parameters[place] = _electrode(electrode, place, draft)
    if cell.separator is not None:
        parameters[names.SEPARATOR] = _layer(cell.separator)
    if draft.user_defined:
        parameters[names.USER_DEFINED] = draft.user_defined
    complete = None not in (cell.electrolyte, cell.negative, cell.positive, cell.separator)
    header = {
        "BPX": WRITTEN,
        "Title": cell.title,
        "Description": " ".join(dict.fromkeys((cell.description or "Written by battsim.", *cell.notes, *draft.notes))),
        "References": cell.source,
        "Model": "DFN" if complete else "Partial",
    }
    return {"Header": header, "Parameterisation": parameters, names.STATE: _state(cell)}


def write_bpx(path: Path, cell: BpxCell) -> None:
    """Write a cell as a BPX file, see `bpx_of`; InputError where the file cannot be written."""
    text = json.dumps(bpx_of(cell), indent=1, allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}).") from error


def _ratings(cell: BpxCell) -> dict[str, Any]:
    """Section of the cell as a whole."""
    layers = (cell.negative, cell.separator, cell.positive)
    thickness = sum(layer.thickness for layer in layers if layer is not None)
    area = cell.electrode_area * cell.electrode_pairs
    values = {
        names.ELECTRODE_AREA: cell.electrode_area,
        names.PAIRS: cell.electrode_pairs,
        names.LOWER: cell.lower_voltage,
        names.UPPER: cell.upper_voltage,
        names.CAPACITY: cell.nominal_capacity,
        names.REFERENCE: cell.reference_temperature,
        names.EXTERNAL_AREA: cell.external_surface_area or 2.0 * area,
        names.VOLUME: cell.volume or area * thickness,
        names.DENSITY: cell.density,
        names.HEAT_CAPACITY: cell.specific_heat_capacity,
    }
    return _without_none(values)


def _state(cell: BpxCell) -> dict[str, Any]:
    """Section of initial and ambient conditions."""
    conditions = {
        names.SOC: cell.initial_soc,
        names.INITIAL_TEMPERATURE: cell.initial_temperature,
        names.SALT: cell.initial_salt,
    }
    return {
        names.CONDITIONS: _without_none(conditions),
        names.THERMAL: _without_none({names.AMBIENT: cell.ambient_temperature}),
    }


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _layer(layer: BpxElectrode | BpxSeparator) -> dict[str, Any]:
    """Keys of a porous layer."""
    return {
        names.THICKNESS: layer.thickness,
        names.POROSITY: layer.porosity,
        names.EFFICIENCY: layer.transport_efficiency,
    }


def _electrode(electrode: BpxElectrode, place: str, draft: _Draft) -> dict[str, Any]:
    """Section of an electrode; its binder goes into the user-defined block."""
    _binder(electrode.binder, place, draft)
    section = _layer(electrode) | {names.CONDUCTIVITY: electrode.conductivity}
    if len(electrode.particles) == 1:
        return section | _particle(electrode.particles[0], place, place, draft)
    components = [particle.name for particle in electrode.particles]
    if not all(components) or len(set(components)) != len(components):
        raise CaseError(f"{place}: the components of a blend need names that differ; {components} found.")
    blend = {
        particle.name: _particle(particle, place, names.component(place, particle.name), draft)
        for particle in electrode.particles
    }
    return section | {names.PARTICLE: blend}


def _binder(binder: BpxBinder, place: str, draft: _Draft) -> None:
    draft.put(place, names.BINDER_CONDUCTIVITY, binder.conductivity)
    draft.put(place, names.BINDER_POROSITY, binder.porosity)
    draft.put(place, names.BINDER_TORTUOSITY, binder.tortuosity)
    draft.put(place, names.BINDER_COVERAGE, binder.active_coverage)
    draft.put(place, names.BINDER_RESISTANCE, binder.contact_resistance)


def _particle(particle: BpxParticle, place: str, here: str, draft: _Draft) -> dict[str, Any]:
    """Keys of a particle; `here` names it in the user-defined block."""
    material, T_ref = particle.material, draft.cell.reference_temperature
    _check_limits(material, place, here)
    _user_defined(material, here, draft)
    rate = exchange_current_of(here, material, draft.cell.initial_salt, T_ref, TRANSPORT_TOLERANCE)
    diffusivity = property_of(f"{here}: the diffusivity", material.diffusivity, T_ref, (0.0, 1.0), TRANSPORT_TOLERANCE)
    for law in (rate, diffusivity):
        draft.note(law.note)
    for name, value in rate.user_defined.items():
        draft.put(here, name, value)
    given = particle.given
    return {
        names.MINIMUM: min(material.stoichiometry_soc0, material.stoichiometry_soc100),
        names.MAXIMUM: max(material.stoichiometry_soc0, material.stoichiometry_soc100),
        names.MAX_CONCENTRATION: material.max_concentration,
        names.RADIUS: particle.radius,
        names.AREA: particle.area_per_volume,
        names.DIFFUSIVITY: given.get(names.DIFFUSIVITY, diffusivity.value),
        names.DIFFUSIVITY_ENERGY: diffusivity.activation_energy,
        names.OCP: given[names.OCP] if names.OCP in given else _ocp(material, T_ref),
        names.ENTROPIC: given[names.ENTROPIC] if names.ENTROPIC in given else _entropic(material),
        names.RATE: rate.value,
        names.RATE_ENERGY: rate.activation_energy,
    }


def _check_limits(material: ActiveMaterial, place: str, here: str) -> None:
    """CaseError where the limits of charge are those of the other electrode."""
    full, empty = material.stoichiometry_soc100, material.stoichiometry_soc0
    if (full > empty) != (place == names.NEGATIVE):
        raise CaseError(
            f"{here}: x = {full:g} at 100 % and {empty:g} at 0 % of charge found; BPX takes the larger for 100 % "
            "of a negative and for 0 % of a positive electrode. Put the material into the other electrode."
        )


def _user_defined(material: ActiveMaterial, here: str, draft: _Draft) -> None:
    """What BPX lacks of an active material."""
    draft.put(here, names.BULK_CONDUCTIVITY, material.conductivity)
    draft.put(here, names.BULK_DENSITY, material.density)
    draft.put(here, names.FILM, material.film_resistance, 0.0)
    draft.put(here, names.ALPHA_A, material.alpha_a, 0.5)
    draft.put(here, names.ALPHA_C, material.alpha_c, 0.5)
    draft.put(here, names.FITTED_MINIMUM, material.fitted[0])
    draft.put(here, names.FITTED_MAXIMUM, material.fitted[1])


def _ocp(material: ActiveMaterial, T_ref: float) -> dict[str, list[float]]:
    """Table of the open-circuit potential from x = 0 to 1, continued past the fitted range as everywhere here."""
    return sampled(lambda x: open_circuit(material, x, T_ref)[0], 0.0, 1.0, absolute=OCP_TOLERANCE)


def _entropic(material: ActiveMaterial) -> float | dict[str, list[float]]:
    """Number or table of the entropic coefficient, continued past the fitted range as the potential."""
    entropic = extend_by_end_slope(material.entropic, material.fitted)
    return _number_or_table(lambda x: entropic(x)[0], (0.0, 1.0), absolute=ENTROPIC_TOLERANCE)


def _number_or_table(
    function: Callable[[Floats], Floats], span: tuple[float, float], *, absolute: float = 0.0, relative: float = 0.0
) -> float | dict[str, list[float]]:
    places = np.linspace(*span, 41)
    if is_constant(function, places):
        return float(function(places[:1])[0])
    return sampled(function, *span, absolute=absolute, relative=relative)


def _at(closure: ClosureT, T: float) -> Callable[[Floats], Floats]:
    """Values of a closure at one temperature."""
    return lambda state: closure(state, T)[0]


def _electrolyte(electrolyte: Electrolyte, draft: _Draft) -> dict[str, Any]:
    """Section of the electrolyte; t_plus and TF as functions go into the user-defined block."""
    T_ref, salt, given = draft.cell.reference_temperature, draft.cell.initial_salt, draft.cell.electrolyte_given
    span = (LEAST_SALT, max(2.0 * electrolyte.fitted[1], 4.0 * salt))
    laws = {
        names.DIFFUSIVITY: property_of(
            "The salt diffusivity", electrolyte.diffusivity, T_ref, span, TRANSPORT_TOLERANCE
        ),
        names.CONDUCTIVITY: property_of("The conductivity", electrolyte.conductivity, T_ref, span, TRANSPORT_TOLERANCE),
    }
    for law in laws.values():
        draft.note(law.note)
    for name, closure, standard in (
        (names.TRANSFERENCE_FUNCTION, electrolyte.transference, None),
        (names.THERMODYNAMIC_FACTOR, electrolyte.thermodynamic_factor, 1.0),
    ):
        key = names.named(names.ELECTROLYTE, name)
        value = _number_or_table(_at(closure, T_ref), span, relative=TRANSPORT_TOLERANCE, absolute=1e-6)
        if isinstance(value, dict) or (standard is not None and value != standard):
            draft.put(names.ELECTROLYTE, name, given.get(key, value))
            draft.note(
                f"The {name}, as a function, is in {names.USER_DEFINED}; readers that do not know it use a number."
            )
    return {
        names.TRANSFERENCE: float(electrolyte.transference(np.array([salt]), T_ref)[0][0]),
        names.DIFFUSIVITY: given.get(names.DIFFUSIVITY, laws[names.DIFFUSIVITY].value),
        names.DIFFUSIVITY_ENERGY: laws[names.DIFFUSIVITY].activation_energy,
        names.CONDUCTIVITY: given.get(names.CONDUCTIVITY, laws[names.CONDUCTIVITY].value),
        names.CONDUCTIVITY_ENERGY: laws[names.CONDUCTIVITY].activation_energy,
    }
