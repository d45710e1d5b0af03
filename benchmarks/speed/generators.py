"""Time to generate a microstructure: battsim against PoreSpy's generators in one run.

    python benchmarks/speed/generators.py --porespy PATH [--edge 200] [--diameter 16] [--rounds 3] [--out OUT.json]

PATH is the interpreter of an environment with PoreSpy (`pip install porespy==3.2.0`), which may be this one. Each
generator runs in a process of its own, which has made a small image before, so that neither imports nor compilation
count; one round calls all of them once, one after another on one thread, and the median of the rounds counts. Ratios
are of processor time, PoreSpy over battsim, which other work on the machine disturbs least.

The two do not make the same thing, so that what each reached stands beside its time:

- field: a Gaussian random field, correlation length twice the smoothing of PoreSpy's `blobs`, cut at a half;
- packing: equal spheres that do not overlap. PoreSpy lays them one by one (`pseudo_gravity_packing`,
  `pseudo_electrostatic_packing`) or throws them at random until none fits (`random_spheres`) and ends where it ends;
  battsim moves them until they touch, at the wanted fraction of 0.6;
- sizes: a lognormal distribution; PoreSpy's `polydisperse_spheres` overlap at will, battsim's as little as `overlap`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

SIGMA = 0.3
"""Standard deviation of the logarithm of the diameter."""
PACKED = 0.6
WARM_UP = 48
"""Edge of the image that each process makes first, voxels."""


def battsim_field(edge, diameter, seed):  # noqa: ARG001 - all jobs are called alike
    """Active voxels of a random field."""
    from meshing.generate import constant, cut_field

    made = cut_field((edge,) * 3, (1.0,) * 3, constant(0.5), (edge / 20,) * 3, np.random.default_rng(seed))
    return made.image.labels == 1


def battsim_ellipsoids(edge, diameter, seed, *, sigma, overlap, aspect=(1.0, 1.0, 1.0), order=0.0):
    """Active voxels of packed ellipsoids, and the overlap that 98 % of the overlapping pairs do not exceed."""
    from meshing.generate import ParticleForm, constant, ellipsoids

    form = ParticleForm(constant(float(diameter)), sigma, aspect, order, overlap)
    return ellipsoids((edge,) * 3, (1.0,) * 3, constant(PACKED), form, np.random.default_rng(seed)).image.labels == 1


def battsim_spheres(edge, diameter, seed):
    """Active voxels of the recipe of the shipped cases."""
    from meshing.generate import spheres

    image = spheres((edge,) * 3, (1.0,) * 3, PACKED, 0.0, float(diameter), SIGMA, np.random.default_rng(seed))
    return image.labels == 1


def porespy_blobs(edge, diameter, seed):  # noqa: ARG001
    """Solid voxels of `blobs`, smoothed over a fortieth of the edge."""
    import porespy

    return ~porespy.generators.blobs([edge] * 3, porosity=0.5, blobiness=1, seed=seed)


def porespy_packing(name):
    """A function that gives the solid voxels of one of PoreSpy's packings."""

    def make(edge, diameter, seed):
        import porespy

        options = {"maxiter": 10**7} if name != "random_spheres" else {"maxiter": 10**6}
        image = getattr(porespy.generators, name)(shape=[edge] * 3, r=diameter // 2, seed=seed, **options)
        return np.asarray(image) > 0

    return make


def porespy_polydisperse(edge, diameter, seed):
    """Solid voxels of `polydisperse_spheres` with the same distribution by number."""
    import porespy
    from scipy.stats import lognorm

    distribution = lognorm(SIGMA, scale=0.5 * diameter * np.exp(-3 * SIGMA**2))
    return ~porespy.generators.polydisperse_spheres([edge] * 3, 1 - PACKED, distribution, nbins=8, r_min=2, seed=seed)


JOBS = {
    "battsim cut_field": battsim_field,
    "porespy blobs": porespy_blobs,
    "battsim ellipsoids, equal, overlap 0": lambda *a: battsim_ellipsoids(*a, sigma=0.0, overlap=0.0),
    "porespy pseudo_gravity_packing": porespy_packing("pseudo_gravity_packing"),
    "porespy pseudo_electrostatic_packing": porespy_packing("pseudo_electrostatic_packing"),
    "porespy random_spheres": porespy_packing("random_spheres"),
    "battsim ellipsoids, sizes": lambda *a: battsim_ellipsoids(*a, sigma=SIGMA, overlap=0.05),
    "battsim spheres, sizes": battsim_spheres,
    "porespy polydisperse_spheres": porespy_polydisperse,
    "battsim ellipsoids, flat 0.5, sizes": lambda *a: battsim_ellipsoids(
        *a, sigma=SIGMA, overlap=0.05, aspect=(0.5, 1.0, 1.0), order=1.0
    ),
}
TASKS = {
    "field": ("battsim cut_field", ["porespy blobs"]),
    "packing": (
        "battsim ellipsoids, equal, overlap 0",
        ["porespy pseudo_gravity_packing", "porespy pseudo_electrostatic_packing", "porespy random_spheres"],
    ),
    "sizes": ("battsim ellipsoids, sizes", ["porespy polydisperse_spheres"]),
}


def measured(job, edge, diameter, seed):
    """Wall and processor seconds of one call, and the solid fraction that it reached."""
    JOBS[job](WARM_UP, min(diameter, 12), seed)
    wall, busy = perf_counter(), process_time()
    solid = JOBS[job](edge, diameter, seed)
    wall, busy = perf_counter() - wall, process_time() - busy
    return {"wall_s": wall, "cpu_s": busy, "solid": float(np.mean(solid))}


def call(job, arguments, seed):
    """The same in a process of its own; what went wrong where it fails."""
    python = arguments.porespy if job.startswith("porespy") else sys.executable
    one = {"job": job, "edge": arguments.edge, "diameter": arguments.diameter, "seed": seed}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            [python, __file__, "--job", json.dumps(one)],
            capture_output=True,
            text=True,
            env=os.environ | threads,
            timeout=arguments.limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {arguments.limit:g} s"}
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else "no message"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(report):
    """Markdown: one row per generator."""
    lines = ["| generator | wall s | processor s | solid | PoreSpy / battsim |", "|---|---|---|---|---|"]
    ours = {peer: own for own, peers in TASKS.values() for peer in peers}
    for job, runs in report["runs"].items():
        good = [run for run in runs if "failed" not in run]
        if not good:
            lines.append(f"| {job} | {runs[-1]['failed']} | | | |")
            continue
        wall, busy = median(run["wall_s"] for run in good), median(run["cpu_s"] for run in good)
        base = [run["cpu_s"] for run in report["runs"].get(ours.get(job, ""), []) if "failed" not in run]
        ratio = f"{busy / median(base):.2g}" if base else ""
        lines.append(f"| {job} | {wall:.2f} | {busy:.2f} | {median(r['solid'] for r in good):.3f} | {ratio} |")
    return "\n".join(lines)


def main():
    """Run the comparison, or one job of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--porespy", help="interpreter with PoreSpy")
    parser.add_argument("--edge", type=int, default=200, help="of the image, voxels")
    parser.add_argument("--diameter", type=int, default=16, help="of the particles, voxels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a call may take")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of generators")
    parser.add_argument("--out", type=Path, help="JSON file for all runs")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(measured(**json.loads(arguments.job))))
        return
    jobs = [job for job in JOBS if arguments.porespy or not job.startswith("porespy")]
    jobs = [job for job in jobs if not arguments.only or any(part in job for part in arguments.only)]
    report = {"edge": arguments.edge, "diameter": arguments.diameter, "machine": platform.machine()}
    report["runs"] = {job: [] for job in jobs}
    for number in range(arguments.rounds):
        for job in jobs:
            run = call(job, arguments, number + 1)
            report["runs"][job].append(run)
            print(job, run, file=sys.stderr)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
