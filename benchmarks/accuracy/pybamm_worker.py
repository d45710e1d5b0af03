"""Discharge curves of PyBaMM's DFN for `pybamm_dfn.py`; runs in an environment that has PyBaMM.

    python pybamm_worker.py '{"cell": "half", "rate": 1.0, "meshes": [[40, 160], [80, 160]]}'

Prints one JSON object: current (A/m2), and per mesh [x points per domain, radial points] times (s) and voltages (V) at
its own end and at uniform times before it, the seconds that building took, and those of each solve ("repeats" of them).
With "failures" a solve that fails is an entry with its error, and not the end.
"""

import json
import sys
from time import perf_counter

import numpy as np
import pybamm

COPIED = ("ositive", "eparator", "lectrolyte", "Cation transference number", "Thermodynamic factor")
"""Parts of the names of parameters that the half cell takes from Chen2020 beside Xu2019's lithium electrode."""
CUTOFF = {"half": 3.5, "full": 2.5}
POINTS = 400


def model_of(cell):
    """Model and parameter values: Chen2020, or its cathode against the lithium of Xu2019."""
    chen = pybamm.ParameterValues("Chen2020")
    if cell == "full":
        return pybamm.lithium_ion.DFN(), chen
    values = pybamm.ParameterValues("Xu2019")
    both = set(chen.keys()) & set(values.keys())
    taken = {k: chen[k] for k in both if "Initial" not in k and any(part in k for part in COPIED)}
    taken |= {k: chen[k] for k in ("Electrode height [m]", "Electrode width [m]", "Nominal cell capacity [A.h]")}
    taken |= {
        "Initial concentration in positive electrode [mol.m-3]": 0.27 * 63104.0,
        "Lower voltage cut-off [V]": CUTOFF["half"],
        "Upper voltage cut-off [V]": 4.5,
    }
    values.update(taken, check_already_exists=False)
    return pybamm.lithium_ion.DFN({"working electrode": "positive"}), values


def discharge(cell, rate, points, radial, tolerance, repeats):
    """The current density, and one curve."""
    model, values = model_of(cell)
    values["Current function [A]"] = current = rate * 5.0
    mesh = {"x_n": points, "x_s": points, "x_p": points, "r_n": radial, "r_p": radial}
    solver = pybamm.IDAKLUSolver(rtol=tolerance, atol=tolerance / 10.0)
    simulation = pybamm.Simulation(model, parameter_values=values, var_pts=mesh, solver=solver)
    started = perf_counter()
    simulation.build()
    build, seconds = perf_counter() - started, []
    for _ in range(repeats):  # the first compiles what the others reuse
        started = perf_counter()
        solution = simulation.solve([0.0, 1.25 * 3600.0 / rate])
        seconds.append(perf_counter() - started)
    t = np.linspace(0.0, float(solution.t[-1]), POINTS)
    area = values["Electrode height [m]"] * values["Electrode width [m]"]
    V = solution["Voltage [V]"](t).tolist()
    return current / area, {"t": t.tolist(), "V": V, "build": build, "seconds": seconds}


def main():
    """Print the curves that the argument asks for."""
    job = json.loads(sys.argv[1])
    curves, current = {}, None
    for points, radial in job["meshes"]:
        try:
            current, curves[f"{points} {radial}"] = discharge(
                job["cell"], job["rate"], points, radial, job.get("tolerance", 1e-8), job.get("repeats", 1)
            )
        except pybamm.SolverError as error:
            if not job.get("failures"):
                raise
            curves[f"{points} {radial}"] = {"error": str(error)}
    print(json.dumps({"version": pybamm.__version__, "current": current, "curves": curves}))


if __name__ == "__main__":
    main()
