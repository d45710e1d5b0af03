"""Krylov iterations of the resolved cell's Jacobian to 1e-6, over the time step and over the size of the image.

    BATTSIM_DATA=... python benchmarks/speed/krylov.py OUT.json [--crops 43x43x43 100x100x100 251x301x301/2]
        [--steps 1 30 200 500] [--threads 2] [--markdown OUT.md]

Crops are those of `resolved.py`; "/2" merges 2 x 2 x 2 voxels. Each system is that of the first Newton iteration of a
backward-Euler step of the given length at 1 C, from a state 60 s into the discharge: the residual is what such a step
meets, and the solver is told to reduce it to 1e-6 of itself. Krylov vectors are of double precision here: a run's own
solves, for one to three digits, keep them in single precision, where six digits are a matter of luck.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from resolved import case_of

WARM_UP = 60.0
"""s at 1 C before the systems are made."""
TOLERANCE = 1e-6


def measure(text, steps, threads):
    """Iterations and seconds per application for each step on one crop."""
    import numpy as np

    from battsim.case import initial_stoichiometries
    from battsim.models.cell.jacobian import CYCLES, SWEEP_ORDER
    from battsim.models.cell.transient import CellTransient, Control
    from battsim.models.resolved.half_cell import HalfCell
    from battsim.run.build import build_image, build_mesh, half_cell_parameters
    from battsim.run.protocol import FIRST_STEP
    from battsim.solvers.block import BlockSolver
    from battsim.solvers.integrate import consistent_start, integrate
    from battsim.solvers.stepping import IntegrationSettings, Limits
    from battsim.threads import Team

    extent, _, coarsen = text.partition("/")
    case = case_of("real", tuple(map(int, extent.split("x"))), 3.5, int(coarsen or 1))
    with Team(threads) as team:
        mesh = build_mesh(case, build_image(case))
        cell = HalfCell(mesh, half_cell_parameters(case), team)
        linear = BlockSolver(cell.networks, SWEEP_ORDER, cycles=CYCLES, team=team, vectors=np.float64)
        current = cell.capacity / 3600.0
        transient, control = CellTransient(cell, current), Control("current", current)
        settings = IntegrationSettings(1e-3, FIRST_STEP, 1e-5)
        u, reference = cell.uniform_state(*initial_stoichiometries(case, (cell.parameters.active,)))
        u, reference, _ = consistent_start(transient, linear, control, settings, u, reference)
        for step in integrate(transient, linear, control, Limits(time=WARM_UP), settings, (0.0, u, reference)):
            u, reference = step.u, step.reference
        found = []
        for dt in steps:
            problem = transient.problem(1.0 / dt, u, reference, control)
            evaluation = problem.evaluate(u)
            linear.reset()
            linear.seconds = dict.fromkeys(linear.seconds, 0.0)
            began = perf_counter()
            _, iterations, converged = linear.solve(problem.jacobian(evaluation), -evaluation.residual, TOLERANCE)
            found.append(
                {
                    "dt_s": dt,
                    "iterations": iterations,
                    "converged": bool(converged),
                    "seconds": perf_counter() - began,
                    "application_s": linear.seconds["application"] / max(iterations, 1),
                    "residual": float(np.linalg.norm(evaluation.residual)),
                }
            )
    return {"crop": text, "unknowns": cell.layout.size, "solves": found}


def table_of(rows, steps):
    """Iterations per crop and step."""
    heads = " | ".join(f"{dt:g} s" for dt in steps)
    lines = [f"| crop | unknowns | Krylov to 1e-6: {heads} | one application, ms |", "|---" * (3 + len(steps)) + "|"]
    for row in rows:
        counts = " | ".join(
            f"{solve['iterations']}" if solve["converged"] else "not converged" for solve in row["solves"]
        )
        application = 1e3 * min(solve["application_s"] for solve in row["solves"])
        lines.append(f"| {row['crop']} | {row['unknowns']} | {counts} | {application:.0f} |")
    return "\n".join(lines) + "\n"


def main():
    """Run the crops that the command line asks for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--crops", nargs="*", default=["43x43x43", "70x70x70", "100x100x100", "251x64x64"])
    parser.add_argument("--steps", nargs="*", type=float, default=[1.0, 30.0, 200.0, 500.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.steps, arguments.threads)))
        return
    rows = []
    for crop in arguments.crops:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", crop]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(table_of(rows, arguments.steps))
    print(table_of(rows, arguments.steps))


if __name__ == "__main__":
    main()
