"""What merged cells save and what they cost: discharges with and without them, at the same tolerances.

    BATTSIM_DATA=... python benchmarks/accuracy/merging.py OUT.json [--markdown OUT.md]
        [--images spheres-8 real-43] [--rates 0.2 1 3] [--levels 1 2] [--floor]

Images: spheres-N is the packing of rungs_resolution.py with N voxels per particle radius, real-N the crop of N^3 voxels
of the real electrode matbox_nmc1cal_bridgeCBD.tif of the folder BATTSIM_DATA, from its separator side. Each is
discharged to 3.5 V on all its voxels and with cells merged once (2 x 2 x 2) and twice (4 x 4 x 4 where there is room).
Voltages are compared at equal capacity, between a sixtieth and 95 % of the smaller end capacity. --floor adds the
discharge on all voxels with half the time tolerance: what lies below its error is not the merging's.

Lithium is the largest imbalance of a time step, over the current. Times are those of the processor, one thread, for the
consistent start and the steps. Needs the extra "dev", as the ladder does.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time

if __name__ == "__main__":  # before numpy loads
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from rungs_resolution import CUT_OFF, SAMPLES, SEPARATOR, Curve, electrode_image
from shared import cells_of_tests

from battsim.constants import SECONDS_PER_HOUR
from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
from battsim.solvers.block import BlockSolver
from meshing.merge import merged_mesh
from meshing.read import label_image, read_voxels
from meshing.voxel import graded_layers, voxel_mesh

IMAGE, VOXEL, LATERAL_START = "matbox_nmc1cal_bridgeCBD.tif", 0.398e-6, 100
"""The real electrode, its voxel size (m), and the first voxel of a crop along y and z: away from the image's rim."""
IMAGES, RATES, LEVELS = ("spheres-6", "spheres-8", "spheres-12", "real-40", "real-60"), (0.2, 1.0, 3.0), (1, 2)
TOLERANCE = 2e-4
"""Local error per time step, in volts and shares."""
FINER = "finer steps"


@dataclass(frozen=True)
class Discharge:
    """A discharge, and what it took.

    Attributes
    ----------
    curve
        Voltage over capacity.
    cells, unknowns, steps, newton, krylov
        Counts; iterations over all steps.
    seconds
        Processor time of the consistent start and the steps.
    lithium
        Largest difference of a step's change of the inventory from its current, over the current.
    """

    curve: Curve
    cells: int
    unknowns: int
    steps: int
    newton: int
    krylov: int
    seconds: float
    lithium: float


def image_of(name):
    """The image of a name such as spheres-8 or real-40."""
    kind, size = name.split("-")
    if kind == "spheres":
        return electrode_image(int(size))
    values = read_voxels(Path(os.environ["BATTSIM_DATA"]) / IMAGE)
    lateral = slice(LATERAL_START, LATERAL_START + int(size))
    crop = np.ascontiguousarray(values[: int(size), lateral, lateral])
    return label_image(crop, (VOXEL,) * 3, {"pore": 0, "active": 1, "binder": 2}, ())


def mesh_of(image):
    """All voxels of an image, with ten graded layers of separator in front."""
    layers = graded_layers(SEPARATOR, 10, min(image.voxel_size[0], SEPARATOR / 10))
    return voxel_mesh(image, layers=layers, inside="active")


def discharged(mesh, rate, tolerance=TOLERANCE):
    """Discharge from full at a C-rate to the cut-off; no step is kept, since each is as large as the cell."""
    cells = cells_of_tests()
    cell = cells.HalfCell(mesh, cells.make_parameters())
    current = rate * cell.capacity / SECONDS_PER_HOUR
    transient, control = cells.CellTransient(cell, current), cells.Control("current", current)
    linear = BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES)
    settings = cells.settings_of(tolerance, rtol=1e-6, balance=2e-9, first_step=0.02 / max(rate, 1.0))
    at_rest = cell.uniform_state(cell.parameters.active.stoichiometry_soc100)
    began = process_time()
    u, reference, _ = cells.consistent_start(transient, linear, control, settings, *at_rest)
    times, voltage, counts, lithium = [0.0], [transient.voltage(u, reference)], np.zeros(2, int), 0.0
    limits, x = cells.limits(voltage=CUT_OFF), cell.layout.x
    for step in cells.integrate(transient, linear, control, limits, settings, (0.0, u, reference)):
        times.append(step.time)
        voltage.append(transient.voltage(step.u, step.reference))
        counts += step.newton_iterations, step.linear_iterations
        entered = step.a * float(cell.solid_capacity @ (step.u[x] - step.u_star[x]))
        lithium = max(lithium, abs(entered - step.current) / current)
    return Discharge(
        curve=Curve(current / cell.network.cross_section * np.array(times) / SECONDS_PER_HOUR, np.array(voltage)),
        cells=mesh.n_cells,
        unknowns=cell.layout.size,
        steps=len(times) - 1,
        newton=int(counts[0]),
        krylov=int(counts[1]),
        seconds=process_time() - began,
        lithium=lithium,
    )


