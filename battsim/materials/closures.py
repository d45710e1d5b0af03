"""Building blocks of the published sets: constants, Arrhenius factors, intercalation kinetics, safe continuation.

Each returns a closure in the sense of `battsim.materials.types`: value first, then its derivative.
"""

import math

import numpy as np

from battsim.constants import GAS_CONSTANT
from battsim.materials.types import REFERENCE_TEMPERATURE, Closure1, ClosureT, ExchangeCurrent, Floats

CONCENTRATION_FLOOR = 1.0
"""Salt concentration below which transport properties level off, mol/m3: a thousandth of the usual 1 mol/L."""

SMALLEST_STATE = 1e-12
"""x (1 - x), and c_e in mol/m3, below which exchange currents level off: keeps their square roots differentiable."""


def constant(value: float) -> ClosureT:
    """Closure of a property that depends on neither concentration nor temperature."""

    def evaluate(state: Floats, T: float) -> tuple[Floats, Floats]:  # noqa: ARG001 (the signature of ClosureT)
        shape = np.shape(state)
        return np.full(shape, value), np.zeros(shape)

    return evaluate


def constant1(value: float) -> Closure1:
    """Closure of one argument with the same value everywhere."""

    def evaluate(x: Floats) -> tuple[Floats, Floats]:
        return np.full(np.shape(x), value), np.zeros(np.shape(x))

    return evaluate


def arrhenius(activation_energy: float, T: float) -> float:
    """Factor exp(E/R (1/T_ref - 1/T)) of a property with activation energy E in J/mol; 1 at T_ref."""
    return math.exp(activation_energy / GAS_CONSTANT * (1.0 / REFERENCE_TEMPERATURE - 1.0 / T))


def arrhenius_constant(value: float, activation_energy: float) -> ClosureT:
    """Closure of a property that is constant but for its Arrhenius factor (E in J/mol)."""

    def evaluate(state: Floats, T: float) -> tuple[Floats, Floats]:
        shape = np.shape(state)
        return np.full(shape, value * arrhenius(activation_energy, T)), np.zeros(shape)

    return evaluate


def square_root_exchange_current(
    rate_constant: float, max_concentration: float, activation_energy: float = 0.0
) -> ExchangeCurrent:
    """Closure i0 = m sqrt(c_e c_s (c_max - c_s)) exp(E/R (1/T_ref - 1/T)), with c_s = x c_max.

    Parameters
    ----------
    rate_constant : float
        m at T_ref, (A/m2) (m3/mol)^1.5.
    max_concentration : float
        c_max, mol/m3.
    activation_energy : float
        E, J/mol.
    """

    def evaluate(x: Floats, c_e: Floats, T: float) -> tuple[Floats, Floats, Floats]:
        x, c_e = np.asarray(x, dtype=np.float64), np.asarray(c_e, dtype=np.float64)
        occupied_free = np.maximum(x * (1.0 - x), SMALLEST_STATE)
        salt = np.maximum(c_e, SMALLEST_STATE)
        scale = rate_constant * max_concentration * arrhenius(activation_energy, T)
        i0 = scale * np.sqrt(salt * occupied_free)
        di0_dx = np.where(occupied_free > SMALLEST_STATE, i0 * (0.5 - x) / occupied_free, 0.0)
        di0_dc_e = np.where(salt > SMALLEST_STATE, 0.5 * i0 / salt, 0.0)
        return i0, di0_dx, di0_dc_e

    return evaluate


def extend_in_concentration(
    published: ClosureT, floor: float = CONCENTRATION_FLOOR, ceiling: float = math.inf, decay: float = 500.0
) -> ClosureT:
    """Closure f(g(c_e)) that equals the published f between `floor` and `ceiling` and levels off outside.

    g(c) is c in between, floor exp(c/floor - 1) below and ceiling + decay (1 - exp(-(c - ceiling)/decay)) above:
    increasing, with a continuous slope, and confined to (0, ceiling + decay). The value and its derivative agree
    for every c_e, also where a cell runs out of salt and where a polynomial was never fitted; a conductivity that is
    positive on (0, ceiling + decay) stays so. With an infinite ceiling the published form holds upwards.

    Parameters
    ----------
    floor, ceiling, decay : float
        mol/m3.
    """

    def evaluate(c_e: Floats, T: float) -> tuple[Floats, Floats]:
        c_e = np.asarray(c_e, dtype=np.float64)
        if c_e.size and c_e.min() >= floor and c_e.max() <= ceiling:
            return published(c_e, T)
        low = floor * np.exp(np.minimum(c_e / floor - 1.0, 0.0))
        g = np.where(c_e < floor, low, c_e)
        dg_dc = np.where(c_e < floor, low / floor, 1.0)
        if math.isfinite(ceiling):
            remaining = np.exp(-np.maximum(c_e - ceiling, 0.0) / decay)
            g = np.where(c_e > ceiling, ceiling + decay * (1.0 - remaining), g)
            dg_dc = np.where(c_e > ceiling, remaining, dg_dc)
        value, slope = published(g, T)
        return value, slope * dg_dc

    return evaluate
