"""A homogenised cell, half or full, as a Python module in the form of PyBaMM's own parameter sets.

PyBaMM's reader of BPX wants both electrodes of a cell, and BPX has none of lithium metal; of a full cell it reads the
BPX file, but knows neither thermodynamic factor nor transference as functions. The module that is written here has a
`get_parameter_values()` with all that the DFN needs. Functions are tables at the case's temperature with monotone cubic
interpolation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY, GAS_CONSTANT
from battsim.materials.types import open_circuit
from battsim.models.p2d.parameters import P2DParameters, PorousElectrode

Floats = NDArray[np.float64]
Tables = dict[str, tuple[Floats, Floats]]

SAMPLES = 801
"""Entries of a table: sampled potentials are then within 0.02 mV."""
SALT = (1.0, 5000.0)
"""Range of the tables of c_e, mol/m3."""
EDGE = 1e-4
"""Distance of the tables of x from empty and full."""
SIDES = ("negative", "positive")
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

Written by battsim: {what}. Use it as

    import pybamm
    values = pybamm.ParameterValues(get_parameter_values())
    model = pybamm.lithium_ion.DFN({options})

Tables hold at {temperature:g} K. The exchange current holds the factor {ratios} by which the electroactive area
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
OF_ELECTRODE = """

def {side}_open_circuit_potential(sto):
    return _table("{side}_U", sto)


def {side}_particle_diffusivity(sto, T):
    return _table("{side}_D_s", sto)


def {side}_exchange_current_density(c_e, c_s_surf, c_s_max, T):
    return _table("{side}_i0_x", c_s_surf / c_s_max) * _table("{side}_i0_c", c_e)
"""
OF_LITHIUM = """

def lithium_exchange_current_density(c_e, c_Li, T):
    return _table("i0_Li", c_e)
"""
OF_ELECTROLYTE = """

def electrolyte_diffusivity(c_e, T):
    return _table("D_e", c_e)


def electrolyte_conductivity(c_e, T):
    return _table("kappa", c_e)


def cation_transference_number(c_e, T):
    return _table("t_plus", c_e)


def thermodynamic_factor(c_e, T):
    return _table("TF", c_e)


def get_parameter_values():
    return NUMBERS | {{
{functions}
    }}
"""
FUNCTIONS_OF_ELECTRODE = {
    "{Side} electrode OCP [V]": "{side}_open_circuit_potential",
    "{Side} particle diffusivity [m2.s-1]": "{side}_particle_diffusivity",
    "{Side} electrode exchange-current density [A.m-2]": "{side}_exchange_current_density",
}
FUNCTIONS_OF_LITHIUM = {
    "Exchange-current density for lithium metal electrode [A.m-2]": "lithium_exchange_current_density"
}
FUNCTIONS_OF_ELECTROLYTE = {
    "Electrolyte diffusivity [m2.s-1]": "electrolyte_diffusivity",
    "Electrolyte conductivity [S.m-1]": "electrolyte_conductivity",
    "Cation transference number": "cation_transference_number",
    "Thermodynamic factor": "thermodynamic_factor",
}
"""Functions of the module by PyBaMM's names."""


def write_pybamm_module(
    path: Path, parameters: P2DParameters, *, title: str, x_start: Sequence[float], one_c: float
) -> None:
    """Write the module of a cell with particles of one size.

    Parameters
    ----------
    x_start
        Stoichiometry of each electrode at the start, from the negative end on.
    one_c
        What 1 C means, A/m2; the module's cell has one square metre and discharges at that.
    """
    electrodes = _sides(parameters)
    half = len(electrodes) == 1
    tables, numbers = _electrolyte_tables(parameters), _numbers(parameters, one_c)
    for (side, electrode), x in zip(electrodes.items(), x_start, strict=True):
        tables |= _electrode_tables(side, electrode, parameters)
        numbers |= _electrode_numbers(side.capitalize(), electrode, x)
    if half:
        tables |= _lithium_tables(parameters)
        numbers |= NUMBERS_OF_LITHIUM
    what = "an electrode homogenised from a segmented image, opposite lithium metal"
    head = HEAD.format(
        title=title or "A cell from images",
        what=what if half else "two electrodes homogenised from segmented images",
        options='{"working electrode": "positive"}' if half else "",
        temperature=parameters.materials.temperature,
        ratios=" and ".join(f"{electrode.area_ratio:.6g}" for electrode in electrodes.values()),
        tables=json.dumps({name: [column.tolist() for column in pair] for name, pair in tables.items()}, indent=0),
        numbers=json.dumps(numbers, indent=4),
    )
    functions = "".join(OF_ELECTRODE.format(side=side) for side in electrodes)
    body = functions + (OF_LITHIUM if half else "") + OF_ELECTROLYTE.format(functions=_listed(electrodes))
    path.write_text(head + body, encoding="utf-8")


