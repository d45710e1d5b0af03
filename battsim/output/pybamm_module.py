"""A homogenised half cell as a Python module in the form of PyBaMM's own parameter sets.

PyBaMM's reader of BPX wants both electrodes of a cell, and BPX has none of lithium metal. The module that is written
here has a `get_parameter_values()` with all that a half-cell DFN needs. Functions are tables at the case's temperature
with monotone cubic interpolation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.types import open_circuit
from battsim.models.p2d.parameters import P2DParameters

Floats = NDArray[np.float64]

SAMPLES = 801
"""Entries of a table: sampled potentials are then within 0.02 mV."""
SALT = (1.0, 5000.0)
"""Range of the tables of c_e, mol/m3."""
EDGE = 1e-4
"""Distance of the tables of x from empty and full."""
NUMBERS_OF_LITHIUM = {
    "Negative electrode OCP [V]": 0.0,
    "Lithium metal partial molar volume [m3.mol-1]": 1.3e-5,
    "Negative electrode conductivity [S.m-1]": 1.0776e7,
    "Negative electrode OCP entropic change [V.K-1]": 0.0,
    "Negative electrode thickness [m]": 7e-4,
    "Negative electrode charge transfer coefficient": 0.5,
    "Negative electrode double-layer capacity [F.m-2]": 0.0,
}
"""Of lithium metal, by PyBaMM's names; its thickness and conductivity cost nothing."""
HEAD = '''"""{title}

Written by battsim: an electrode homogenised from a segmented image, opposite lithium metal. Use it as

    import pybamm
    values = pybamm.ParameterValues(get_parameter_values())
    model = pybamm.lithium_ion.DFN({{"working electrode": "positive"}})

Tables hold at {temperature:g} K. The exchange current holds the factor {ratio:.6g} by which the electroactive area
differs from that of the spheres.
"""

import numpy as np
import pybamm

TABLES = {tables}
NUMBERS = {numbers}


def _table(name, variable):
    x, y = (np.array(column) for column in TABLES[name])
    return pybamm.Interpolant(x, y, variable, name=name, interpolator="pchip")
'''
BODY = """

def open_circuit_potential(sto):
    return _table("U", sto)


def particle_diffusivity(sto, T):
    return _table("D_s", sto)


def exchange_current_density(c_e, c_s_surf, c_s_max, T):
    return _table("i0_x", c_s_surf / c_s_max) * _table("i0_c", c_e)


def lithium_exchange_current_density(c_e, c_Li, T):
    return _table("i0_Li", c_e)


def electrolyte_diffusivity(c_e, T):
    return _table("D_e", c_e)


def electrolyte_conductivity(c_e, T):
    return _table("kappa", c_e)


def cation_transference_number(c_e, T):
    return _table("t_plus", c_e)


def thermodynamic_factor(c_e, T):
    return _table("TF", c_e)


def get_parameter_values():
    return NUMBERS | {
        "Positive electrode OCP [V]": open_circuit_potential,
        "Positive particle diffusivity [m2.s-1]": particle_diffusivity,
        "Positive electrode exchange-current density [A.m-2]": exchange_current_density,
        "Exchange-current density for lithium metal electrode [A.m-2]": lithium_exchange_current_density,
        "Electrolyte diffusivity [m2.s-1]": electrolyte_diffusivity,
        "Electrolyte conductivity [S.m-1]": electrolyte_conductivity,
        "Cation transference number": cation_transference_number,
        "Thermodynamic factor": thermodynamic_factor,
    }
"""


def write_pybamm_module(path: Path, parameters: P2DParameters, *, title: str, x_start: float, one_c: float) -> None:
    """Write the module of a half cell with particles of one size.

    Parameters
    ----------
    x_start
        Stoichiometry at the start.
    one_c
        What 1 C means, A/m2; the module's cell has one square metre and discharges at that.
    """
    values = HEAD.format(
        title=title or "Electrode from an image",
        temperature=parameters.materials.temperature,
        ratio=parameters.positive.area_ratio,
        tables=json.dumps(_tables(parameters), indent=0),
        numbers=json.dumps(_numbers(parameters, x_start, one_c), indent=4),
    )
    path.write_text(values + BODY, encoding="utf-8")


