"""What PyBaMM makes of the files that are written: its parameters against the materials that went in."""

import numpy as np
import pytest

from battsim.materials import library
from battsim.materials.bpx import BpxCell, BpxElectrode, BpxParticle, BpxSeparator, bpx_of, read_bpx
from battsim.materials.types import open_circuit

pytest.importorskip("bpx", reason="the package bpx (extra bpx) is not installed")
pybamm = pytest.importorskip("pybamm", reason="PyBaMM is not installed")


def evaluate(function, *arguments):
    result = function(*(pybamm.Scalar(value) for value in arguments))
    return float(np.squeeze(result.evaluate())) if hasattr(result, "evaluate") else float(result)


def check(cell, parameters):
    for name, electrode in (("Negative", cell.negative), ("Positive", cell.positive)):
        material = electrode.particle.material
        low, high = sorted((material.stoichiometry_soc0, material.stoichiometry_soc100))
        c_max = parameters[f"Maximum concentration in {name.lower()} electrode [mol.m-3]"]
        assert c_max == material.max_concentration
        fraction = parameters[f"{name} electrode active material volume fraction"]
        assert fraction == pytest.approx(electrode.active_volume_fraction, rel=1e-12)
        b = (
            parameters[f"{name} electrode porosity"]
            ** parameters[f"{name} electrode Bruggeman coefficient (electrolyte)"]
        )
        assert b == pytest.approx(electrode.transport_efficiency, rel=1e-12)
        for x in np.linspace(low, high, 37):
            potential = evaluate(parameters[f"{name} electrode OCP [V]"], x)
            exact = open_circuit(material, x, 298.15)[0]
            assert potential == pytest.approx(exact, abs=3e-5)  # 0.02 mV, tried at three places between entries
            for c_e, T in ((400.0, 298.15), (1500.0, 313.15)):
                i0 = evaluate(
                    parameters[f"{name} electrode exchange-current density [A.m-2]"], c_e, x * c_max, c_max, T
                )
                assert i0 == pytest.approx(material.exchange_current(x, c_e, T)[0], rel=1e-9)
                D_s = evaluate(parameters[f"{name} particle diffusivity [m2.s-1]"], x, T)
                assert D_s == pytest.approx(material.diffusivity(x, T)[0], rel=2e-4)
    for c_e, T in ((50.0, 298.15), (1000.0, 313.15), (2500.0, 288.15)):
        for key, closure in (
            ("Electrolyte diffusivity [m2.s-1]", cell.electrolyte.diffusivity),
            ("Electrolyte conductivity [S.m-1]", cell.electrolyte.conductivity),
        ):
            assert evaluate(parameters[key], c_e, T) == pytest.approx(closure(c_e, T)[0], rel=2e-4)
    assert parameters["Cation transference number"] == pytest.approx(
        cell.electrolyte.transference(1000.0, 298.15)[0], rel=1e-12
    )


def test_library_sets():
    cell = BpxCell(
        title="made",
        source="library sets",
        version="1.1",
        negative=BpxElectrode(
            85e-6, 0.3, 0.16, 215.0, (BpxParticle("", library.active_material("graphite-chen2020"), 4e-6, 4e5),)
        ),
        positive=BpxElectrode(
            75e-6, 0.3, 0.16, 0.18, (BpxParticle("", library.active_material("nmc532-mohtat2020"), 4e-6, 4e5),)
        ),
        separator=BpxSeparator(20e-6, 0.4, 0.25),
        electrolyte=library.electrolyte("lipf6-chen2020"),
        electrode_area=0.1,
        electrode_pairs=2,
        nominal_capacity=5.0,
        lower_voltage=2.5,
        upper_voltage=4.2,
        initial_soc=1.0,
        initial_temperature=298.15,
        ambient_temperature=298.15,
    )
    check(cell, pybamm.ParameterValues.create_from_bpx_obj(bpx_of(cell)))


def test_a_file_means_the_same_to_both(document, write):
    document["Parameterisation"]["Cell"] |= {"External surface area [m2]": 0.2, "Volume [m3]": 2e-5}
    document["Parameterisation"]["Negative electrode"]["Entropic change coefficient [V.K-1]"] = (
        0.0  # PyBaMM asks for all
    )
    cell = read_bpx(write(document))
    check(cell, pybamm.ParameterValues.create_from_bpx_obj(document))
