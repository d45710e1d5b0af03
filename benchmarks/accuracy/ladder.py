"""The verification ladder of the resolved cell: every rung, what it is compared with, and whether it holds.

    python benchmarks/accuracy/ladder.py OUT.json [--markdown OUT.md] [--only NAME ...] [--quick]

Needs the extra "dev": the ladder borrows cells and independent solutions from tests/models. Rungs, from operators to
runs (names for --only):

manufactured-space
    Chosen smooth fields in three dimensions, sources by quadrature: ion transport, solid diffusion, electron conduction
    and the coupled cell with its reactions. Order 2 and the size of the error.
manufactured-time
    Chosen oscillation of all fields of a small cell, steps of varying length. Order 2.
sphere, layers, sand, limiting-current
    Crank's series, an independent solution in one dimension, Sand's time, the limiting current of a separator.
conservation
    Lithium, salt and charge over every case of cases/, and over a crop of the real electrode where BATTSIM_DATA names
    its folder.
symmetry, threads, separator-layers
    A turned electrode, two threads, ten graded separator layers.
area, resolution-0.2C, resolution-1C, resolution-3C
    What voxels cost: one packing at 2 to 12 voxels per particle radius, its surface, its discharge at three rates, and
    the rule that follows. One to two minutes for each rate; all other rungs together take about two.

--quick takes the coarser resolutions and short runs: about a minute and a half. Results are written after each rung.
The exit status is 1 where a rung fails.
"""

import argparse
import json
import os
import platform
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

if __name__ == "__main__":  # before numpy loads
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
from rung import HEADER
from rungs_balance import conservation, separator_layers, symmetry, threads
from rungs_exact import layers, limiting_current, sand, sphere
from rungs_manufactured import manufactured_space, manufactured_time
from rungs_resolution import RATES, area, resolution

RUNGS = {
    "manufactured-space": manufactured_space,
    "manufactured-time": manufactured_time,
    "sphere": sphere,
    "layers": layers,
    "sand": sand,
    "limiting-current": limiting_current,
    "conservation": conservation,
    "symmetry": symmetry,
    "threads": threads,
    "separator-layers": separator_layers,
    "area": area,
} | {f"resolution-{rate:g}C": partial(resolution, rate) for rate in RATES}
"""Each takes `quick` and returns its lines."""


def climb(names, *, quick, tell=print):
    """Lines by rung, each rung told as it comes; a rung that raises is one failed line."""
    found = {}
    for name in names:
        began = perf_counter()
        try:
            lines = [line.record() | {"row": line.cells()} for line in RUNGS[name](quick=quick)]
        except Exception as error:  # the other rungs are still worth knowing
            reason = f"{type(error).__name__}: {error}"
            lines = [{"what": name, "passed": False, "error": reason, "row": failed_row(name, reason)}]
        found[name] = {"seconds": perf_counter() - began, "lines": lines}
        for line in lines:
            tell(" | ".join([name, *line["row"]]))
    return found


def failed_row(name, reason):
    """The row of a rung that raised."""
    return [name, *["-"] * (len(HEADER) - 3), "NO", reason.replace("\n", " ").replace("|", "/")]


def table_of(found):
    """All rungs as a table in Markdown."""
    rows = [[name, *line["row"]] for name, rung in found.items() for line in rung["lines"]]
    head = ["rung", *HEADER]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def outcome(found):
    """One sentence."""
    lines = [line for rung in found.values() for line in rung["lines"]]
    passed, seconds = sum(line["passed"] for line in lines), sum(rung["seconds"] for rung in found.values())
    return f"{passed} of {len(lines)} lines hold; {len(found)} rungs in {seconds:.0f} s"


def parsed(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(RUNGS), metavar="NAME", default=list(RUNGS))
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Climb, write, and return the exit status."""
    given, found = parsed(arguments), {}
    machine = {"python": platform.python_version(), "numpy": np.__version__, "battsim": version("battsim")}
    print(" | ".join(["rung", *HEADER]), flush=True)
    for name in given.only:
        found |= climb([name], quick=given.quick, tell=partial(print, flush=True))
        report = machine | {"quick": given.quick, "rungs": found}
        given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if given.markdown:
            given.markdown.write_text(f"{table_of(found)}\n\n{outcome(found)}\n", encoding="utf-8")
    print(outcome(found))
    return int(not all(line["passed"] for rung in found.values() for line in rung["lines"]))


if __name__ == "__main__":
    sys.exit(main())