def _tables(p: P2DParameters) -> dict[str, list[list[float]]]:
    material, e, counter, T = p.positive.material, p.materials.electrolyte, p.materials.counter, p.materials.temperature
    assert counter is not None
    x = np.linspace(EDGE, 1.0 - EDGE, SAMPLES)
    c = np.geomspace(*SALT, SAMPLES)
    reference = np.full_like(x, p.materials.salt)
    middle = np.full_like(c, 0.5)
    i0_x = p.positive.area_ratio * material.exchange_current(x, reference, T)[0]
    # all published sets are a product of a function of x and one of c_e
    i0_c = material.exchange_current(middle, c, T)[0] / material.exchange_current(middle, reference, T)[0]
    of_x = {"U": open_circuit(material, x, T)[0], "D_s": material.diffusivity(x, T)[0], "i0_x": i0_x}
    of_c: dict[str, Floats] = {"i0_c": i0_c, "i0_Li": counter.exchange_current(c, T)[0]}
    closures: dict[str, Callable[[Floats, float], tuple[Floats, Floats]]] = {
        "D_e": e.diffusivity,
        "kappa": e.conductivity,
        "t_plus": e.transference,
        "TF": e.thermodynamic_factor,
    }
    of_c |= {name: closure(c, T)[0] for name, closure in closures.items()}
    columns = {name: (x, y) for name, y in of_x.items()} | {name: (c, y) for name, y in of_c.items()}
    return {name: [pair[0].tolist(), pair[1].tolist()] for name, pair in columns.items()}


def _numbers(p: P2DParameters, x_start: float, one_c: float) -> dict[str, Any]:
    electrode, separator, material = p.positive, p.separator, p.positive.material
    (particles,) = electrode.particles
    return {
        **NUMBERS_OF_LITHIUM,
        "Ideal gas constant [J.K-1.mol-1]": GAS_CONSTANT,
        "Faraday constant [C.mol-1]": FARADAY,
        "Positive electrode thickness [m]": electrode.thickness,
        "Positive electrode porosity": electrode.porosity,
        "Positive electrode active material volume fraction": electrode.active_volume_fraction,
        "Positive electrode Bruggeman coefficient (electrolyte)": _exponent(electrode.b, electrode.porosity),
        "Positive electrode Bruggeman coefficient (electrode)": 0.0,
        "Positive electrode conductivity [S.m-1]": electrode.conductivity,
        "Positive particle radius [m]": particles.radius,
        "Positive electrode charge transfer coefficient": material.alpha_a,
        "Positive electrode double-layer capacity [F.m-2]": 0.0,
        "Positive electrode OCP entropic change [V.K-1]": 0.0,
        "Maximum concentration in positive electrode [mol.m-3]": material.max_concentration,
        "Initial concentration in positive electrode [mol.m-3]": x_start * material.max_concentration,
        "Separator thickness [m]": separator.thickness,
        "Separator porosity": separator.porosity,
        "Separator Bruggeman coefficient (electrolyte)": _exponent(separator.b, separator.porosity),
        "Initial concentration in electrolyte [mol.m-3]": p.materials.salt,
        "Ambient temperature [K]": p.materials.temperature,
        "Reference temperature [K]": p.materials.temperature,
        "Initial temperature [K]": p.materials.temperature,
        "Electrode height [m]": 1.0,
        "Electrode width [m]": 1.0,
        "Contact resistance [Ohm]": 0.0,
        "Number of electrodes connected in parallel to make a cell": 1.0,
        "Number of cells connected in series to make a battery": 1.0,
        "Nominal cell capacity [A.h]": one_c,
        "Current function [A]": one_c,
        "Lower voltage cut-off [V]": 0.0,
        "Upper voltage cut-off [V]": 6.0,
        "Open-circuit voltage at 0% SOC [V]": 0.0,
        "Open-circuit voltage at 100% SOC [V]": 6.0,
    }


def _exponent(b: float, porosity: float) -> float:
    """Exponent with which porosity gives b: what PyBaMM asks for."""
    return float(np.log(b) / np.log(porosity))
