"""From the material tables of a case to the materials that they describe."""

from __future__ import annotations

from pathlib import Path

from battsim.case.bpx import bpx_electrolyte, bpx_name, bpx_part, bpx_particle
from battsim.case.full import CellCase, FullCellCase
from battsim.case.materials import Curve, Expression, OwnActive, is_bpx
from battsim.case.messages import named
from battsim.case.p2d import P2DCase
from battsim.case.schema import Case, ResolvedCase
from battsim.materials import library
from battsim.materials.bpx import read_bpx
from battsim.materials.bpx.names import BULK_CONDUCTIVITY, ELECTROLYTE, component
from battsim.materials.custom import ActiveMaterialOverrides, ExchangeCurrentForm, custom_active_material
from battsim.materials.types import ActiveMaterial, Electrolyte


def chosen_materials(case: Case) -> dict[str, str | OwnActive]:
    """What the case names as its active materials, by the dotted paths of the keys, from the negative end on."""
    if isinstance(case, ResolvedCase):
        return {"materials.active": case.materials.active}
    if isinstance(case, P2DCase):
        return {f"{name}.material": electrode.material for name, electrode in case.electrodes.items()}
    if isinstance(case, FullCellCase):
        return {f"{name}.materials.active": each.materials.active for name, each in case.electrodes.items()}
    return {}


def active_materials(case: Case) -> tuple[ActiveMaterial, ...]:
    """The case's active materials, from the negative end on.

    Raises
    ------
    CaseError
        Where a formula or a value of a table makes no sense, or a BPX file lacks what is meant; names its key.
    InputError
        Where a table of values or a BPX file cannot be read; names its key.
    """
    built: list[ActiveMaterial] = []
    for key, chosen in chosen_materials(case).items():
        with named(key):
            built.append(_active_material(case, key, chosen))
    return tuple(built)


def active_material(case: ResolvedCase) -> ActiveMaterial:
    """The active material of a half cell on an image. Raises as `active_materials`."""
    return active_materials(case)[-1]


def electrolyte_of(case: CellCase) -> Electrolyte:
    """The case's electrolyte. Raises as `active_materials`."""
    name = case.materials.electrolyte
    with named("materials.electrolyte"):
        return bpx_electrolyte(case.locate(name)) if is_bpx(name) else library.electrolyte(name)


def assumed(case: Case) -> list[str]:
    """What was assumed where the BPX files of a case say nothing, one sentence each, with the keys that name them."""
    notes: list[str] = []
    for key, chosen in chosen_materials(case).items():
        if (name := bpx_name(chosen)) is not None:
            part = bpx_part(case.locate(name), key, chosen)
            place = component(part.name, bpx_particle(part, chosen).name)
            # a homogenised electrode takes the effective conductivity, and has no use for that of the bulk
            unused = BULK_CONDUCTIVITY if isinstance(case, P2DCase) else None
            told = part.cell.notes_on(place)
            notes += (f"{key}: {name}: {note}" for note in told if unused is None or unused not in note)
    if isinstance(case, CellCase) and is_bpx(name := case.materials.electrolyte):
        notes += (
            f"materials.electrolyte: {name}: {note}" for note in read_bpx(case.locate(name)).notes_on(ELECTROLYTE)
        )
    return notes


def _active_material(case: Case, key: str, chosen: str | OwnActive) -> ActiveMaterial:
    """A named set, that of a BPX file, or the table of the user's own."""
    file, base = bpx_name(chosen), chosen.base if isinstance(chosen, OwnActive) else chosen
    if file is not None:
        found: ActiveMaterial | None = bpx_particle(bpx_part(case.locate(file), key, chosen), chosen).material
    else:
        found = None if base is None else library.active_material(base)
    if isinstance(chosen, OwnActive):
        return custom_active_material(found, _overrides(case, chosen))
    assert found is not None
    return found


def _overrides(case: Case, own: OwnActive) -> ActiveMaterialOverrides:
    """The table in the terms of the materials."""
    limits, current, alpha = own.stoichiometry, own.exchange_current, own.transfer_coefficients or (None, None)
    return ActiveMaterialOverrides(
        max_concentration=own.max_concentration,
        stoichiometry_soc100=None if limits is None else limits.soc100,
        stoichiometry_soc0=None if limits is None else limits.soc0,
        fitted=None if limits is None else limits.fitted,
        ocp=_curve(case, own.ocp),
        entropic=_curve(case, own.entropic) if isinstance(own.entropic, Curve) else own.entropic,
        diffusivity=own.diffusivity.expr if isinstance(own.diffusivity, Expression) else own.diffusivity,
        exchange_current=None if current is None else ExchangeCurrentForm(current.rate_constant, current.form),
        alpha_a=alpha[0],
        alpha_c=alpha[1],
        conductivity=own.conductivity,
        density=own.density,
        film_resistance=own.film_resistance,
    )


def _curve(case: Case, curve: Curve | None) -> str | Path | None:
    """A formula, or the place of a table."""
    if curve is None or curve.file is None:
        return None if curve is None else curve.expr
    return case.locate(curve.file)
