"""A cell as a BPX document of version 1.1: the electrodes of Chen et al. (2020), formulas written out."""

import copy
import json

import pytest

GRAPHITE_OCP = (
    "1.9793*exp(-39.3631*x) + 0.2482 - 0.0909*tanh(29.8538*(x - 0.1234)) - 0.04478*tanh(14.9159*(x - 0.2769))"
    " - 0.0205*tanh(30.4444*(x - 0.6103))"
)
NMC_OCP = (
    "4.4875 - 0.8090*x - 0.0428*tanh(18.5138*(x - 0.5542)) - 17.7326*tanh(15.7890*(x - 0.3117))"
    " + 17.5842*tanh(15.9308*(x - 0.3120))"
)
FARADAY = 96485.33212331001

DOCUMENT = {
    "Header": {"BPX": "1.1.0", "Title": "LG M50", "References": "Chen et al. (2020)", "Model": "DFN"},
    "Parameterisation": {
        "Cell": {
            "Electrode area [m2]": 0.1027,
            "Number of electrode pairs connected in parallel to make a cell": 1,
            "Lower voltage cut-off [V]": 2.5,
            "Upper voltage cut-off [V]": 4.2,
            "Nominal cell capacity [A.h]": 5.0,
            "Reference temperature [K]": 298.15,
        },
        "Electrolyte": {
            "Cation transference number": 0.2594,
            "Diffusivity [m2.s-1]": "8.794e-11*(x/1000)**2 - 3.972e-10*(x/1000) + 4.862e-10",
            "Conductivity [S.m-1]": "0.1297*(x/1000)**3 - 2.51*(x/1000)**1.5 + 3.329*(x/1000)",
            "Conductivity activation energy [J.mol-1]": 17100,
        },
        "Negative electrode": {
            "Thickness [m]": 85.2e-6,
            "Porosity": 0.25,
            "Transport efficiency": 0.125,
            "Conductivity [S.m-1]": 215.0,
            "Minimum stoichiometry": 0.0279,
            "Maximum stoichiometry": 0.9014,
            "Maximum concentration [mol.m-3]": 33133.0,
            "Particle radius [m]": 5.86e-6,
            "Surface area per unit volume [m-1]": 3 * 0.75 / 5.86e-6,
            "Diffusivity [m2.s-1]": 3.3e-14,
            "OCP [V]": GRAPHITE_OCP,
            "Reaction rate constant [mol.m-2.s-1]": 6.48e-7 * 33133.0 * 1000.0**0.5 / FARADAY,
            "Reaction rate constant activation energy [J.mol-1]": 35000.0,
        },
        "Positive electrode": {
            "Thickness [m]": 75.6e-6,
            "Porosity": 0.335,
            "Transport efficiency": 0.1939,
            "Conductivity [S.m-1]": 0.18,
            "Minimum stoichiometry": 0.27,
            "Maximum stoichiometry": 0.9084,
            "Maximum concentration [mol.m-3]": 63104.0,
            "Particle radius [m]": 5.22e-6,
            "Surface area per unit volume [m-1]": 3 * 0.665 / 5.22e-6,
            "Diffusivity [m2.s-1]": "4e-15*exp(-0.5*x)",
            "Diffusivity activation energy [J.mol-1]": 12000.0,
            "OCP [V]": NMC_OCP,
            "Entropic change coefficient [V.K-1]": {"x": [0.0, 0.5, 1.0], "y": [-1e-4, -5e-5, -2e-4]},
            "Reaction rate constant [mol.m-2.s-1]": 3.42e-6 * 63104.0 * 1000.0**0.5 / FARADAY,
            "Reaction rate constant activation energy [J.mol-1]": 17800.0,
        },
        "Separator": {"Thickness [m]": 12e-6, "Porosity": 0.47, "Transport efficiency": 0.3222},
    },
    "State": {
        "Initial conditions": {
            "Initial state-of-charge": 0.9,
            "Initial temperature [K]": 300.0,
            "Initial electrolyte concentration [mol.m-3]": 1000.0,
        },
        "Thermal environment": {"Ambient temperature [K]": 299.0},
    },
}


@pytest.fixture
def document():
    """A copy to be changed at will."""
    return copy.deepcopy(DOCUMENT)


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="cell.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return to_file
