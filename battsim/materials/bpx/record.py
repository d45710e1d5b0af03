"""Frozen records of what a BPX file says, in SI, with its functions as closures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from battsim.errors import CaseError
from battsim.materials.bpx import names
from battsim.materials.types import ActiveMaterial, Electrolyte


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BpxParticle:
    """Active material of an electrode, or one component of a blend."""

    name: str
    """Of the component; empty where the electrode is no blend."""
    material: ActiveMaterial
    radius: float
    """m."""
    area_per_volume: float
    """Surface per volume of electrode, 1/m."""
    given: Mapping[str, Any] = field(default_factory=_nothing)
    """Functions as the file gives them (formula, number or table) by their BPX names; written back unchanged, so leave
    it empty in a record with another material."""

    @property
    def active_volume_fraction(self) -> float:
        """Volume fraction of these particles: a R/3, of spheres."""
        return self.area_per_volume * self.radius / 3.0


@dataclass(frozen=True, slots=True)
class BpxBinder:
    """Carbon-binder domain; None where the file says nothing. Units and meaning as in `[materials.binder]`."""

    conductivity: float | None = None
    """Effective, S/m."""
    porosity: float | None = None
    tortuosity: float | None = None
    """Factor: porosity / b."""
    active_coverage: float | None = None
    contact_resistance: float | None = None
    """ohm m2."""


@dataclass(frozen=True, slots=True)
class BpxElectrode:
    """One porous electrode."""

    thickness: float
    """m."""
    porosity: float
    transport_efficiency: float
    """b = D_eff/D."""
    conductivity: float
    """Effective electronic conductivity, S/m."""
    particles: tuple[BpxParticle, ...]
    binder: BpxBinder = BpxBinder()

    @property
    def active_volume_fraction(self) -> float:
        """Volume fraction of all particles."""
        return sum(particle.active_volume_fraction for particle in self.particles)

    @property
    def particle(self) -> BpxParticle:
        """The only particle; CaseError where the electrode is a blend."""
        if len(self.particles) != 1:
            names = ", ".join(repr(particle.name) for particle in self.particles)
            raise CaseError(f"the electrode is a blend of {names}; where one material is needed, choose one of them.")
        return self.particles[0]


@dataclass(frozen=True, slots=True)
class BpxSeparator:
    """Separator between the electrodes."""

    thickness: float
    """m."""
    porosity: float
    transport_efficiency: float
    """b = D_eff/D."""


@dataclass(frozen=True, slots=True)
class BpxCell:
    """A cell as BPX describes it. Of a file of model "Partial", the parts that it leaves out are None."""

    title: str
    source: str
    """File and references."""
    version: str
    """BPX version of the file, such as "1.1"."""
    negative: BpxElectrode | None
    positive: BpxElectrode | None
    separator: BpxSeparator | None
    electrolyte: Electrolyte | None
    electrode_area: float
    """Of one electrode pair, m2."""
    electrode_pairs: int
    """In parallel."""
    nominal_capacity: float
    """Of the cell, Ah."""
    lower_voltage: float
    """Cut-off of discharge, V."""
    upper_voltage: float
    """Cut-off of charge, V."""
    initial_salt: float = 1000.0
    """c_e0, mol/m3; also the reference of the reaction rate constants."""
    initial_soc: float | None = None
    initial_temperature: float | None = None
    """K."""
    ambient_temperature: float | None = None
    """K."""
    reference_temperature: float = 298.15
    """T_ref of the file, K. The closures have been moved to 298.15 K, as all here."""
    external_surface_area: float | None = None
    """m2."""
    volume: float | None = None
    """m3."""
    density: float | None = None
    """Lumped, kg/m3."""
    specific_heat_capacity: float | None = None
    """Lumped, J/(kg K)."""
    electrolyte_given: Mapping[str, Any] = field(default_factory=_nothing)
    """Functions of the electrolyte as the file gives them, by their BPX names; written back unchanged, so leave it
    empty in a record with another electrolyte."""
    user_defined: Mapping[str, Any] = field(default_factory=_nothing)
    """What the user-defined block holds beyond the names that are known here, as read."""
    description: str = ""
    notes: tuple[str, ...] = ()
    """What was assumed where the file says nothing, in sentences; those on one part of the cell begin with its name."""

    def notes_on(self, part: str) -> tuple[str, ...]:
        """Notes on a part of the cell, such as "Electrolyte" or "Positive electrode, NAME", and on the file as a whole.

        Those of the other parts are left out.
        """
        parts = (names.NEGATIVE, names.POSITIVE_ELECTRODE, names.ELECTROLYTE)
        return tuple(note for note in self.notes if note.startswith(f"{part}: ") or not note.startswith(parts))
