"""Time and memory of a resolved 1 C discharge, with its split, and of the mesh under it.

    BATTSIM_DATA=... python benchmarks/speed/resolved.py OUT.json [--crops 43x43x43 251x24x24] [--threads 2]
        [--voltage 3.5] [--coarsen 1] [--peer] [--markdown OUT.md]
    python benchmarks/speed/resolved.py OUT.json --recipe 60x20x20

Crops are taken from the real electrode matbox_nmc1cal_bridgeCBD.tif of the folder BATTSIM_DATA, from its separator
side; a recipe needs no data. Each image is measured in a process of its own, so that the peak of memory is its own.
The split is: assembly (residual, kinetics and Jacobian), preconditioner set-up, preconditioner application, and the
rest of the Krylov solver; their sum is the time of the steps. `--peer` runs each image a second time with the linear
solver that one would write with scipy and pyamg (resolved_peers.py), for a tenth of the time steps. The bandwidth is
that of the arrays that one product with the Jacobian must touch, each once, over its time, relative to what a copy of
a long array reaches.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from time import perf_counter

# before numpy loads
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from transport_codes import memory_MB

PEER_STEPS = 8
"""Time steps of the comparison with pyamg and scipy."""

IMAGE = "matbox_nmc1cal_bridgeCBD.tif"
SEPARATOR = {"thickness": "12 um", "porosity": 0.47, "bruggeman": 1.5}
WIDTH = 301
"""Voxels of the image along y and z."""
LATERAL_START = 100
"""First voxel of a crop along y and z: away from the image's rim."""


def case_of(kind, shape, voltage, coarsen=1):
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
        lateral = [[LATERAL_START, LATERAL_START + n] if n + LATERAL_START <= WIDTH else [0, n] for n in shape[1:]]
        image = {
            "file": str(Path(os.environ["BATTSIM_DATA"]) / IMAGE),
            "voxel_size": "0.398 um",
            "through_plane": "x",
            "labels": {"pore": 0, "active": 1, "binder": 2},
            "crop": [[0, shape[0]], *lateral],
            "coarsen": coarsen,
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


def measure(kind, shape, given, *, peer=False):
    """Figures of one discharge, or of its first steps with the peer's linear solver."""
    from battsim.case import initial_stoichiometries
    from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
    from battsim.models.cell.transient import CellTransient, Control
    from battsim.models.resolved.half_cell import HalfCell
    from battsim.post.tally import advance, begin, snapshot
    from battsim.run.build import build_image, build_mesh, half_cell_parameters
    from battsim.run.protocol import FIRST_STEP
    from battsim.solvers.block import BlockSolver
    from battsim.solvers.integrate import consistent_start, integrate
    from battsim.solvers.stepping import IntegrationSettings, Limits
    from battsim.threads import Team

    case = case_of(kind, shape, given.voltage, given.coarsen)
    before = {}
    image = timed(before, "image", lambda: build_image(case))
    mesh = timed(before, "mesh", lambda: build_mesh(case, image))
    with Team(given.threads) as team:
        cell = timed(before, "model", lambda: HalfCell(mesh, half_cell_parameters(case), team))
        if peer:
            from resolved_peers import PyamgSolver

            linear = PyamgSolver(cell, SWEEP_ORDER)
        else:
            linear = timed(
                before, "hierarchies", lambda: BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES, team=team)
            )
        current = cell.capacity / 3600.0
        transient, control = CellTransient(cell, current), Control("current", current)
        settings = IntegrationSettings(case.solver.time_rtol, FIRST_STEP, 1e-5)
        u, reference = cell.uniform_state(*initial_stoichiometries(case, (cell.parameters.active,)))
        u, reference, evaluation = timed(
            before,
            "consistent start",
            lambda: consistent_start(transient, linear, control, settings, u, reference),
        )
        tally = begin(snapshot(cell, 0.0, u, reference, evaluation), current)
        counts = {"steps": 0, "rejected": 0, "failed": 0, "newton": 0, "krylov": 0}
        linear.seconds = dict.fromkeys(linear.seconds, 0.0)
        began, spent_on_numbers, at_step = perf_counter(), 0.0, []
        limits = Limits(voltage=given.voltage)
        for step in integrate(transient, linear, control, limits, settings, (0.0, u, reference)):
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
            at_step.append([perf_counter() - began - spent_on_numbers, step.linear_iterations])
            if peer and counts["steps"] == PEER_STEPS:
                break
        wall, peak = perf_counter() - began - spent_on_numbers, memory_MB("VmHWM")
        jacobian = transient.problem(step.a, step.u_star, step.reference, control).jacobian(step.evaluation)
        product_s, product_bytes = product_speed(jacobian, step.u)
    split = linear.seconds
    return {
        "image": f"{kind} {'x'.join(map(str, shape))}" + (f" / {given.coarsen}" if given.coarsen > 1 else ""),
        "threads": given.threads,
        "cells": mesh.n_cells,
        "unknowns": cell.layout.size,
        "stop": step.stop,
        "time_s": step.time,
        "capacity_Ah_m2": tally.charge / 3600.0 / cell.network.cross_section,
        "lithium_imbalance": tally.lithium_imbalance,
        "charge_imbalance": tally.charge_imbalance,
        **counts,
        "wall_s": wall,
        "at_step": at_step,
        "unknown_steps_per_s": cell.layout.size * counts["steps"] / wall,
        "split_s": {
            "assembly": wall - split["solve"],
            "preconditioner set-up": split["set-up"],
            "preconditioner application": split["application"],
            "krylov": split["solve"] - split["set-up"] - split["application"],
        },
        "before_s": before,
        "product": {
            "seconds": product_s,
            "bytes": product_bytes,
            "bandwidth_share": product_bytes / product_s / copy_rate(given.threads),
        },
        "peak_memory_MiB": peak,
    }