def _sides(p: P2DParameters) -> dict[str, PorousElectrode]:
    """The porous electrodes by the side of the cell that they are to PyBaMM, from the negative end on."""
    return dict(zip(SIDES[-len(p.electrodes) :], p.electrodes, strict=True))


def _listed(sides: Sequence[str] | dict[str, PorousElectrode]) -> str:
    """Entries of the parameter set that are functions."""
    entries = {
        key.format(Side=side.capitalize()): function.format(side=side)
        for side in sides
        for key, function in FUNCTIONS_OF_ELECTRODE.items()
    }
    entries |= FUNCTIONS_OF_LITHIUM if len(sides) == 1 else {}
    entries |= FUNCTIONS_OF_ELECTROLYTE
    return "\n".join(f'        "{key}": {function},' for key, function in entries.items())


def _electrode_tables(side: str, electrode: PorousElectrode, p: P2DParameters) -> Tables:
    material, T = electrode.material, p.materials.temperature
    x = np.linspace(EDGE, 1.0 - EDGE, SAMPLES)
    c = np.geomspace(*SALT, SAMPLES)
    middle = np.full_like(c, 0.5)
    reference = np.full_like(x, p.materials.salt)
    # all published sets are a product of a function of x and one of c_e
    i0_x = electrode.area_ratio * material.exchange_current(x, reference, T)[0]
    i0_c = material.exchange_current(middle, c, T)[0] / material.exchange_current(middle, reference, T)[0]
    return {
        f"{side}_U": (x, open_circuit(material, x, T)[0]),
        f"{side}_D_s": (x, material.diffusivity(x, T)[0]),
        f"{side}_i0_x": (x, i0_x),
        f"{side}_i0_c": (c, i0_c),
    }


def _lithium_tables(p: P2DParameters) -> Tables:
    assert p.materials.counter is not None
    c = np.geomspace(*SALT, SAMPLES)
    return {"i0_Li": (c, p.materials.counter.exchange_current(c, p.materials.temperature)[0])}


def _electrolyte_tables(p: P2DParameters) -> Tables:
    e, c = p.materials.electrolyte, np.geomspace(*SALT, SAMPLES)
    closures: dict[str, Callable[[Floats, float], tuple[Floats, Floats]]] = {
        "D_e": e.diffusivity,
        "kappa": e.conductivity,
        "t_plus": e.transference,
        "TF": e.thermodynamic_factor,
    }
    return {name: (c, closure(c, p.materials.temperature)[0]) for name, closure in closures.items()}


def _electrode_numbers(side: str, electrode: PorousElectrode, x_start: float) -> dict[str, Any]:
    """Of an electrode; `side` is "Negative" or "Positive"."""
    (particles,) = electrode.particles
    material, lower = electrode.material, side.lower()
    return {
        f"{side} electrode thickness [m]": electrode.thickness,
        f"{side} electrode porosity": electrode.porosity,
        f"{side} electrode active material volume fraction": electrode.active_volume_fraction,
        f"{side} electrode Bruggeman coefficient (electrolyte)": _exponent(electrode.b, electrode.porosity),
        f"{side} electrode Bruggeman coefficient (electrode)": 0.0,
        f"{side} electrode conductivity [S.m-1]": electrode.conductivity,
        f"{side} particle radius [m]": particles.radius,
        f"{side} electrode charge transfer coefficient": material.alpha_a,
        f"{side} electrode double-layer capacity [F.m-2]": 0.0,
        f"{side} electrode OCP entropic change [V.K-1]": 0.0,
        f"Maximum concentration in {lower} electrode [mol.m-3]": material.max_concentration,
        f"Initial concentration in {lower} electrode [mol.m-3]": x_start * material.max_concentration,
    }


def _numbers(p: P2DParameters, one_c: float) -> dict[str, Any]:
    """Of the cell beside its electrodes."""
    separator = p.separator
    return {
        "Ideal gas constant [J.K-1.mol-1]": GAS_CONSTANT,
        "Faraday constant [C.mol-1]": FARADAY,
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
