"""The image-based homogenised cell, half or full, as a BPX file, for PyBaMM and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from battsim.case import FullCellCase, ResolvedCase
from battsim.case.start import open_circuit_voltage
from battsim.materials.bpx import BpxCell, BpxElectrode, BpxParticle, BpxSeparator, write_bpx
from battsim.materials.charge import soc_at_stoichiometry
from battsim.materials.types import ActiveMaterial, Floats
from battsim.models.p2d.parameters import P2DParameters, PorousElectrode

BPX_FILE = "p2d_image.bpx.json"
SAME_SOC = 1e-9
"""Round-off of a state of charge."""


def write_p2d_as_bpx(
    path: Path, case: ResolvedCase | FullCellCase, parameters: P2DParameters, start: Sequence[float], one_c: float
) -> None:
    """Write a homogenised cell as a BPX file; that of a half cell is "Partial": BPX has no place for lithium metal.

    BPX takes the volume of active material from the area of the spheres, a R / 3. An electroactive area that is another
    is therefore written as the spheres' own, with the exchange current density times the ratio of both, which is the
    same current at the same overpotential; with a film resistance it would not be, so that is scaled as well.

    Parameters
    ----------
    start
        Stoichiometry of each electrode at the start, from the negative end on.
    one_c
        What 1 C means, A/m2.

    Raises
    ------
    CaseError
        Where a material has no place in BPX.
    """
    electrodes, T = parameters.electrodes, parameters.materials.temperature
    materials = [electrode.material for electrode in electrodes]
    ends = [open_circuit_voltage(materials, x, T) for x in zip(*map(_limits, materials), strict=True)]
    cutoffs = [step.until.voltage for step in case.protocol if step.until.voltage is not None]
    cell = BpxCell(
        title=case.name or "Electrode from an image",
        source="; ".join(dict.fromkeys([*(m.source for m in materials), parameters.materials.electrolyte.source])),
        version="1.1",
        negative=None if parameters.negative is None else _electrode(parameters.negative),
        positive=_electrode(parameters.positive),
        separator=BpxSeparator(parameters.separator.thickness, parameters.separator.porosity, parameters.separator.b),
        electrolyte=parameters.materials.electrolyte,
        electrode_area=1.0,
        electrode_pairs=1,
        nominal_capacity=one_c,
        lower_voltage=min([*ends, *cutoffs]),
        upper_voltage=max([*ends, *cutoffs]),
        initial_salt=parameters.materials.salt,
        initial_soc=_common_soc(materials, start),
        initial_temperature=T,
        ambient_temperature=T,
        description=_description(electrodes),
    )
    write_bpx(path, cell)


def _description(electrodes: Sequence[PorousElectrode]) -> str:
    ratios = " and ".join(f"{electrode.area_ratio:.6g}" for electrode in electrodes)
    of_each = ", negative and positive," if len(electrodes) > 1 else ""
    half = "" if len(electrodes) > 1 else "The electrode is opposite lithium metal, which BPX does not describe. "
    return (
        "Homogenised from segmented images by battsim: porosity, transport efficiency, conductivity, radius and "
        f"electroactive area are measured. The exchange current{of_each} holds the factor {ratios} by which the "
        f"electroactive area differs from that of the spheres. {half}Area, current and capacity are those of one "
        "square metre."
    )


def _limits(material: ActiveMaterial) -> tuple[float, float]:
    return material.stoichiometry_soc100, material.stoichiometry_soc0


def _common_soc(materials: Sequence[ActiveMaterial], start: Sequence[float]) -> float | None:
    """State of charge, if there is one, at which all electrodes stand: BPX has no other way to tell where they do."""
    soc = [soc_at_stoichiometry(material, x) for material, x in zip(materials, start, strict=True)]
    same = max(soc) - min(soc) <= SAME_SOC
    return min(max(soc[0], 0.0), 1.0) if same and -SAME_SOC <= soc[0] <= 1.0 + SAME_SOC else None


def _electrode(electrode: PorousElectrode) -> BpxElectrode:
    ratio = electrode.area_ratio
    particles = tuple(
        BpxParticle(
            name="" if len(electrode.particles) == 1 else f"size {number}",
            material=_with_area(electrode.material, ratio),
            radius=each.radius,
            area_per_volume=3.0 * electrode.active_volume_fraction * each.share / each.radius,
        )
        for number, each in enumerate(electrode.particles, 1)
    )
    return BpxElectrode(electrode.thickness, electrode.porosity, electrode.b, electrode.conductivity, particles)


def _with_area(material: ActiveMaterial, ratio: float) -> ActiveMaterial:
    """The material whose current per area of the spheres is that of the electroactive area, `ratio` times as large."""

    def exchange_current(x: Floats, c_e: Floats, T: float) -> tuple[Floats, Floats, Floats]:
        i0, by_x, by_c = material.exchange_current(x, c_e, T)
        return ratio * i0, ratio * by_x, ratio * by_c

    return replace(material, exchange_current=exchange_current, film_resistance=material.film_resistance / ratio)
