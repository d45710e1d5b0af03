"""What no discretisation may break: conservation, symmetry, the number of threads, the separator's layers."""

import os
import tempfile
import tomllib
from pathlib import Path

import numpy as np
from rung import Line
from shared import ROOT, cells_of_tests

from battsim.case import read_case
from battsim.output.tables import read_table
from battsim.run import run_case
from battsim.solvers.block import BlockSolver
from battsim.threads import Team
from meshing.generate import spheres
from meshing.voxel import graded_layers

ALLOWED = {"lithium_imbalance": 1e-8, "charge_imbalance": 1e-8, "salt_drift": 1e-10}
"""Of a run: change of the lithium over the charge, current through both surfaces over the current, change of salt."""
ALLOWED_PER_STEP = 1e-10
"""Lithium in one step over the current."""
REAL = "matbox_nmc1cal_bridgeCBD.tif"
"""File in the folder BATTSIM_DATA."""
SHORT = "120 s"
"""A quick run ends here."""


def cases(quick):
    """Name, table and directory of every shipped case, and of a crop of the real electrode where there is one."""
    found = []
    for file in sorted((ROOT / "cases").glob("*/case.toml")):
        found.append((file.parent.name, tomllib.loads(file.read_text(encoding="utf-8")), file.parent))
    folder = os.environ.get("BATTSIM_DATA")
    if folder is not None:
        _, table, directory = next(case for case in found if case[1]["model"]["kind"] == "resolved")
        image = {
            "file": str(Path(folder) / REAL),
            "voxel_size": "0.398 um",
            "through_plane": "x",
            "labels": {"pore": 0, "active": 1, "binder": 2},
            "crop": [[0, 30], [100, 120], [100, 120]],
        }
        found.append(("real crop 30 x 20 x 20", table | {"image": image}, directory))
    return [(name, shortened(table) if quick else table, directory) for name, table, directory in found]


def shortened(table):
    """The same case; each step of its protocol ends after SHORT at the latest."""
    steps = [step | {"until": step["until"] | {"time": SHORT}} for step in table.get("protocol", [])]
    return table | {"protocol": steps} if steps else table


def conservation(quick):
    """Lithium, salt and charge over every case, and the flux of a tortuosity."""
    lines = []
    for name, table, directory in cases(quick):
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results"
            case = read_case(table, directory, allow_outside=True)
            summary = run_case(case, results=results)
            if summary["kind"] == "tortuosity":
                found = {f"flux along {axis}": at["flux_imbalance"] for axis, at in summary["directions"].items()}
                allowed = dict.fromkeys(found, case.transport.tolerance)
                note = f"the case asks for {case.transport.tolerance:g}"
            else:
                per_step = np.nanmax(read_table(results / "steps.csv")["lithium_imbalance"])
                found = {what: summary[what] for what in ALLOWED} | {"lithium per step": float(per_step)}
                allowed = ALLOWED | {"lithium per step": ALLOWED_PER_STEP}
                note = f"to {summary['stop']['reason']} at {summary['stop']['time_s']:.0f} s, {summary['cells']} cells"
        lines.append(
            Line(
                f"balances: {name}",
                "conservation",
                "what enters stays or leaves",
                list(found),
                list(found.values()),
                "",
                list(allowed.values()),
                note=note,
            )
        )
    return lines


TURNS = {
    "mirrored in y": lambda labels: labels[:, ::-1],
    "mirrored in z": lambda labels: labels[:, :, ::-1],
    "y and z exchanged": lambda labels: labels.transpose(0, 2, 1),
    "turned by a quarter": lambda labels: np.rot90(labels, axes=(1, 2)),
}


