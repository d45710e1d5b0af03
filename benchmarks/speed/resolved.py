"""Time and memory of a resolved 1 C discharge, with its split, and of the mesh under it.

    BATTSIM_DATA=... python benchmarks/speed/resolved.py OUT.json [--crops 40x40x40 251x24x24] [--voltage 3.5]
    python benchmarks/speed/resolved.py OUT.json --recipe 60x20x20

Crops are taken from the real electrode matbox_nmc1cal_bridgeCBD.tif of the folder BATTSIM_DATA, from its separator
side; a recipe needs no data. One thread. The split is: assembly (residual, kinetics and Jacobian), preconditioner
set-up, preconditioner application, and the rest of the Krylov solver; their sum is the time of the steps.
"""

import argparse
import json
import os
import platform
import resource
import sys
from pathlib import Path
from time import perf_counter

# before numpy loads
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np

IMAGE = "matbox_nmc1cal_bridgeCBD.tif"
SEPARATOR = {"thickness": "12 um", "porosity": 0.47, "bruggeman": 1.5}
LATERAL_START = 100
"""First voxel of a crop along y and z: away from the image's rim."""


def case_of(kind, shape, voltage):
    """The case of one benchmark, as the command line would read it."""
    from battsim.case import read_case

    if kind == "recipe":
        image = {
            "generate": {
                "kind": "spheres",
                "shape": list(shape),
                "voxel_size": "1 um",
                "active_volume_fraction": 0.5,
                "binder_volume_fraction": 0.1,
                "diameter": {"median": "8 um", "sigma": 0.3},
            }
        }
    else:
        lateral = [[LATERAL_START, LATERAL_START + n] for n in shape[1:]]
        image = {
            "file": str(Path(os.environ["BATTSIM_DATA"]) / IMAGE),
            "voxel_size": "0.398 um",
            "through_plane": "x",
            "labels": {"pore": 0, "active": 1, "binder": 2},
            "crop": [[0, shape[0]], *lateral],
        }
    table = {
        "schema": 1,
        "image": image,
        "materials": {
            "active": "nmc532-mohtat2020",
            "electrolyte": "lipf6-nyman2008",
            "counter": "lithium-xu2019",
            "separator": SEPARATOR,
        },
        "model": {"kind": "resolved"},
        "protocol": [{"step": "discharge", "rate": "1 C", "until": {"voltage": voltage}}],
    }
    return read_case(table, Path.cwd(), allow_outside=True)


