"""The current that the electrolyte of a homogenised cell can carry for long: more of it empties the collector's end.

At rest in time, with c_e = 0 at the positive collector, -b D dc_e/dx = (1 - t_plus) i/F everywhere (J. Newman,
K. E. Thomas-Alyea, Electrochemical Systems, 3rd ed., chapter 12). With Phi(c) the integral of D/(1 - t_plus) from 0 to
c, Phi(c_e(x)) is the current times a known function of place, whatever D and t_plus do with concentration; the salt
that the cell holds then fixes the current.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson, simpson
from scipy.optimize import brentq

from battsim.constants import FARADAY
from battsim.models.p2d.parameters import P2DParameters, PorousElectrode, PorousSeparator
from battsim.physics.electrolyte import SaltLaw

Floats = NDArray[np.float64]

POINTS = 401
"""In each layer, and of the integral over concentration; odd."""
LARGEST_SALT = 20.0
"""Times the mean, up to which the integral is known at first."""


def salt_limited_current(parameters: P2DParameters) -> float:
    """Largest steady discharge current, A/m2 of electrode, with the reaction spread evenly over each electrode.

    Where it crowds at the separator, as it does at a low conductivity of the pores, more can flow; the voltage, or
    the solid, may end a discharge earlier.
    """
    places, salt = _profile(parameters)
    law = parameters.materials.salt_law
    held = parameters.materials.salt * sum(float(share[-1]) for share in salt)
    c, phi = _integral(law, LARGEST_SALT * parameters.materials.salt)

    def excess(current: float) -> float:
        inside = [np.interp(current / FARADAY * place, phi, c) for place in places]
        return sum(float(simpson(each, x=share)) for each, share in zip(inside, salt, strict=True)) - held

    highest = phi[-1] * FARADAY / max(float(place[-1]) for place in places)
    return float(brentq(excess, 0.0, highest, xtol=1e-12 * highest))


def _profile(parameters: P2DParameters) -> tuple[list[Floats], list[Floats]]:
    """Per layer from the positive collector on: F Phi per A/m2 (m), and the pore volume behind each point (m).

    The current grows evenly through the positive electrode, passes the separator and fades through the negative one.
    """
    s = np.linspace(0.0, 1.0, POINTS)
    positive, separator, negative = parameters.positive, parameters.separator, parameters.negative
    layers: list[tuple[PorousElectrode | PorousSeparator, Floats]] = [(positive, 0.5 * s**2), (separator, s)]
    if negative is not None:
        layers.append((negative, s - 0.5 * s**2))
    places, volumes, so_far = [], [], 0.0
    for layer, rise in layers:
        places.append(so_far + layer.thickness / layer.b * rise)
        volumes.append(layer.porosity * layer.thickness * s)
        so_far = float(places[-1][-1])
    return places, volumes


def _integral(law: SaltLaw, highest: float) -> tuple[Floats, Floats]:
    """Concentrations, dense near 0 (mol/m3), and the integral of D/(1 - t_plus) up to them."""
    c = highest * np.linspace(0.0, 1.0, 20 * POINTS) ** 2
    found = law.at(c)
    return c, cumulative_simpson(found.D / (1.0 - found.t_plus), x=c, initial=0.0)
