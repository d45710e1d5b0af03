"""The image-based homogenised cell as a BPX file, for PyBaMM and others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from battsim.case import ResolvedCase
from battsim.materials.bpx import BpxCell, BpxElectrode, BpxParticle, BpxSeparator, write_bpx
from battsim.materials.charge import potential_at
from battsim.materials.types import ActiveMaterial, Floats
from battsim.models.p2d.parameters import P2DParameters, PorousElectrode

BPX_FILE = "p2d_image.bpx.json"


def write_p2d_as_bpx(path: Path, case: ResolvedCase, parameters: P2DParameters, one_c: float) -> None:
    """Write a homogenised half cell as a BPX file of model "Partial": a lithium electrode has no place in BPX.

    BPX takes the volume of active material from the area of the spheres, a R / 3. An electroactive area that is another
    is therefore written as the spheres' own, with the exchange current density times the ratio of both, which is the
    same current at the same overpotential; with a film resistance it would not be, so that is scaled as well.

    Parameters
    ----------
    one_c
        What 1 C means, A/m2.
    """
    electrode, T = parameters.positive, parameters.materials.temperature
    ends = [potential_at(electrode.material, x, T) for x in _limits(electrode.material)]
    cutoffs = [step.until.voltage for step in case.protocol if step.until.voltage is not None]
    cell = BpxCell(
        title=case.name or "Electrode from an image",
        source=f"{electrode.material.source}; {parameters.materials.electrolyte.source}",
        version="1.1",
        negative=None,
        positive=_electrode(electrode),
        separator=BpxSeparator(parameters.separator.thickness, parameters.separator.porosity, parameters.separator.b),
        electrolyte=parameters.materials.electrolyte,
        electrode_area=1.0,
        electrode_pairs=1,
        nominal_capacity=one_c,
        lower_voltage=min([*ends, *cutoffs]),
        upper_voltage=max([*ends, *cutoffs]),
        initial_salt=parameters.materials.salt,
        initial_temperature=T,
        ambient_temperature=T,
        description=(
            "Homogenised from a segmented image by battsim: porosity, transport efficiency, conductivity, radius and "
            f"electroactive area are measured. The exchange current holds the factor {electrode.area_ratio:.6g} by "
            "which the electroactive area differs from that of the spheres. The electrode is opposite lithium metal, "
            "which BPX does not describe. Area, current and capacity are those of one square metre."
        ),
    )
    write_bpx(path, cell)


def _limits(material: ActiveMaterial) -> tuple[float, float]:
    return material.stoichiometry_soc100, material.stoichiometry_soc0


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
