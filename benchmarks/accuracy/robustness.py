"""Hard runs of the resolved half cell: slow and fast, both ways, poor images; how each ends, and at what cost.

    BATTSIM_DATA=... python benchmarks/accuracy/robustness.py OUT.json [--markdown OUT.md] [--only NAME ...]

The real electrode (matbox_nmc1cal_bridgeCBD.tif of the folder BATTSIM_DATA) takes part in its full thickness, 16 x 16
voxels wide; the others are recipes. A run is good where it ends by the physics (voltage, salt depletion, solid
saturation) and lithium and charge close. A failed step is one that Newton gave up and a smaller one cured.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

# before numpy loads
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np

from battsim.case import read_case
from battsim.errors import BattsimError
from battsim.output.tables import read_table
from battsim.run import run_case

REAL = {
    "file": "matbox_nmc1cal_bridgeCBD.tif",
    "voxel_size": "0.398 um",
    "through_plane": "x",
    "labels": {"pore": 0, "active": 1, "binder": 2},
    "crop": [[0, 251], [100, 116], [100, 116]],
}
RATES = ("C/20", "C/5", "1 C", "3 C", "5 C")


def recipe(active, binder, shape=(60, 16, 16), diameter="8 um"):
    """Spheres with volume fractions of active material and binder."""
    made = {"kind": "spheres", "shape": list(shape), "voxel_size": "1 um", "seed": 1}
    made |= {"active_volume_fraction": active, "binder_volume_fraction": binder}
    return {"generate": made | {"diameter": {"median": diameter, "sigma": 0.3}}}


def discharge(rate, voltage):
    """One step down to a voltage."""
    return [{"step": "discharge", "rate": rate, "until": {"voltage": voltage}}]


def runs():
    """Name, image, tables beside it, and protocol of each run."""
    real = (
        dict(REAL, file=str(Path(os.environ["BATTSIM_DATA"]) / REAL["file"])) if "BATTSIM_DATA" in os.environ else None
    )
    nmc532, nmc811 = {"active": "nmc532-mohtat2020"}, {"active": "nmc811-chen2020"}
    if real is None:
        print("BATTSIM_DATA is not set: the real electrode is left out", file=sys.stderr)
    else:
        for rate in RATES:
            yield f"real column, {rate} to 3.0 V", real, {"materials": nmc532}, discharge(rate, "3.0 V")
        charge = [{"step": "charge", "rate": "0.2C", "until": {"voltage": "4.2 V"}}]
        yield "real column, charge at 0.2C", real, {"materials": nmc532, "initial": {"soc": 0.0}}, charge
    for rate in RATES:
        yield f"porosity 25 %, {rate} to 3.0 V", recipe(0.60, 0.15), {"materials": nmc532}, discharge(rate, "3.0 V")
    for rate in ("C/5", "1 C", "5 C"):
        blocked = nmc532 | {"binder": {"transport": "impermeable"}}
        yield (
            f"impermeable binder, {rate} to 3.0 V",
            recipe(0.5, 0.15),
            {"materials": blocked},
            discharge(rate, "3.0 V"),
        )
    for rate in ("C/5", "1 C", "5 C"):
        yield f"isolated particles, {rate} to 3.0 V", recipe(0.3, 0.1), {"materials": nmc532}, discharge(rate, "3.0 V")
    for rate in ("C/5", "1 C", "3 C"):
        yield (
            f"NMC811 that saturates, {rate} to 2.5 V",
            recipe(0.5, 0.1),
            {"materials": nmc811},
            discharge(rate, "2.5 V"),
        )


def case_of(image, tables, protocol):
    """The case of a run, as the command line would read it."""
    materials = {
        "electrolyte": "lipf6-nyman2008",
        "counter": "lithium-xu2019",
        "separator": {"thickness": "12 um", "porosity": 0.47, "bruggeman": 1.5},
    }
    table = {"schema": 1, "image": image, "model": {"kind": "resolved"}, "protocol": protocol}
    table |= {key: value for key, value in tables.items() if key != "materials"}
    table |= {"solver": {"threads": 1}, "materials": materials | tables["materials"]}
    return read_case(table, Path.cwd(), allow_outside=True)


def measure(name, image, tables, protocol):
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        results, started = Path(folder), perf_counter()
        row = {"run": name}
        try:
            found = run_case(case_of(image, tables, protocol), results=results)
        except BattsimError as error:
            return row | {"error": str(error), "exit_code": error.exit_code, "seconds": perf_counter() - started}
        steps, series = read_table(results / "steps.csv"), read_table(results / "timeseries.csv")
        return row | {
            "stop": found["stop"]["reason"],
            "message": found["stop"]["message"],
            "time_s": found["stop"]["time_s"],
            "voltage_V": float(series["voltage_V"][-1]),
            "capacity_mAh_g": found["capacity_mAh_g"],
            "c_e_min": float(np.nanmin(series["c_e_min_mol_m3"])),
            "steps": int(steps["dt_s"].size),
            "rejected": int(np.sum(steps["rejected"])),
            "failed": int(np.sum(steps["failed"])),
            "krylov_most": int(np.max(steps["linear_iterations"] / np.maximum(steps["newton_iterations"], 1))),
            "lithium": found["lithium_imbalance"],
            "charge": found["charge_imbalance"],
            "seconds": perf_counter() - started,
        }


def markdown(rows):
    """Table of the runs."""
    lines = [
        "| run | ends by | after, s | at, V | mAh/g | least c_e | steps (rejected, failed) | Krylov per Newton, most | "
        "lithium | s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['run']} | **exit {row['exit_code']}**: {row['error']} | | | | | | | | |")
            continue
        lines.append(
            f"| {row['run']} | {row['stop']} | {row['time_s']:.0f} | {row['voltage_V']:.3f} | "
            f"{row['capacity_mAh_g']:.1f} | {row['c_e_min']:.3g} | "
            f"{row['steps']} ({row['rejected']}, {row['failed']}) | {row['krylov_most']} | {row['lithium']:.0e} | "
            f"{row['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    """Run what the command line asks for; the files are written after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--only", nargs="*", help="runs whose names contain one of these")
    arguments = parser.parse_args()
    rows = []
    for name, *asked in runs():
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        rows.append(measure(name, *asked))
        print(json.dumps(rows[-1]), file=sys.stderr)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
        if arguments.markdown:
            arguments.markdown.write_text(markdown(rows))
    print(markdown(rows))


if __name__ == "__main__":
    main()
