"""The published sets against PyBaMM's own files, over their whole range; the other tests hold its figures by value."""

import numpy as np
import pytest

from battsim.materials.lipf6_chen2020 import lipf6_chen2020
from battsim.materials.lithium_xu2019 import lithium_xu2019
from battsim.materials.nmc532_mohtat2020 import nmc532_mohtat2020
from battsim.materials.nmc811_chen2020 import nmc811_chen2020

pybamm = pytest.importorskip("pybamm", reason="PyBaMM is not installed")

I0 = "Positive electrode exchange-current density [A.m-2]"


def evaluate(function, *arguments):
    result = function(*(pybamm.Scalar(value) for value in arguments))
    return float(result.evaluate()) if hasattr(result, "evaluate") else float(result)


@pytest.mark.parametrize(("name", "factory"), [("Chen2020", nmc811_chen2020), ("Mohtat2020", nmc532_mohtat2020)])
def test_active_material(name, factory):
    material, theirs = factory(), pybamm.ParameterValues(name)
    c_max = theirs["Maximum concentration in positive electrode [mol.m-3]"]
    assert material.max_concentration == c_max
    for x in np.linspace(0.05, 0.95, 10):
        assert material.ocp(x)[0] == pytest.approx(evaluate(theirs["Positive electrode OCP [V]"], x), rel=1e-12)
        for c_e, T in ((200.0, 298.15), (1500.0, 323.15)):
            i0 = evaluate(theirs[I0], c_e, x * c_max, c_max, T)
            assert material.exchange_current(x, c_e, T)[0] == pytest.approx(i0, rel=1e-9)


def test_electrolyte():
    electrolyte, theirs = lipf6_chen2020(), pybamm.ParameterValues("Chen2020")
    for c_e in (1.0, 100.0, 1000.0, 2000.0, 3500.0):
        D_e = evaluate(theirs["Electrolyte diffusivity [m2.s-1]"], c_e, 298.15)
        kappa = evaluate(theirs["Electrolyte conductivity [S.m-1]"], c_e, 298.15)
        assert electrolyte.diffusivity(c_e, 298.15)[0] == pytest.approx(D_e, rel=1e-12)
        assert electrolyte.conductivity(c_e, 298.15)[0] == pytest.approx(kappa, rel=1e-12)
    assert electrolyte.transference(1.0, 298.15)[0] == theirs["Cation transference number"]
    assert electrolyte.thermodynamic_factor(1.0, 298.15)[0] == theirs["Thermodynamic factor"]


def test_lithium():
    theirs = pybamm.ParameterValues("Xu2019")["Exchange-current density for lithium metal electrode [A.m-2]"]
    for c_e in (1.0, 1000.0, 3000.0):
        mine = lithium_xu2019().exchange_current(c_e, 298.15)[0]
        assert mine == pytest.approx(evaluate(theirs, c_e, 76900.0, 298.15), rel=1e-12)
