"""The codes of the tortuosity benchmark, each called as its users call it; run in a process of its own.

    python transport_codes.py MASK.npy JOB

JOB is a JSON object with `code`, `threads`, `repeats`, `limit` (seconds a call may take) and what the code needs. The
answer is the last line of standard output, as JSON. Nothing but numpy and the code itself is imported, so that this
file also runs in a peer's environment.
"""

import importlib.metadata
import json
import os
import signal
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

DEFAULT = 1e-4
"""battsim's default tolerance."""
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
REFERENCE = 1e-11
"""battsim's tolerance for the D_eff that true errors refer to."""
NO_TOLERANCE = 0.99
"""Tolerance on the energy that leaves the residual to decide."""
LONG = 20.0
"""Seconds after which a call is not repeated."""
PYAMG = {
    "pyamg": {
        "interpolation": "direct",
        "presmoother": ("gauss_seidel", {"sweep": "forward"}),
        "postsmoother": ("gauss_seidel", {"sweep": "backward"}),
        "max_coarse": 500,
    },
    "pyamg classical": {},
}
"""Settings of the Ruge-Stueben set-up: quick ones, and pyamg's own defaults."""
PYAMG_RESIDUAL = 1e-8
"""Relative residual at which pyamg's conjugate gradients end; their D_eff is noted after every step."""


def memory_MB(field):
    """VmRSS (now) or VmHWM (peak) of this process, MB; Linux."""
    # unlike getrusage, whose peak a process inherits from the one that started it
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def busy_seconds():
    """Processor seconds that all processes, and that this one has used since they started; Linux."""
    user, nice, system, _, _, interrupts, soft_interrupts = Path("/proc/stat").read_text().split()[1:8]
    ticks = sum(map(int, (user, nice, system, interrupts, soft_interrupts)))
    own = os.times()
    return ticks / os.sysconf("SC_CLK_TCK"), own.user + own.system


def battsim_call(mask, job, tolerance=DEFAULT):
    """Seconds, D_eff and further numbers of one call of battsim."""
    from battsim.post.transport import effective_transport
    from meshing.image import VoxelImage

    image = VoxelImage(mask.astype(np.uint8), (1.0, 1.0, 1.0), ("solid", "pore"))
    started = perf_counter()
    result = effective_transport(
        image, {"pore": 1.0}, axis="x", length=job["length"], tolerance=tolerance, threads=job["threads"]
    )
    wall = perf_counter() - started
    more = {"iterations": result.iterations, "error_estimate": result.error_estimate, "residual": result.residual}
    more |= {"labelling_s": result.labelling_s, "set_up_s": result.setup_s}
    return wall, result.D_eff, more


def taufactor_call(mask, job):
    """The same of TauFactor at its defaults."""
    import taufactor
    import torch

    torch.set_num_threads(job["threads"])
    labels = mask.astype(np.uint8)
    started = perf_counter()
    solver = taufactor.Solver(labels, device="cpu")
    tau = float(solver.solve(verbose=False)[0])
    wall = perf_counter() - started
    return wall, mask.mean() / tau, {"iterations": solver.iter, "converged": bool(solver.converged)}


def porespy_call(mask, job):  # noqa: ARG001 - its threads are those of the environment
    """The same of PoreSpy at its defaults."""
    import porespy

    porespy.settings.tqdm = {"disable": True}
    started = perf_counter()
    result = porespy.simulations.tortuosity_fd(mask, axis=0)
    wall = perf_counter() - started
    return wall, 1.0 / result.formation_factor, {"converged": bool(result.converged)}


def percolating(mask):
    """Voxels of the clusters that join both ends of axis 0, shape of `mask`."""
    import scipy.ndimage

    labels, _ = scipy.ndimage.label(mask)
    through = np.intersect1d(labels[0], labels[-1])
    return np.isin(labels, through[through > 0])


