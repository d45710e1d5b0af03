"""From the material tables of a case to the active material that they describe."""

from __future__ import annotations

from pathlib import Path

from battsim.case.materials import Curve, Expression, OwnActive
from battsim.case.schema import ResolvedCase
from battsim.materials import library
from battsim.materials.custom import ActiveMaterialOverrides, ExchangeCurrentForm, custom_active_material
from battsim.materials.types import ActiveMaterial


def active_material(case: ResolvedCase) -> ActiveMaterial:
    """The case's active material: a named set, or the table of the user's own.

    Raises
    ------
    CaseError
        Where a formula or a value of the table makes no sense.
    InputError
        Where a table of values cannot be read.
    """
    chosen = case.materials.active
    if isinstance(chosen, str):
        return library.active_material(chosen)
    base = None if chosen.base is None else library.active_material(chosen.base)
    return custom_active_material(base, _overrides(case, chosen))


def _overrides(case: ResolvedCase, own: OwnActive) -> ActiveMaterialOverrides:
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


def _curve(case: ResolvedCase, curve: Curve | None) -> str | Path | None:
    """A formula, or the place of a table."""
    if curve is None or curve.file is None:
        return None if curve is None else curve.expr
    return case.locate(curve.file)
