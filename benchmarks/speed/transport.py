"""Time, true error and memory of a tortuosity: battsim, TauFactor, PoreSpy and pyamg in one run.

    python benchmarks/speed/transport.py OUT.json [--markdown OUT.md] [--sizes 100 200] [--threads 2]
        [--peer-python taufactor=PATH porespy=PATH] [--only NAME ...] [--iterations 100 200 400]

Peers may live in environments of their own: `pip install torch taufactor==1.2.1` and
`pip install porespy==3.2.0 openpnm`. Real images are added where BATTSIM_DATA names their folder.

Each code runs at its defaults, in a process of its own that has made a small call before, all with the same number of
threads; the median of the repeats counts. The true error of a D_eff is its relative difference to battsim at a
tolerance of 1e-11 with the same ends: values fixed on the outer faces (TauFactor, pyamg) or in the centres of the end
layers (PoreSpy). "Equal error" is battsim at the loosest power of ten whose true error is not above the peer's. pyamg
has no default accuracy for this task: both are taken to a true error of 1e-4, and, in the columns of battsim's default,
pyamg to its first step that is as good as that. pyamg's own D_eff at a residual of 1e-8 checks the reference.

Results are written after every call, and an existing OUT.json is continued: what it holds is not measured again unless
--again or --again-disturbed say so. A call that fails or takes longer than --limit is recorded as such. The machine
should have nothing else to do: codes whose threads wait for each other get many times slower on a busy one.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from transport_codes import busy_seconds
from transport_images import RECIPES, images, recipe_mask
from transport_report import BUSY, CODES, ENDS, disturbed, iteration_table, markdown

WORKER = Path(__file__).with_name("transport_codes.py")
JOBS = {f"battsim {ends}": {"code": "battsim", "length": ends} for ends in ("outer", "centres")} | {
    code: {"code": code, "length": ends} for code, ends in ENDS.items()
}
RESIDUAL = 1e-8
"""Relative residual of the table of iterations."""
START_UP_SIZE = 40
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def run(python, mask, job, **environment):
    """The answer of a worker in a process of its own, or {"failed": why}."""
    threads = dict.fromkeys(THREAD_VARIABLES, str(job["threads"]))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "mask.npy", mask)
        command = [python, WORKER, Path(folder) / "mask.npy", json.dumps(job)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | threads | environment
        )
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    if done.returncode == -signal.SIGALRM:
        return {"failed": f"over {job['limit']:g} s"}
    if done.returncode == -signal.SIGKILL:
        return {"failed": "killed, most likely for lack of memory"}
    return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}


def wait_for_quiet(seconds):
    """Return when other processes use less than `BUSY` cores, at the latest after so many seconds."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        before, started = busy_seconds()[0], perf_counter()
        sleep(2.0)
        if busy_seconds()[0] - before < BUSY * (perf_counter() - started):
            return


def start_up(job):
    """Times of battsim's first call in a new process, without and then with the compiled kernels of an earlier one."""
    mask = recipe_mask(next(iter(RECIPES)), START_UP_SIZE, 0)
    with tempfile.TemporaryDirectory() as cache:
        answers = {}
        for state in ("compiling", "cached"):
            started = perf_counter()
            answers[state] = run(sys.executable, mask, {"code": "start-up", **job}, NUMBA_CACHE_DIR=cache)
            answers[state]["process_s"] = perf_counter() - started
    return answers


def compare(report, arguments, save):
    """Measure every code on every image that the report does not hold yet."""
    common = {"threads": arguments.threads, "repeats": arguments.repeats, "limit": arguments.limit}
    for group, name, make in images(arguments.sizes, arguments.seed, arguments.data, arguments.only_images):
        row = report["images"].setdefault(f"{group}, {name}", {"group": group, "image": name, "codes": {}})
        missing = [key for key, job in JOBS.items() if job["code"] in arguments.codes and key not in row["codes"]]
        if not missing:
            continue
        mask = make()
        row |= {"shape": mask.shape, "porosity": float(mask.mean())}
        for key in missing:
            job = JOBS[key] | common
            wait_for_quiet(arguments.wait)
            row["codes"][key] = run(arguments.python.get(job["code"], sys.executable), mask, job)
            save()
            print(f"{group}, {name}: {key} {row['codes'][key].get('failed', 'done')}", file=sys.stderr)
    if "battsim" in arguments.codes and "start_up" not in report:
        report["start_up"] = start_up(common)
        save()


def count_iterations(report, arguments, save):
    """Steps of battsim's solver to one residual, for every recipe and size that the report does not hold yet."""
    job = {"code": "iterations", "residual": RESIDUAL, "threads": arguments.threads, "limit": arguments.limit}
    for group, name, make in images(arguments.iterations, arguments.seed, None, arguments.only_images):
        key = f"{group}, {name}"
        if key not in report["iterations"]:
            report["iterations"][key] = {
                "group": group,
                "image": name,
                "wanted": RESIDUAL,
                **run(sys.executable, make(), job),
            }
            save()
            print(f"iterations, {key}: {report['iterations'][key].get('failed', 'done')}", file=sys.stderr)


def stored(arguments):
    """The report to continue, or a new one."""
    settings = {key: getattr(arguments, key) for key in ("seed", "threads", "repeats")}
    machine = {"processor": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count()}
    if not arguments.out.exists():
        return {"settings": settings, "machine": machine, "images": {}, "iterations": {}}
    report = json.loads(arguments.out.read_text())
    if report["settings"] != settings:
        sys.exit(
            f"{arguments.out} was measured with {report['settings']}, not {settings}; use these, or name another file"
        )
    for row in report["images"].values():
        row["codes"] = {
            key: run
            for key, run in row["codes"].items()
            if JOBS[key]["code"] not in arguments.again and not (arguments.again_disturbed and disturbed(run))
        }
    if "battsim" in arguments.again:
        report["iterations"] = {}
        report.pop("start_up", None)
    return report


def parsed():
    """The command line, with interpreters by code, and names of codes apart from parts of names of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JSON file to write or to continue")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 200], help="edges of the recipes, voxels")
    parser.add_argument("--no-real", action="store_true", help="leave the real images out")
    parser.add_argument("--iterations", type=int, nargs="*", default=[], help="sizes for battsim's table of iterations")
    parser.add_argument("--peer-python", nargs="*", default=[], metavar="CODE=PATH", help="interpreters of the peers")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="codes, and parts of names of images")
    parser.add_argument("--again", nargs="*", default=[], choices=CODES, help="codes to measure anew")
    parser.add_argument("--again-disturbed", action="store_true", help="measure anew what other processes disturbed")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for a quiet machine before a call")
    parser.add_argument("--threads", type=int, default=2, help="of every code that can use more than one")
    parser.add_argument("--repeats", type=int, default=3, help="calls of each; none after one of more than 20 s")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a call may take")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.codes = [code for code in CODES if code in arguments.only] or list(CODES)
    arguments.only_images = [name for name in arguments.only if name not in CODES]
    arguments.python = dict(pair.split("=", 1) for pair in arguments.peer_python)
    data = os.environ.get("BATTSIM_DATA")
    arguments.data = Path(data) if data and not arguments.no_real else None
    return arguments


def main():
    """Run the comparison that the command line asks for."""
    arguments = parsed()
    report = stored(arguments)

    def save():
        part = arguments.out.with_suffix(".part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(arguments.out)  # whole, or not at all

    compare(report, arguments, save)
    count_iterations(report, arguments, save)
    text = "\n\n".join([markdown(report), iteration_table(report)]).strip()
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
