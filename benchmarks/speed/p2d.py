"""Time of a P2D discharge at an accuracy of 0.5 mV: battsim against PyBaMM's DFN with IDAKLU, in one run.

    python benchmarks/speed/p2d.py OUT.json --pybamm-python PATH [--markdown OUT.md] [--accuracy 0.5] [--repeats 5]

PyBaMM may live in an environment of its own: `pip install pybamm`. The discharges, and the curves that both are held
against, are those of `benchmarks/accuracy/pybamm_dfn.py`, as stored for the tests. Each code is run on the grids and at
the tolerances below; what counts is its quickest discharge whose voltage is within the accuracy (root mean square from
60 s over the C-rate to 95 % of the discharge). Times are the least of the repeats, one thread, results in memory:
PyBaMM's without building and compiling its model (a column of its own), battsim's with making its cell.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

# before numpy loads, and for the processes that are started here
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from scipy.interpolate import PchipInterpolator

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "benchmarks" / "accuracy" / "pybamm_worker.py"
REFERENCE = ROOT / "tests" / "models" / "pybamm_dfn.json"
sys.path.insert(0, str(WORKER.parent))

PYBAMM_MESHES = ((10, 10), (20, 20), (30, 20), (40, 20), (60, 30), (120, 40))
PYBAMM_TOLERANCES = (1e-3, 1e-4)
GRIDS = ((10, 6, 10, 12), (20, 10, 20, 20), (40, 20, 40, 40))
TOLERANCES = (2e-3, 1e-3, 3e-4)
CUTOFF = {"half": 3.5, "full": 2.5}


def rms(t, V, reference):
    """Root mean square of the voltage against the reference, mV; NaN where the curve ends before it does."""
    times = np.array(reference["t"])
    if t[-1] < times[-1]:
        return float("nan")
    return float(1e3 * np.sqrt(np.mean((PchipInterpolator(t, V)(times) - np.array(reference["V"])) ** 2)))


def of_pybamm(python, reference, repeats):
    """Every run of PyBaMM: mesh, tolerance, error (mV), seconds of a solve, and of building and compiling."""
    runs = []
    for tolerance in PYBAMM_TOLERANCES:
        job = {"cell": reference["cell"], "rate": reference["rate"], "meshes": PYBAMM_MESHES}
        job |= {"tolerance": tolerance, "repeats": repeats, "failures": True}
        done = subprocess.run([python, WORKER, json.dumps(job)], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        for mesh in PYBAMM_MESHES:
            curve = found["curves"]["{} {}".format(*mesh)]
            if "error" in curve:
                runs.append({"mesh": mesh, "tolerance": tolerance, "rms_mV": float("nan"), "error": curve["error"]})
                continue
            solve = min(curve["seconds"])
            runs.append(
                {
                    "mesh": mesh,
                    "tolerance": tolerance,
                    "rms_mV": rms(curve["t"], curve["V"], reference),
                    "seconds": solve,
                    "once": curve["build"] + curve["seconds"][0] - solve,
                }
            )
    return found["version"], runs


def of_battsim(reference, repeats):
    """Every run of battsim, as `of_pybamm` gives them."""
    from p2d_cells import chen2020, discharged

    runs = []
    for tolerance in TOLERANCES:
        for grid in GRIDS:
            seconds = []
            for _ in range(repeats):
                started = perf_counter()
                cell = chen2020(reference["cell"], grid)
                t, V = discharged(cell, reference["current"], CUTOFF[reference["cell"]], tolerance)
                seconds.append(perf_counter() - started)
            error = rms(t, V, reference)
            runs.append({"mesh": grid, "tolerance": tolerance, "rms_mV": error, "seconds": min(seconds), "once": 0.0})
    return runs


def quickest(runs, accuracy):
    """The quickest run within the accuracy (mV); None where there is none."""
    within = [run for run in runs if run["rms_mV"] <= accuracy]
    return min(within, key=lambda run: run["seconds"]) if within else None


def markdown(report):
    """Table of the comparison."""
    lines = [
        f"PyBaMM {report['pybamm']}; accuracy {report['accuracy_mV']:g} mV.",
        "",
        "| cell | rate | battsim: s (error, mV; grid) | PyBaMM: s (error; mesh) | ratio | with building: s | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        ours, theirs = row["battsim"], row["pybamm"]
        if not (ours and theirs):
            lines.append(f"| {row['cell']} | {row['rate']:g} C | {shown(ours)} | {shown(theirs)} | - | - | - |")
            continue
        whole = theirs["seconds"] + theirs["once"]
        lines.append(
            f"| {row['cell']} | {row['rate']:g} C | {shown(ours)} | {shown(theirs)} | "
            f"{ours['seconds'] / theirs['seconds']:.1f} | {whole:.2f} | {ours['seconds'] / whole:.2f} |"
        )
    return "\n".join(lines) + "\n"


def shown(run):
    """One run in a cell of the table."""
    if run is None:
        return "none within"
    mesh = " x ".join(map(str, run["mesh"]))
    return f"{run['seconds']:.3f} ({run['rms_mV']:.2f}; {mesh}, {run['tolerance']:g})"


def main():
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pybamm-python", default=sys.executable, help="interpreter that has PyBaMM")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--accuracy", type=float, default=0.5, help="mV")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for reference in json.loads(REFERENCE.read_text())["curves"]:
        version, theirs = of_pybamm(arguments.pybamm_python, reference, arguments.repeats)
        if not rows:
            of_battsim(reference, 1)  # kernels compile once
        ours = of_battsim(reference, arguments.repeats)
        row = {"cell": reference["cell"], "rate": reference["rate"], "battsim_runs": ours, "pybamm_runs": theirs}
        row |= {"battsim": quickest(ours, arguments.accuracy), "pybamm": quickest(theirs, arguments.accuracy)}
        rows.append(row)
        print(row["cell"], row["rate"], shown(row["battsim"]), shown(row["pybamm"]), file=sys.stderr)
    report = {"pybamm": version, "accuracy_mV": arguments.accuracy, "rows": rows}
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