def measure(kind, shape, voltage):
    """Figures of one discharge."""
    from battsim.models.resolved.equations import HalfCell
    from battsim.models.resolved.transient import Control, HalfCellTransient
    from battsim.post.cell import advance, begin, snapshot
    from battsim.run.build import build_image, build_mesh, half_cell_parameters
    from battsim.run.half_cell import FIRST_STEP, SWEEP_ORDER, initial_stoichiometry
    from battsim.solvers.block import BlockSolver
    from battsim.solvers.integrate import consistent_start, integrate
    from battsim.solvers.stepping import IntegrationSettings, Limits

    case = case_of(kind, shape, voltage)
    began = perf_counter()
    image = build_image(case)
    read = perf_counter() - began
    began = perf_counter()
    mesh = build_mesh(case, image)
    meshed = perf_counter() - began
    began = perf_counter()
    parameters = half_cell_parameters(case)
    cell = HalfCell(mesh, parameters)
    current = cell.capacity / 3600.0
    linear, transient = BlockSolver(cell.networks, SWEEP_ORDER), HalfCellTransient(cell, current)
    built = perf_counter() - began
    control, settings = Control("current", current), IntegrationSettings(case.solver.time_rtol, FIRST_STEP, 1e-5)
    u, reference = cell.uniform_state(initial_stoichiometry(case, parameters))
    began = perf_counter()
    u, reference, evaluation = consistent_start(transient, linear, control, settings, u, reference)
    started = perf_counter() - began
    tally = begin(snapshot(cell, 0.0, u, reference, evaluation), current)
    counts = {"steps": 0, "rejected": 0, "failed": 0, "newton": 0, "krylov": 0}
    linear.seconds = dict.fromkeys(linear.seconds, 0.0)
    began = perf_counter()
    spent_on_numbers = 0.0
    for step in integrate(transient, linear, control, Limits(voltage=voltage), settings, (0.0, u, reference)):
        now = perf_counter()
        tally = advance(tally, snapshot(cell, step.time, step.u, step.reference, step.evaluation), step.dt)
        spent_on_numbers += perf_counter() - now
        for name, value in (
            ("steps", 1),
            ("rejected", step.rejected),
            ("failed", step.failed),
            ("newton", step.newton_iterations),
            ("krylov", step.linear_iterations),
        ):
            counts[name] += value
    wall = perf_counter() - began - spent_on_numbers
    split = linear.seconds
    return {
        "image": f"{kind} {'x'.join(map(str, shape))}",
        "cells": mesh.n_cells,
        "unknowns": cell.layout.size,
        "stop": step.stop,
        "time_s": step.time,
        "capacity_Ah_m2": tally.charge / 3600.0 / cell.network.cross_section,
        "lithium_imbalance": tally.lithium_imbalance,
        "charge_imbalance": tally.charge_imbalance,
        **counts,
        "wall_s": wall,
        "split_s": {
            "assembly": wall - split["solve"],
            "preconditioner set-up": split["set-up"],
            "preconditioner application": split["application"],
            "krylov": split["solve"] - split["set-up"] - split["application"],
        },
        "before_s": {"image": read, "mesh": meshed, "model": built, "consistent start": started},
        "peak_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def mesh_speed(size):
    """Seconds for a mesh of size^3 with interface areas, after a first small one."""
    from meshing.generate import blobs
    from meshing.voxel import voxel_mesh

    rng = np.random.default_rng(1)
    voxel_mesh(blobs((20, 20, 20), 0.5, 2.5, rng), inside="active")
    image = blobs((size, size, size), 0.5, 2.5, rng)
    times = []
    for _ in range(3):
        began = perf_counter()
        mesh = voxel_mesh(image, inside="active")
        times.append(perf_counter() - began)
    return {"size": size, "cells": mesh.n_cells, "seconds": times}


def table_of(found):
    """The figures as a table."""
    lines = [
        "| image | unknowns | steps (rejected, failed) | Newton | Krylov | wall s | assembly | set-up | application | "
        "Krylov rest | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in found:
        split = " | ".join(f"{100 * s / f['wall_s']:.0f} %" for s in f["split_s"].values())
        lines.append(
            f"| {f['image']} | {f['unknowns']} | {f['steps']} ({f['rejected']}, {f['failed']}) | {f['newton']} | "
            f"{f['krylov']} | {f['wall_s']:.0f} | {split} | {f['peak_memory_MiB']:.0f} |"
        )
    return "\n".join(lines)


def main():
    """Runs all and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--crops", nargs="*", default=["40x40x40"])
    parser.add_argument("--recipe", help="shape of a generated electrode, instead of crops")
    parser.add_argument("--voltage", type=float, default=3.5)
    parser.add_argument("--mesh", type=int, default=100, help="edge of the image whose mesh is timed")
    given = parser.parse_args()
    if given.recipe is None and "BATTSIM_DATA" not in os.environ:
        sys.exit("set BATTSIM_DATA to the folder with the real images, or give --recipe 60x20x20")
    wanted = [("recipe", given.recipe)] if given.recipe else [("real", crop) for crop in given.crops]
    mesh = mesh_speed(given.mesh)
    print(f"mesh of {given.mesh}^3 with areas: {min(mesh['seconds']):.2f} to {max(mesh['seconds']):.2f} s")
    found = []
    for kind, text in wanted:
        found.append(measure(kind, tuple(int(n) for n in text.split("x")), given.voltage))
        print(table_of(found[-1:]), flush=True)
    given.out.write_text(
        json.dumps({"python": platform.python_version(), "mesh": mesh, "runs": found}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
