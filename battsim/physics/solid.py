"""Fick's law in the active material: lithium flux across a face, with its derivatives.

    F N_s = G D_s (x_o - x_n)        A, positive from owner to neighbour

with x = c_s / c_max and G = F c_max A / d of the face. D_s is taken at the arithmetic mean stoichiometry of the face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SolidFluxes:
    """F N_s of faces (A) and its derivatives by the stoichiometries of owner and neighbour, each shape (n,)."""

    FN: Floats
    dFN_dx_o: Floats
    dFN_dx_n: Floats


def solid_fluxes(
    diffusivity: Callable[[Floats, float], tuple[Floats, Floats]], G: Floats, x_o: Floats, x_n: Floats, T: float
) -> SolidFluxes:
    """Flux of faces, positive from owner to neighbour.

    Parameters
    ----------
    diffusivity
        D_s(x, T), m2/s, and its derivative by x.
    G
        F c_max A / d of each face, shape (n,), A s/m2.
    x_o, x_n
        Stoichiometry on either side, shape (n,).
    T
        K.
    """
    D, dD = diffusivity(0.5 * (x_o + x_n), T)
    state = 0.5 * G * dD * (x_o - x_n)
    return SolidFluxes(G * D * (x_o - x_n), state + G * D, state - G * D)