def diffusion_system(mask):
    """Matrix, right-hand side and linear guess for a potential of 1 and 0 on the outer faces across axis 0."""
    import scipy.sparse

    kept = percolating(mask)
    n = int(np.count_nonzero(kept))
    number = np.full(mask.shape, -1, np.int32)
    number[kept] = np.arange(n, dtype=np.int32)
    first, second = [], []
    for axis in range(3):
        turned = np.moveaxis(number, axis, 0)
        low, high = turned[:-1].reshape(-1), turned[1:].reshape(-1)
        joined = (low >= 0) & (high >= 0)
        first.append(low[joined])
        second.append(high[joined])
    rows, columns = np.concatenate(first + second), np.concatenate(second + first)
    at_low, at_high = number[0][kept[0]], number[-1][kept[-1]]
    diagonal = np.bincount(rows, minlength=n).astype(float)
    diagonal[at_low] += 2.0  # half a voxel to the outer face
    diagonal[at_high] += 2.0
    coupling = scipy.sparse.coo_array((-np.ones(rows.size), (rows, columns)), shape=(n, n)).tocsr()
    rhs = np.zeros(n)
    rhs[at_low] = 2.0
    guess = 1.0 - (np.nonzero(kept)[0] + 0.5) / mask.shape[0]
    return scipy.sparse.csr_matrix(coupling + scipy.sparse.diags_array(diagonal)), rhs, guess


def pyamg_call(mask, job):
    """Seconds, D_eff and both after every step, of conjugate gradients with pyamg's Ruge-Stueben cycle."""
    import pyamg

    started = perf_counter()
    matrix, rhs, guess = diffusion_system(mask)
    assembled = perf_counter()
    hierarchy = pyamg.ruge_stuben_solver(matrix, **PYAMG[job["code"]])
    set_up = perf_counter()
    steps, watching = [], 0.0
    constant, length_over_area = rhs.sum(), mask.shape[0] / mask[0].size

    def watch(x):
        nonlocal watching
        now = perf_counter()
        energy = constant - rhs @ x - x @ (rhs - matrix @ x)  # second order in the error of x, as battsim's D_eff
        steps.append([now - started - watching, float(energy) * length_over_area])
        watching += perf_counter() - now

    hierarchy.solve(rhs, x0=guess, tol=PYAMG_RESIDUAL, maxiter=300, accel="cg", callback=watch)
    parts = {"assembly_s": assembled - started, "set_up_s": set_up - assembled}
    return steps[-1][0], steps[-1][1], {"steps": steps, **parts}


CALLS = {"battsim": battsim_call, "taufactor": taufactor_call, "porespy": porespy_call} | dict.fromkeys(
    PYAMG, pyamg_call
)
PACKAGES = {"battsim": "battsim", "taufactor": "taufactor", "porespy": "porespy"} | dict.fromkeys(PYAMG, "pyamg")


def repeated(call, repeats, limit):
    """One answer for up to `repeats` calls: median seconds, all seconds, and the rest from the first call.

    `busy_elsewhere` is how many cores other processes used meanwhile: well above 0, the times are too long.
    `processor_s` is what one call took from the processor, over all threads.
    """
    runs, started, (all_before, own_before) = [], perf_counter(), busy_seconds()
    while len(runs) < repeats and not (runs and runs[-1][0] > LONG):
        signal.setitimer(signal.ITIMER_REAL, limit)  # its signal ends this process, also inside compiled code
        runs.append(call())
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    all_after, own_after = busy_seconds()
    elsewhere = max(0.0, (all_after - all_before) - (own_after - own_before)) / (perf_counter() - started)
    walls = [wall for wall, _, _ in runs]
    answer = {"median_s": median(walls), "wall_s": walls, "processor_s": (own_after - own_before) / len(runs)}
    answer |= {"busy_elsewhere": elsewhere, "D_eff": runs[0][1], **runs[0][2]}
    if "steps" in answer:
        at_step = zip(*(more["steps"] for _, _, more in runs), strict=True)
        answer["steps"] = [[median(wall for wall, _ in step), step[0][1]] for step in at_step]
    return answer


