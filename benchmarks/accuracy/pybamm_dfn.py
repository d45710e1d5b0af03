"""battsim's P2D against PyBaMM's DFN, taken to fine meshes: voltage, capacity and time of both.

    python benchmarks/accuracy/pybamm_dfn.py OUT.json --pybamm-python PATH [--markdown OUT.md] [--rates 0.2 1 2 3]
        [--cells half full] [--reference tests/models/pybamm_dfn.json]

PyBaMM may live in an environment of its own: `pip install pybamm`. Cells: Chen2020, and its cathode against Xu2019's
lithium, both with PyBaMM's own electrolyte (here `lipf6-chen2020`), discharged to 2.5 V and 3.5 V.

PyBaMM's error falls with the first power of the cells' size in x (its lithium electrode is taken at a cell's centre) or
with the second (full cell), and with the second power of the shells. The reference is its finest curve plus what is
left by the order that its three last meshes in x show, and by order two in the shells. Curves are compared at equal
time from 60 s over the C-rate to 95 % of the discharge.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.interpolate import PchipInterpolator

X_MESHES = (40, 80, 160)
RADIAL_MESHES = (80, 160)
DEFAULT = (20, 20)
WORKER = Path(__file__).with_name("pybamm_worker.py")
START, END = 60.0, 0.95
POINTS = 60
"""Of a stored reference."""


def pybamm_curves(python, cell, rate):
    """Every mesh that the extrapolation needs, and PyBaMM's default one."""
    finest = RADIAL_MESHES[-1]
    meshes = [[n, finest] for n in X_MESHES] + [[X_MESHES[0], RADIAL_MESHES[0]], list(DEFAULT)]
    job = json.dumps({"cell": cell, "rate": rate, "meshes": meshes})
    done = subprocess.run([python, WORKER, job], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def reference_of(found, rate):
    """Times (s) in the window, PyBaMM's extrapolated voltages (V), its end (s), and the order in x that it shows."""
    curves = {key: (np.array(c["t"]), np.array(c["V"])) for key, c in found["curves"].items()}
    finest = RADIAL_MESHES[-1]
    end = min(t[-1] for t, _ in curves.values())
    t = np.linspace(START / rate, END * end, POINTS)
    V = {key: PchipInterpolator(*curve)(t) for key, curve in curves.items()}
    coarse, middle, fine = (V[f"{n} {finest}"] for n in X_MESHES)
    first, second = np.linalg.norm(middle - coarse), np.linalg.norm(fine - middle)
    order = float(np.clip(np.log2(first / second), 1.0, 2.0))
    in_x = (fine - middle) / (2.0**order - 1.0)
    in_r = (V[f"{X_MESHES[0]} {finest}"] - V[f"{X_MESHES[0]} {RADIAL_MESHES[0]}"]) / 3.0
    ends = [curves[f"{n} {finest}"][0][-1] for n in X_MESHES]
    ends_r = [curves[f"{X_MESHES[0]} {n}"][0][-1] for n in RADIAL_MESHES]
    last = ends[2] + (ends[2] - ends[1]) / (2.0**order - 1.0) + (ends_r[1] - ends_r[0]) / 3.0
    return t, fine + in_x + in_r, float(last), order, V["{} {}".format(*DEFAULT)]


def ours(cell, current, grid, tolerance):
    """Times and voltages of the same discharge here, and its seconds."""
    from p2d_cells import chen2020, discharged

    started = perf_counter()
    t, V = discharged(chen2020(cell, grid), current, {"half": 3.5, "full": 2.5}[cell], tolerance)
    return t, V, perf_counter() - started


def compare(arguments):
    """One row per cell and rate."""
    rows, references = [], []
    for cell in arguments.cells:
        for rate in arguments.rates:
            found = pybamm_curves(arguments.pybamm_python, cell, rate)
            t, V, end, order, default = reference_of(found, rate)
            references.append(
                {"cell": cell, "rate": rate, "current": found["current"], "t": t.tolist(), "V": V.tolist(), "end": end}
            )
            row = {"cell": cell, "rate": rate, "order_in_x": order, "pybamm_default_rms_mV": rms(default - V)}
            row["pybamm_default_s"] = found["curves"]["{} {}".format(*DEFAULT)]["seconds"][0]
            for name, grid, tolerance in (("default", (40, 20, 40, 40), 1e-4), ("fine", (160, 160, 160, 160), 1e-5)):
                ours(cell, found["current"], grid, tolerance) if not rows else None  # kernels compile once
                times, voltages, seconds = ours(cell, found["current"], grid, tolerance)
                difference = PchipInterpolator(times, voltages)(t) - V
                row |= {f"{name}_rms_mV": rms(difference), f"{name}_end_ratio": times[-1] / end, f"{name}_s": seconds}
            rows.append(row)
            print(row, file=sys.stderr)
    return {"pybamm": found["version"], "rows": rows}, references


def rms(difference):
    """Root mean square, mV."""
    return float(1e3 * np.sqrt(np.mean(difference**2)))


def markdown(report):
    """Table of the comparison."""
    lines = [
        f"PyBaMM {report['pybamm']}; root mean square of the voltage against its curves extrapolated to no mesh size.",
        "",
        "| cell | rate | PyBaMM default, mV | battsim default, mV | battsim fine, mV | end of discharge, fine |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        lines.append(
            f"| {row['cell']} | {row['rate']:g} C | {row['pybamm_default_rms_mV']:.2f} | {row['default_rms_mV']:.3f} | "
            f"{row['fine_rms_mV']:.3f} | {1e2 * (row['fine_end_ratio'] - 1.0):+.4f} % |"
        )
    return "\n".join(lines) + "\n"


def main():
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pybamm-python", default=sys.executable, help="interpreter that has PyBaMM")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--reference", type=Path, help="file for the extrapolated curves, which a test reads")
    parser.add_argument("--rates", type=float, nargs="*", default=[0.2, 1.0, 2.0, 3.0])
    parser.add_argument("--cells", nargs="*", default=["half", "full"], choices=("half", "full"))
    arguments = parser.parse_args()
    report, references = compare(arguments)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.reference:
        arguments.reference.write_text(json.dumps({"pybamm": report["pybamm"], "curves": references}) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
