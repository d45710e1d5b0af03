"""The published sets against PyBaMM's own files, over their whole range; the other tests hold its figures by value."""

import numpy as np
import pytest

from battsim.materials.graphite_chen2020 import graphite_chen2020
from battsim.materials.graphite_marquis2019 import graphite_marquis2019
from battsim.materials.lco_marquis2019 import lco_marquis2019
from battsim.materials.lfp_prada2013 import lfp_prada2013
from battsim.materials.lipf6_chen2020 import lipf6_chen2020
from battsim.materials.lipf6_landesfeind2019 import lipf6_landesfeind2019
from battsim.materials.lipf6_valoen2005 import lipf6_valoen2005
from battsim.materials.lithium_xu2019 import lithium_xu2019
from battsim.materials.nmc532_mohtat2020 import nmc532_mohtat2020
from battsim.materials.nmc811_chen2020 import nmc811_chen2020

pybamm = pytest.importorskip("pybamm", reason="PyBaMM is not installed")


def evaluate(function, *arguments):
    result = function(*(pybamm.Scalar(value) for value in arguments))
    return float(result.evaluate()) if hasattr(result, "evaluate") else float(result)


@pytest.mark.parametrize(
    ("name", "side", "factory"),
    [
        ("Chen2020", "Positive", nmc811_chen2020),
        ("Chen2020", "Negative", graphite_chen2020),
        ("Mohtat2020", "Positive", nmc532_mohtat2020),
        ("Marquis2019", "Positive", lco_marquis2019),
        ("Marquis2019", "Negative", graphite_marquis2019),
        ("Prada2013", "Positive", lfp_prada2013),
    ],
)
def test_active_material(name, side, factory):
    material, theirs = factory(), pybamm.ParameterValues(name)
    c_max = theirs[f"Maximum concentration in {side.lower()} electrode [mol.m-3]"]
    D_s = theirs[f"{side} particle diffusivity [m2.s-1]"]
    assert material.max_concentration == c_max
    assert material.conductivity == (0.1 if name == "Mohtat2020" else theirs[f"{side} electrode conductivity [S.m-1]"])
    for x in np.linspace(0.05, 0.95, 10):
        assert material.ocp(x)[0] == pytest.approx(evaluate(theirs[f"{side} electrode OCP [V]"], x), rel=1e-12)
        for c_e, T in ((200.0, 298.15), (1500.0, 323.15)):
            i0 = evaluate(theirs[f"{side} electrode exchange-current density [A.m-2]"], c_e, x * c_max, c_max, T)
            assert material.exchange_current(x, c_e, T)[0] == pytest.approx(i0, rel=1e-9)
            D = evaluate(D_s, x, T) if callable(D_s) else D_s
            assert material.diffusivity(x, T)[0] == pytest.approx(D, rel=1e-9)


def test_electrolyte():
    electrolyte, theirs = lipf6_chen2020(), pybamm.ParameterValues("Chen2020")
    for c_e in (1.0, 100.0, 1000.0, 2000.0, 3500.0):
        D_e = evaluate(theirs["Electrolyte diffusivity [m2.s-1]"], c_e, 298.15)
        kappa = evaluate(theirs["Electrolyte conductivity [S.m-1]"], c_e, 298.15)
        assert electrolyte.diffusivity(c_e, 298.15)[0] == pytest.approx(D_e, rel=1e-12)
        assert electrolyte.conductivity(c_e, 298.15)[0] == pytest.approx(kappa, rel=1e-12)
    assert electrolyte.transference(1.0, 298.15)[0] == theirs["Cation transference number"]
    assert electrolyte.thermodynamic_factor(1.0, 298.15)[0] == theirs["Thermodynamic factor"]


@pytest.mark.parametrize(("name", "factory"), [("Xu2019", lipf6_valoen2005), ("ORegan2022", lipf6_landesfeind2019)])
def test_electrolyte_with_temperature(name, factory):
    electrolyte, theirs = factory(), pybamm.ParameterValues(name)
    properties = {
        "Electrolyte diffusivity [m2.s-1]": electrolyte.diffusivity,
        "Electrolyte conductivity [S.m-1]": electrolyte.conductivity,
    }
    if name == "ORegan2022":  # Xu2019 takes TF = 1, which is not what was measured
        properties["Thermodynamic factor"] = electrolyte.thermodynamic_factor
        properties["Cation transference number"] = electrolyte.transference
    else:
        assert theirs["Cation transference number"] == electrolyte.transference(1.0, 298.15)[0]
    for key, closure in properties.items():
        for c_e in (150.0, 1000.0, 2900.0):
            for T in (268.15, 298.15, 318.15):
                assert closure(c_e, T)[0] == pytest.approx(evaluate(theirs[key], c_e, T), rel=1e-11, abs=1e-12)


def test_lithium():
    theirs = pybamm.ParameterValues("Xu2019")["Exchange-current density for lithium metal electrode [A.m-2]"]
    for c_e in (1.0, 1000.0, 3000.0):
        mine = lithium_xu2019().exchange_current(c_e, 298.15)[0]
        assert mine == pytest.approx(evaluate(theirs, c_e, 76900.0, 298.15), rel=1e-12)
