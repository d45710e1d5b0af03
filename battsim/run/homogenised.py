"""From a case without an image to the parameters and the grid of a homogenised cell."""

from __future__ import annotations

from battsim.case import P2DCase, active_materials, electrolyte_of
from battsim.case.p2d import P2DElectrode
from battsim.materials.library import counter_electrode
from battsim.materials.types import ActiveMaterial
from battsim.models.cell.network import CellMaterials
from battsim.models.p2d.parameters import P2DGrid, P2DParameters, Particles, PorousElectrode, PorousSeparator


def p2d_parameters(case: P2DCase) -> P2DParameters:
    """Electrodes, separator and conditions of the case."""
    materials, conditions, separator = case.materials, case.conditions, case.materials.separator
    tables = case.electrodes.values()
    electrodes = [_electrode(*each) for each in zip(active_materials(case), tables, strict=True)]
    return P2DParameters(
        positive=electrodes[-1],
        negative=electrodes[0] if len(electrodes) > 1 else None,
        separator=PorousSeparator(separator.thickness, separator.porosity, separator.transport_factor),
        materials=CellMaterials(
            electrolyte_of(case),
            None if materials.counter is None else counter_electrode(materials.counter),
            conditions.temperature,
            conditions.salt,
        ),
    )


def p2d_grid(case: P2DCase) -> P2DGrid | None:
    """The grid that `[solver.p2d]` names; None where it names an accuracy instead."""
    points, radial = case.solver.p2d.points, case.solver.p2d.radial
    if points is None or radial is None:
        return None
    negative = points[0] if len(points) == 3 else 1
    return P2DGrid(negative=negative, separator=points[-2], positive=points[-1], radial=radial)


def _electrode(material: ActiveMaterial, table: P2DElectrode) -> PorousElectrode:
    return PorousElectrode(
        material=material,
        thickness=table.thickness,
        porosity=table.porosity,
        b=table.transport_factor,
        active_volume_fraction=table.active_volume_fraction,
        particles=tuple(Particles(size.radius, size.share) for size in table.particle_radius),
        conductivity=table.effective_conductivity,
        area_per_volume=table.area_per_volume,
    )
