"""Time and true error of a tortuosity: battsim against PoreSpy in one run.

    python benchmarks/speed/transport.py OUT.json [--markdown OUT.md] [--peer-python PATH] [--size 100] [--repeats 3]

Every image is solved by battsim with both preconditioners and by PoreSpy's tortuosity_fd, each as its users call it
(defaults) in a process of its own on one thread. Both solve the same discrete problem here (values fixed in the
centres of the end layers, as PoreSpy does), so that the true error is the relative difference of D_eff to a solve with
tolerance 1e-11. "Equal error" is battsim at the loosest tolerance whose true error is not above PoreSpy's.
PoreSpy may live in an environment of its own (`pip install porespy==3.2.0 openpnm`, which tortuosity_fd imports):
name its interpreter with --peer-python.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

# before numpy loads
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np

SOLVERS = ("aggregation", "amg")
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
DEFAULT = 1e-4
REFERENCE = 1e-11


def images(size, seed):
    """Name and mask of each test image."""
    from meshing.generate import blobs, site_noise

    shape, rng = (size, size, size), np.random.default_rng(seed)
    yield "blobs 0.50", blobs(shape, 0.50, 2.5, rng).mask("pore")
    yield "blobs 0.30", blobs(shape, 0.30, 2.5, rng).mask("pore")
    yield "fine blobs 0.20", blobs(shape, 0.20, 1.5, rng).mask("pore")
    yield "site noise 0.40", site_noise(shape, 0.40, rng).mask("pore")


def battsim_call(mask, job):
    """D_eff by battsim."""
    from battsim.post.transport import effective_transport
    from meshing.image import VoxelImage

    image = VoxelImage(mask.astype(np.uint8), (1.0, 1.0, 1.0), ("solid", "pore"))
    started = perf_counter()
    result = effective_transport(
        image, {"pore": 1.0}, axis="x", length="centres", tolerance=job["tolerance"], solver=job["solver"]
    )
    return perf_counter() - started, result.D_eff


def porespy_call(mask, job):
    """D_eff by PoreSpy at its defaults."""
    import porespy

    porespy.settings.tqdm = {"disable": True}
    started = perf_counter()
    result = porespy.simulations.tortuosity_fd(mask, axis=job["axis"])
    return perf_counter() - started, 1.0 / result.formation_factor


def work(mask_file, job):
    """Repeat one call after a small one that loads and compiles; the answer goes to standard output as JSON."""
    call = {"battsim": battsim_call, "porespy": porespy_call}[job["code"]]
    call(np.ones((12, 12, 12), bool), job)
    mask = np.load(mask_file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runs = [call(mask, job) for _ in range(job["repeats"])]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module = sys.modules[job["code"]]
    answer = {"wall_s": [wall for wall, _ in runs], "D_eff": runs[0][1], "added_memory_MB": (after - before) / 1024}
    print("\n" + json.dumps(answer | {"version": getattr(module, "__version__", "")}))


def run(python, mask_file, job):
    """The answer of a worker in a process of its own."""
    command = [python, __file__, "--worker", str(mask_file), json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job['code']} failed under {python}:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return answer | {"median_s": median(answer["wall_s"])}


def compare(name, mask, arguments, folder):
    """Everything measured on one image."""
    mask_file = Path(folder) / "mask.npy"
    np.save(mask_file, mask)

    def battsim(solver, tolerance, repeats):
        return run(
            sys.executable,
            mask_file,
            {"code": "battsim", "solver": solver, "tolerance": tolerance, "repeats": repeats},
        )

    exact = battsim("amg", REFERENCE, 1)["D_eff"]

    def with_error(answer):
        return answer | {"true_error": abs(answer["D_eff"] / exact - 1)}

    job = {"code": "porespy", "axis": 0, "repeats": arguments.repeats}
    peer = with_error(run(arguments.peer_python, mask_file, job))
    row = {"image": name, "shape": mask.shape, "D_eff": exact, "porespy": peer}
    for solver in SOLVERS:
        default = with_error(battsim(solver, DEFAULT, arguments.repeats))
        equal = None
        for tolerance in TOLERANCES:
            if with_error(battsim(solver, tolerance, 1))["true_error"] <= peer["true_error"]:
                equal = with_error(battsim(solver, tolerance, arguments.repeats)) | {"tolerance": tolerance}
                break
        row[solver] = {
            "default": default | {"speedup": peer["median_s"] / default["median_s"]},
            "equal_error": equal and equal | {"speedup": peer["median_s"] / equal["median_s"]},
        }
    return row


def table(rows):
    """A markdown table of times, true errors, ratios and memory."""
    lines = [
        "| image | code | tolerance | time, s | true error | PoreSpy's time over it | added memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = row["porespy"]
        lines.append(
            f"| {row['image']} | PoreSpy {peer['version']} | its default | {peer['median_s']:.2f} "
            f"| {peer['true_error']:.1e} | 1 | {peer['added_memory_MB']:.0f} |"
        )
        for solver in SOLVERS:
            for kind, answer in row[solver].items():
                if answer is None:
                    lines.append(f"| {row['image']} | battsim, {solver} | {kind} | not reached | | | |")
                    continue
                tolerance = f"{answer.get('tolerance', DEFAULT):.0e} ({kind.replace('_', ' ')})"
                lost = ", slower" if answer["speedup"] < 1 else ""
                lines.append(
                    f"| {row['image']} | battsim, {solver} | {tolerance} | {answer['median_s']:.2f} "
                    f"| {answer['true_error']:.1e} | {answer['speedup']:.1f}{lost} | {answer['added_memory_MB']:.0f} |"
                )
    return "\n".join(lines)


def main():
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has PoreSpy")
    parser.add_argument("--size", type=int, default=100, help="voxels along each edge")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, mask in images(arguments.size, arguments.seed):
            rows.append(compare(name, mask, arguments, folder))
            print(f"{name}: done", file=sys.stderr)
    report = {
        "size": arguments.size,
        "seed": arguments.seed,
        "repeats": arguments.repeats,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "threads": 1,
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    text = table(rows)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