def timed(into, name, call):
    """The result of a call, whose seconds are noted."""
    began = perf_counter()
    result = call()
    into[name] = perf_counter() - began
    return result


def product_speed(jacobian, u):
    """Seconds of one product with the Jacobian, median of ten, and the bytes that it must touch."""
    out, times = np.empty(u.size), []
    vector = u.astype(np.float32)
    for _ in range(10):
        began = perf_counter()
        jacobian.multiply(vector, out)
        times.append(perf_counter() - began)
    network = jacobian.network
    ionic, solid, electronic, reactive = (
        faces.slabs[-1]
        for faces in (network.ionic_faces, network.solid_faces, network.electronic_faces, network.reactive)
    )
    # indices of 4 bytes and derivatives of 8; a current of 8 is written and read by four rows
    touched = ionic * (8 + 48) + solid * (8 + 16) + electronic * (8 + 8) + reactive * (12 + 24 + 8 + 4 * 12)
    return float(np.median(times)), int(
        touched + u.size * (4 + 16) + 8 * (jacobian.storage_x.size + jacobian.storage_c.size)
    )


def copy_rate(threads):
    """Bytes per second, read and written, of copies of long arrays by so many threads side by side."""
    from concurrent.futures import ThreadPoolExecutor

    arrays = [(np.zeros(20_000_000), np.zeros(20_000_000)) for _ in range(threads)]
    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            began = perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), arrays))
            best = min(best, perf_counter() - began)
    return 16 * 20_000_000 * threads / best


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
        "| image | unknowns | threads | steps (rejected, failed) | Newton | Krylov | wall s | assembly | set-up "
        "| application | Krylov rest | million unknown-steps/s | bandwidth of a product | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in found:
        split = " | ".join(f"{100 * s / f['wall_s']:.0f} %" for s in f["split_s"].values())
        lines.append(
            f"| {f['image']} | {f['unknowns']} | {f['threads']} | {f['steps']} ({f['rejected']}, {f['failed']}) "
            f"| {f['newton']} | {f['krylov']} | {f['wall_s']:.0f} | {split} | {f['unknown_steps_per_s'] / 1e6:.2f} "
            f"| {100 * f['product']['bandwidth_share']:.0f} % | {f['peak_memory_MiB']:.0f} |"
        )
    return "\n".join(lines)


def peer_line(ours, peer):
    """How much longer the peer took for its steps, in words."""
    n = len(peer["at_step"])
    own, own_krylov = ours["at_step"][n - 1][0], sum(count for _, count in ours["at_step"][:n])
    return (
        f"{ours['image']}, first {n} steps: battsim {own:.1f} s, {own_krylov} Krylov iterations; with pyamg and scipy "
        f"{peer['wall_s']:.1f} s, {peer['krylov']} iterations, {peer['peak_memory_MiB']:.0f} MiB: ratio "
        f"{peer['wall_s'] / own:.1f}"
    )


def in_own_process(arguments, kind, text, *, peer):
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--only", kind, text, *(["--as-peer"] if peer else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def parsed():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--markdown", type=Path, help="file for the table")
    parser.add_argument("--crops", nargs="*", default=["43x43x43"])
    parser.add_argument("--coarsen", type=int, default=1, help="merge so many voxels along each axis")
    parser.add_argument("--recipe", help="shape of a generated electrode, instead of crops")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--voltage", type=float, default=3.5)
    parser.add_argument("--peer", action="store_true", help="compare with pyamg and scipy")
    parser.add_argument("--mesh", type=int, default=100, help="edge of the image whose mesh is timed")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Runs all and writes the figures."""
    given = parsed()
    if given.only:
        kind, text = given.only
        print(json.dumps(measure(kind, tuple(int(n) for n in text.split("x")), given, peer=given.as_peer)))
        return
    if given.recipe is None and "BATTSIM_DATA" not in os.environ:
        sys.exit("set BATTSIM_DATA to the folder with the real images, or give --recipe 60x20x20")
    wanted = [("recipe", given.recipe)] if given.recipe else [("real", crop) for crop in given.crops]
    mesh = mesh_speed(given.mesh)
    lines = [f"mesh of {given.mesh}^3 with areas: {min(mesh['seconds']):.2f} to {max(mesh['seconds']):.2f} s"]
    found, peers = [], []
    for kind, text in wanted:
        found.append(in_own_process(sys.argv[1:], kind, text, peer=False))
        print(table_of(found[-1:]), flush=True)
        if given.peer:
            peers.append(in_own_process(sys.argv[1:], kind, text, peer=True))
            lines.append(peer_line(found[-1], peers[-1]))
            print(lines[-1], flush=True)
        report = {"python": platform.python_version(), "mesh": mesh, "runs": found, "peers": peers}
        given.out.write_text(json.dumps(report, indent=2) + "\n")
        if given.markdown:
            given.markdown.write_text("\n\n".join([table_of(found), *lines]) + "\n")


if __name__ == "__main__":
    main()