def errors(curve, true):
    """Root mean square and largest error of the voltage (mV), and error of the end capacity (%)."""
    ends = [float(each.capacity[-1]) for each in (curve, true)]
    capacity = np.linspace(min(ends) / 60.0, 0.95 * min(ends), SAMPLES)
    difference = 1e3 * (curve.at(capacity) - true.at(capacity))
    return {
        "rms_mV": float(np.sqrt(np.mean(difference**2))),
        "max_mV": float(np.abs(difference).max()),
        "capacity_percent": 100.0 * (ends[0] / ends[1] - 1.0),
    }


def measured(name, rates, levels, *, floor, tell=print):
    """Rows of one image: by rate, on all voxels, merged, and with `floor` on all voxels with finer steps."""
    fine = mesh_of(image_of(name))
    meshes = {0: fine} | {level: merged_mesh(fine, level).mesh for level in levels}
    rows = []
    for rate in rates:
        found = {level: discharged(mesh, rate) for level, mesh in meshes.items()}
        if floor:
            found[FINER] = discharged(fine, rate, 0.5 * TOLERANCE)
        true = found[0]
        for level, each in found.items():
            row = {"image": name, "rate": rate, "merged": level, "saved": 1.0 - each.unknowns / true.unknowns}
            numbers = {key: value for key, value in vars(each).items() if key != "curve"}
            rows.append(row | errors(each.curve, true.curve) | numbers)
            tell(" | ".join(cells_of(rows[-1])))
    return rows


HEADER = (
    "image",
    "rate",
    "merged",
    "unknowns",
    "saved",
    "voltage rms (max)",
    "capacity",
    "steps",
    "Newton",
    "Krylov",
    "Krylov per Newton",
    "CPU s",
    "lithium",
)


def cells_of(row):
    """One row of the table."""
    merged = row["merged"]
    changed = merged != 0
    return [
        row["image"],
        f"{row['rate']:g}C",
        {0: "no", 1: "2 x 2 x 2", 2: "and 4 x 4 x 4"}.get(merged, merged),
        str(row["unknowns"]),
        f"{100 * row['saved']:.0f} %" if merged not in (0, FINER) else "-",
        f"{row['rms_mV']:.3f} ({row['max_mV']:.3f}) mV" if changed else "-",
        f"{row['capacity_percent']:+.3f} %" if changed else "-",
        str(row["steps"]),
        str(row["newton"]),
        str(row["krylov"]),
        f"{row['krylov'] / row['newton']:.1f}",
        f"{row['seconds']:.1f}",
        f"{row['lithium']:.0e}",
    ]


def table_of(rows):
    """All rows as a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [HEADER, ["---"] * len(HEADER), *map(cells_of, rows)])


def parsed(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--images", nargs="+", default=list(IMAGES), metavar="NAME")
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES), metavar="C")
    parser.add_argument("--levels", nargs="+", type=int, default=list(LEVELS), metavar="N")
    parser.add_argument("--floor", action="store_true", help="show what finer time steps change")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Measures, and writes after each image."""
    given, rows = parsed(arguments), []
    if any(name.startswith("real") for name in given.images) and "BATTSIM_DATA" not in os.environ:
        sys.exit("set BATTSIM_DATA to the folder with the real images, or give --images spheres-8")
    discharged(mesh_of(image_of("spheres-3")), 3.0)  # compiles
    for name in given.images:
        rows += measured(name, given.rates, given.levels, floor=given.floor, tell=partial(print, flush=True))
        given.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        if given.markdown:
            given.markdown.write_text(table_of(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
