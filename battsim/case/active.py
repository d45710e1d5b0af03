"""From the material tables of a case to the active materials that they describe."""

from __future__ import annotations

from pathlib import Path

from battsim.case.full import FullCellCase
from battsim.case.materials import Curve, Expression, OwnActive
from battsim.case.p2d import P2DCase
from battsim.case.schema import Case, ResolvedCase
from battsim.errors import CaseError, InputError
from battsim.materials import library
from battsim.materials.custom import ActiveMaterialOverrides, ExchangeCurrentForm, custom_active_material
from battsim.materials.types import ActiveMaterial


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
        Where a formula or a value of a table makes no sense; names its key.
    InputError
        Where a table of values cannot be read; names its key.
    """
    built: list[ActiveMaterial] = []
    for key, chosen in chosen_materials(case).items():
        try:
            built.append(chosen_material(case, chosen))
        except (CaseError, InputError) as error:
            raise type(error)(f"{key}: {error}") from None
    return tuple(built)


def active_material(case: ResolvedCase) -> ActiveMaterial:
    """The active material of a half cell on an image. Raises as `active_materials`."""
    return active_materials(case)[-1]


def chosen_material(case: Case, chosen: str | OwnActive) -> ActiveMaterial:
    """A named set, or the table of the user's own. Raises as `active_materials`, without the key."""
    if isinstance(chosen, str):
        return library.active_material(chosen)
    base = None if chosen.base is None else library.active_material(chosen.base)
    return custom_active_material(base, _overrides(case, chosen))


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
