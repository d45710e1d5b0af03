"""One converged step of either engine: Newton with block multigrid, and sweeps over FiPy's equations.

    BATTSIM_DATA=... python benchmarks/speed/engines.py OUT.json [--sizes 20 40 60] [--markdown OUT.md]
    python benchmarks/speed/engines.py OUT.json --recipe --sizes 20 40

Crops of the real electrode as in resolved.py, or a generated electrode, plus separator, at 1 C. Newton takes the cell
to 10 s by backward Euler (1 and 9 s); the step of 10 s that follows is the one that is timed, from the same
state, with neither engine holding anything from the steps before except compiled code. Both end at a residual of 1e-6
of the current; voltages are compared with a Newton step to 1e-7. Each size runs in a process of its own.
One thread; seconds are those of the processor, which other load on the machine touches little.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from time import process_time

# before numpy loads
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

from resolved import case_of
from transport_codes import memory_MB

WARM_UP = (1.0, 9.0)
STEP = 10.0
RTOL = 1e-6


def measure(kind, size, step):
    """Figures of one size; `step` is the length of the timed step, s."""
    from battsim.case import initial_stoichiometries
    from battsim.models.cell.transient import CellTransient, Control
    from battsim.models.resolved.half_cell import HalfCell
    from battsim.run.build import build_image, build_mesh, half_cell_parameters
    from battsim.run.engine import SWEEP_ORDER
    from battsim.solvers.block import BlockSolver
    from battsim.solvers.newton import NewtonSettings, newton

    case = case_of(kind, (size,) * 3, "3.5 V")
    mesh, parameters = build_mesh(case, build_image(case)), half_cell_parameters(case)
    cell = HalfCell(mesh, parameters)
    current = cell.capacity / 3600.0
    transient, control = CellTransient(cell, current), Control("current", current)
    tight, usual = NewtonSettings(rtol=1e-7), NewtonSettings(rtol=RTOL)

    def newton_step(rate, u, reference, settings, linear):
        result = newton(transient.problem(rate, u, reference, control), u, linear, settings)
        if not result.converged:
            sys.exit(f"{size}^3: Newton: {result.status}")
        shift = transient.reference_shift(result.u)
        return result, transient.shifted(result.u, shift), reference + shift

    u, reference = cell.uniform_state(*initial_stoichiometries(case, (parameters.active,)))
    linear = BlockSolver(cell.networks, SWEEP_ORDER)
    for dt in (0.0, *WARM_UP):
        _, u, reference = newton_step(1.0 / dt if dt else 0.0, u, reference, tight, linear)
    rate = 1.0 / step
    exact = newton_step(rate, u, reference, tight, BlockSolver(cell.networks, SWEEP_ORDER))[0].u[-1] + reference
    before = memory_MB("VmRSS")
    transient.reset()
    began = process_time()
    mine = newton_step(rate, u, reference, usual, BlockSolver(cell.networks, SWEEP_ORDER))[0]
    newton_s = process_time() - began
    fipy = fipy_step(mesh, cell, transient.problem(rate, u, reference, control), u, usual)
    return {
        "image": f"{kind} {size}^3",
        "cells": mesh.n_cells,
        "unknowns": cell.layout.size,
        "step_s": step,
        "voltage_V": exact,
        "newton": {
            "seconds": newton_s,
            "iterations": mine.iterations,
            "linear_iterations": mine.linear_iterations,
            "residual": mine.norm,
            "difference_V": mine.u[-1] + reference - exact,
        },
        "fipy": fipy | {"difference_V": fipy.pop("V") + reference - exact},
        "memory_MiB": {"before": before, "peak": memory_MB("VmHWM")},
    }


def fipy_step(mesh, cell, problem, u, settings):
    """Figures of FiPy's step."""
    began = process_time()
    from battsim.run.fipy_root import FipyRoot

    imported = process_time()
    root = FipyRoot(mesh, cell)
    built = process_time()
    swept = root.root(problem, u, settings)
    ended = process_time()
    if not swept.converged:
        print(f"FiPy: {swept.status}", file=sys.stderr)
    return {
        "import_s": imported - began,
        "mesh_s": built - imported,
        "seconds": ended - built,
        "iterations": swept.iterations,
        "linear_iterations": swept.linear_iterations,
        "residual": swept.norm,
        "converged": swept.converged,
        "V": swept.u[-1],
    }


def table_of(found):
    """The figures as a table."""
    lines = [
        "| image | unknowns | Newton CPU s | iterations (Krylov) | FiPy CPU s | its mesh s | sweeps (CG) | "
        "FiPy / Newton | Newton - exact V | FiPy - exact V | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in found:
        a, b = f["newton"], f["fipy"]
        sweeps = f"{b['iterations']} ({b['linear_iterations']})" if b["converged"] else "not converged"
        lines.append(
            f"| {f['image']} | {f['unknowns']} | {a['seconds']:.2f} | {a['iterations']} ({a['linear_iterations']}) | "
            f"{b['seconds']:.1f} | {b['mesh_s']:.1f} | {sweeps} | {b['seconds'] / a['seconds']:.0f} | "
            f"{a['difference_V']:.1e} | {b['difference_V']:.1e} | {f['memory_MiB']['peak']:.0f} |"
        )
    return "\n".join(lines)


def main():
    """Runs all sizes and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=[20, 40, 60])
    parser.add_argument("--recipe", action="store_true", help="a generated electrode instead of crops")
    parser.add_argument("--step", type=float, default=STEP, help="length of the timed step, s")
    parser.add_argument("--markdown", type=Path, help="where the table goes as well")
    parser.add_argument("--single", action="store_true", help="one size in this process: what the others run in")
    given = parser.parse_args()
    kind = "recipe" if given.recipe else "real"
    if kind == "real" and "BATTSIM_DATA" not in os.environ:
        sys.exit("set BATTSIM_DATA to the folder with the real images, or give --recipe")
    if given.single:
        given.out.write_text(json.dumps(measure(kind, given.sizes[0], given.step)) + "\n")
        return
    found = []
    for size in given.sizes:
        part = given.out.with_suffix(f".{size}.json")
        again = [sys.executable, __file__, str(part), "--single", "--sizes", str(size), "--step", str(given.step)]
        subprocess.run(again + ["--recipe"] * given.recipe, check=True)
        found.append(json.loads(part.read_text()))
        part.unlink()
        print(table_of(found[-1:]), flush=True)
    given.out.write_text(json.dumps({"python": platform.python_version(), "runs": found}, indent=2) + "\n")
    if given.markdown:
        given.markdown.write_text(table_of(found) + "\n")


if __name__ == "__main__":
    main()