def voltages(labels, dt, time, *, direct, team=None):
    """Voltages of a 2C discharge in equal steps, with LU to 1e-9 or with the block solver to its default 1e-6."""
    cells = cells_of_tests()
    cell = cells.make_cell(np.ascontiguousarray(labels), **({} if team is None else {"team": team}))
    solver = {} if team is None else {"team": team}
    linear = cells.DirectSolver(cell) if direct else BlockSolver(cell.networks, (2, 0, 1), **solver)
    settings = cells.fixed_steps(dt, rtol=1e-9 if direct else 1e-6)
    limits = cells.limits(time=time)
    run = cells.discharge(cell, 2.0 * cell.capacity / 3600, 0.3, limits=limits, settings=settings, linear=linear)
    return np.array([run.voltage(step) for step in run.steps])


def packing(shape, seed=2):
    """Labels of a small electrode of spheres with binder, voxels of 1 um."""
    image = spheres(shape, (1e-6,) * 3, 0.45, 0.15, 6e-6, 0.0, np.random.default_rng(seed))
    return image.labels


def symmetry(quick):
    """Voltage of a turned or mirrored electrode against the electrode itself."""
    noise = cells_of_tests().random_labels((8, 5, 5), seed=3)
    lines = [turned("noise 8 x 5 x 5", noise, 1e-9, direct=True)]
    if not quick:
        lines.append(turned("spheres 16 x 12 x 12", packing((16, 12, 12)), 1e-9, direct=False))
    return lines


def turned(name, labels, bound, *, direct):
    """Largest difference of the voltages over a discharge, turn by turn."""
    plain = voltages(labels, 5.0, 50.0, direct=direct)
    errors = [np.max(np.abs(voltages(turn(labels), 5.0, 50.0, direct=direct) - plain)) for turn in TURNS.values()]
    solver = "LU, Newton to 1e-9" if direct else "block solver, Newton to 1e-6"
    return Line(
        f"turned electrode: {name}", "symmetry", "itself", list(TURNS), errors, "V", [bound] * len(TURNS), note=solver
    )


def threads(quick):
    """Voltages with two threads against one."""
    shape = (20, 20, 20) if quick else (36, 30, 30)
    labels, found = packing(shape), []
    for count in (1, 2):
        with Team(count) as team:
            found.append(voltages(labels, 5.0, 10.0 if quick else 25.0, direct=False, team=team))
    return [
        Line(
            f"two threads: spheres {' x '.join(map(str, shape))}",
            "symmetry",
            "one thread",
            [2],
            [float(np.max(np.abs(found[1] - found[0])))],
            "V",
            1e-9,
            note="block solver, equal steps",
        )
    ]


THICKNESS, PITCH, GRADED = 12e-6, 0.4e-6, 10
"""Of the separator and of a voxel, m; number of graded layers."""


def separator_layers(quick):
    """Voltage with ten graded separator layers against layers of one voxel each, over the first part of a discharge."""
    cells = cells_of_tests()
    shape = (20, 8, 8) if quick else (40, 16, 16)
    image = spheres(shape, (PITCH,) * 3, 0.45, 0.15, 3e-6, 0.0, np.random.default_rng(2))
    rates, errors = (1.0, 3.0), []
    for rate in rates:
        found = []
        for sizes in (graded_layers(THICKNESS, GRADED, PITCH), (PITCH,) * round(THICKNESS / PITCH)):
            cell = cells.make_cell(image.labels, h=PITCH, layers=sizes)
            linear, current = BlockSolver(cell.networks, (2, 0, 1)), rate * CURRENT
            run = cells.discharge(
                cell,
                current * cell.network.cross_section,
                0.2,
                limits=cells.limits(time=60.0),
                settings=cells.fixed_steps(3.0, rtol=1e-8),
                linear=linear,
            )
            found.append(np.array([run.voltage(step) for step in run.steps]))
        errors.append(1e3 * float(np.max(np.abs(found[0] - found[1]))))
    return [
        Line(
            "ten graded separator layers",
            "self-convergence",
            f"{round(THICKNESS / PITCH)} layers of one voxel",
            [f"{rate * CURRENT:g} A/m2" for rate in rates],
            errors,
            "mV",
            [0.1] * len(rates),
            note="largest difference of the voltage over the first 60 s in steps of 3 s",
        )
    ]


CURRENT = 40.0
"""A/m2: 1 C of an electrode of about 80 um."""