def with_memory(measure):
    """The answer of `measure`, with the memory it added and the process's peak meanwhile, MB."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets an earlier peak
    before = memory_MB("VmRSS")
    answer = measure()
    peak = memory_MB("VmHWM")
    return answer | {"added_memory_MB": peak - before, "peak_memory_MB": peak}


def battsim_at_tolerances(mask, job):
    """Answers of battsim at its default, at every power of ten, and for the reference, by tolerance.

    Where it says itself that it missed a tolerance, {"failed": what it says} stands there.
    """
    from battsim.errors import NotConvergedError

    def at(tolerance, repeats):
        try:
            return repeated(lambda: battsim_call(mask, job, tolerance), repeats, job["limit"])
        except NotConvergedError as error:
            return {"failed": str(error)}

    default = with_memory(lambda: at(DEFAULT, job["repeats"]))  # first, so that the peak is its own
    by_tolerance = {f"{t:.0e}": default if t == DEFAULT else at(t, job["repeats"]) for t in TOLERANCES}
    return {"tolerances": by_tolerance, "reference": at(REFERENCE, 1)}


def start_up(mask):
    """Seconds to import battsim, for the first call, and for the same call again."""
    started = perf_counter()
    import battsim.post.transport  # noqa: F401

    imported = perf_counter()
    job = {"length": "outer", "threads": 1}
    first, _, _ = battsim_call(mask, job)
    again, _, _ = battsim_call(mask, job)
    return {"import_s": imported - started, "first_s": first, "again_s": again}


def grid_solve(mask, threads, tolerance, residual):
    """Seconds, D_eff times a constant, and further numbers of battsim's grid solver alone, fixed on the outer faces."""
    from battsim.solvers.grid.problem import Fixed, GridProblem
    from battsim.solvers.grid.solve import solve_grid

    half_resistance = np.full(256, np.inf)
    half_resistance[1] = 0.5
    ends = ((Fixed(1.0), Fixed(0.0)), "closed", "closed")
    problem = GridProblem(mask.astype(np.uint8), half_resistance, (1.0, 1.0, 1.0), ends)
    started = perf_counter()
    result = solve_grid(problem, tolerance=tolerance, residual=residual, threads=threads)
    more = {"iterations": result.iterations, "residual": result.relative_residual, "status": result.status.value}
    return perf_counter() - started, result.dissipation, more | {"set_up_s": result.setup_s, "solve_s": result.solve_s}


def iterations(mask, job):
    """Steps of battsim's grid solver to a relative residual, with seconds and memory."""
    mask = percolating(mask)
    grid_solve(mask[:32, :32, :32], job["threads"], NO_TOLERANCE, job["residual"])  # loads and compiles
    return with_memory(
        lambda: repeated(lambda: grid_solve(mask, job["threads"], NO_TOLERANCE, job["residual"]), 1, job["limit"])
    )


def work(mask_file, job):
    """The answer to one job."""
    # where memory runs out, this process is to go and not whoever else runs here
    Path("/proc/self/oom_score_adj").write_text("1000")
    mask = np.load(mask_file)
    if job["code"] == "start-up":
        return start_up(mask)
    if job["code"] == "iterations":
        return iterations(mask, job)
    call = CALLS[job["code"]]
    call(np.random.default_rng(0).random((32, 32, 32)) < 0.6, job)  # loads and compiles
    if job["code"] == "battsim":
        answer = battsim_at_tolerances(mask, job)
    else:
        answer = with_memory(lambda: repeated(lambda: call(mask, job), job["repeats"], job["limit"]))
    return answer | {"version": importlib.metadata.version(PACKAGES[job["code"]])}


if __name__ == "__main__":
    print("\n" + json.dumps(work(sys.argv[1], json.loads(sys.argv[2]))))
