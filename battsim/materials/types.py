"""Frozen records of a material: numbers, and closures that return a value together with its derivatives.

Every closure is vectorised over numpy arrays (scalars broadcast) and returns a tuple: the value first, then the
derivative with respect to each of its state arguments, in their order. x is the stoichiometry c_s/c_max, in (0, 1);
c_e the salt concentration in mol/m3; T the temperature in K. SI throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

REFERENCE_TEMPERATURE = 298.15
"""T_ref of every published set here, K."""

Floats = npt.NDArray[np.float64]
"""Array of 64-bit floats; closures accept a plain float in its place."""

Closure1 = Callable[[Floats], tuple[Floats, Floats]]
"""f(x) -> (f, df/dx)."""

ClosureT = Callable[[Floats, float], tuple[Floats, Floats]]
"""f(x or c_e, T) -> (f, derivative with respect to the first argument)."""

ExchangeCurrent = Callable[[Floats, Floats, float], tuple[Floats, Floats, Floats]]
"""i0(x, c_e, T) -> (i0 in A/m2, di0/dx, di0/dc_e)."""

CounterExchangeCurrent = Callable[[Floats, float], tuple[Floats, Floats]]
"""i0(c_e, T) -> (i0 in A/m2, di0/dc_e)."""


@dataclass(frozen=True, slots=True)
class ActiveMaterial:
    """Intercalation material: capacity, open-circuit potential, transport and kinetics."""

    name: str
    source: str
    """Publication that the numbers come from."""
    max_concentration: float
    """c_max, mol/m3."""
    stoichiometry_soc100: float
    """x at 100 % state of charge."""
    stoichiometry_soc0: float
    """x at 0 % state of charge."""
    fitted: tuple[float, float]
    """Range of x in which `ocp` was fitted; past it `open_circuit` continues by the end slope."""
    ocp: Closure1
    """U(x) at T_ref against lithium, V, as published (see `open_circuit` for the continued form)."""
    entropic: Closure1
    """dU/dT(x), V/K."""
    diffusivity: ClosureT
    """D_s(x, T), m2/s."""
    exchange_current: ExchangeCurrent
    """i0(x, c_e, T), A/m2 of true interface."""
    alpha_a: float
    """Anodic transfer coefficient (lithium leaves the material)."""
    alpha_c: float
    """Cathodic transfer coefficient."""
    conductivity: float
    """Electronic conductivity sigma, S/m."""
    density: float
    """kg/m3."""
    film_resistance: float
    """R_film of the surface, ohm m2."""


@dataclass(frozen=True, slots=True)
class Electrolyte:
    """Binary electrolyte in concentrated-solution form; D_e contains the thermodynamic factor already."""

    name: str
    source: str
    diffusivity: ClosureT
    """Measured salt diffusivity D_e(c_e, T), m2/s."""
    conductivity: ClosureT
    """Ionic conductivity kappa(c_e, T), S/m."""
    transference: ClosureT
    """Cation transference number t_plus(c_e, T) with respect to the solvent."""
    thermodynamic_factor: ClosureT
    """TF(c_e, T) = 1 + dln f/dln c, never the product with (1 - t_plus)."""
    fitted: tuple[float, float]
    """Range of c_e in which the functions were fitted, mol/m3."""


@dataclass(frozen=True, slots=True)
class CounterElectrode:
    """Lithium metal (or another electrode of constant potential) opposite the working electrode."""

    name: str
    source: str
    exchange_current: CounterExchangeCurrent
    """i0(c_e, T), A/m2."""
    alpha_a: float
    """Anodic transfer coefficient (lithium dissolves)."""
    alpha_c: float
    """Cathodic transfer coefficient (lithium is deposited)."""


def extend_by_end_slope(closure: Closure1, fitted: tuple[float, float]) -> Closure1:
    """Closure that equals the given one inside `fitted` and continues straight, by the end slopes, outside.

    Value and slope are continuous. The given closure is never evaluated outside `fitted`, so that a form that
    overflows or turns there (exponentials, high powers) does no harm.
    """
    low, high = fitted

    def extended(x: Floats) -> tuple[Floats, Floats]:
        x = np.asarray(x, dtype=np.float64)
        inside = np.clip(x, low, high)
        value, slope = closure(inside)
        return value + slope * (x - inside), slope

    return extended


def open_circuit(material: ActiveMaterial, x: Floats, T: float) -> tuple[Floats, Floats]:
    """Open-circuit potential U(x, T) = U(x) + (T - T_ref) dU/dT(x) and its derivative in x, V.

    Past the fitted range U(x) and dU/dT(x) continue by their end slopes: a published fit says nothing there, and
    some of them (polynomials of high order, exponentials) turn upwards or overflow, which no discharge can pass.

    Returns
    -------
    U, dU_dx
        Arrays of the shape of `x`, V.
    """
    U, dU_dx = extend_by_end_slope(material.ocp, material.fitted)(x)
    if T == REFERENCE_TEMPERATURE:
        return U, dU_dx
    dU_dT, d2U_dTdx = extend_by_end_slope(material.entropic, material.fitted)(x)
    return U + (T - REFERENCE_TEMPERATURE) * dU_dT, dU_dx + (T - REFERENCE_TEMPERATURE) * d2U_dTdx
