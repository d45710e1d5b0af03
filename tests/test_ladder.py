"""The verification ladder: its quick rungs hold, they notice defects, and the command says so."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from battsim.models.cell.transient import CellTransient
from battsim.models.resolved.half_cell import HalfCell

LADDER = Path(__file__).parents[1] / "benchmarks" / "accuracy"
sys.path.insert(0, str(LADDER))  # a script beside its modules, not a package

import ladder  # noqa: E402
import rung  # noqa: E402
import rungs_balance  # noqa: E402
import rungs_manufactured  # noqa: E402
import rungs_resolution  # noqa: E402

LONG = ("conservation", "separator-layers", "resolution-0.2C", "resolution-1C", "resolution-3C")
"""Rungs that take more than some seconds, also in short."""
ELSEWHERE = ("layers", "sphere")
"""What test_resolved_layers.py and test_resolved_sphere.py compute every time."""
QUICK = [name for name in ladder.RUNGS if name not in (*LONG, *ELSEWHERE)]


def failed(found):
    return [line["row"] for each in found.values() for line in each["lines"] if not line["passed"]]


@pytest.mark.parametrize("name", QUICK)
def test_quick_rung_holds(name):
    found = ladder.climb([name], quick=True, tell=list)
    assert not failed(found)
    assert all(len(line["row"]) == len(rung.HEADER) for line in found[name]["lines"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LONG, *ELSEWHERE])
def test_long_rung_holds_in_short(name):
    assert not failed(ladder.climb([name], quick=True, tell=list))


@pytest.mark.slow
@pytest.mark.parametrize("name", ladder.RUNGS)
def test_rung_holds(name):
    assert not failed(ladder.climb([name], quick=False, tell=list))


# defects that each rung must notice


def with_residual(monkeypatch, change):
    """Every residual of the half cell is changed in place; Jacobians stay."""
    plain = HalfCell.evaluate

    def evaluate(self, u, reference, rate, *arguments, **named):
        e = plain(self, u, reference, rate, *arguments, **named)
        residual = e.residual.copy()
        change(self, u, rate, residual)
        return replace(e, residual=residual)

    monkeypatch.setattr(HalfCell, "evaluate", evaluate)


def stored(cell, u, rate, field):
    capacity = {"x": cell.solid_capacity, "c_e": cell.salt_capacity}.get(field, 0.0)
    part = getattr(cell.layout, field)
    return capacity * rate.storage * (u[part] - rate.u_star[part])


def less_flux(field):
    """A fiftieth is missing of everything in a field's rows that is not storage."""

    def change(cell, u, rate, residual):
        part, kept = getattr(cell.layout, field), stored(cell, u, rate, field)
        residual[part] = kept + 0.98 * (residual[part] - kept)

    return change


def more_salt_capacity(cell, u, rate, residual):
    residual[cell.layout.c_e] += 0.02 * stored(cell, u, rate, "c_e")


def salt_that_jumps(cell, u, rate, residual):  # noqa: ARG001
    """Salt worth 1e-11 A goes from the first cell, in a corner at the counter electrode, straight to the last."""
    residual[cell.layout.c_e.start] += 1e-11
    residual[cell.layout.c_e.stop - 1] -= 1e-11


def noise_of_threads(cell, u, rate, residual):  # noqa: ARG001
    residual[cell.layout.phi_e] += 1e-6 * (cell.team.threads - 1) * u[cell.layout.phi_e] * cell.network.cross_section


DEFECTS = [
    ("manufactured-space", "solid diffusion", less_flux("x")),
    ("manufactured-space", "ion transport", less_flux("c_e")),
    ("manufactured-space", "electron conduction", less_flux("phi_s")),
    ("manufactured-space", "coupled cell", less_flux("phi_e")),
    ("limiting-current", "limiting current", salt_that_jumps),
    pytest.param("sand", "Sand", more_salt_capacity, marks=pytest.mark.slow),
    ("symmetry", "turned electrode", salt_that_jumps),
    ("threads", "two threads", noise_of_threads),
]


@pytest.mark.parametrize(("name", "start", "change"), DEFECTS)
def test_a_defect_fails_its_rung(monkeypatch, name, start, change):
    with_residual(monkeypatch, change)
    lines = ladder.climb([name], quick=True, tell=list)[name]["lines"]
    assert "error" not in lines[0]  # the rung ended, and told by its numbers
    assert any(line["what"].startswith(start) and not line["passed"] for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_wrong_diffusivity_fails_its_rung(monkeypatch, name):
    plain = HalfCell.__init__

    def init(self, mesh, parameters, *arguments, **named):
        D_s = parameters.active.diffusivity
        slower = replace(parameters.active, diffusivity=lambda x, T: tuple(0.9 * value for value in D_s(x, T)))
        plain(self, mesh, replace(parameters, active=slower), *arguments, **named)

    monkeypatch.setattr(HalfCell, "__init__", init)
    [line] = ladder.climb([name], quick=True, tell=list)[name]["lines"]
    assert not line["passed"]
    assert "error" not in line


def test_a_formula_of_first_order_fails_in_time(monkeypatch):
    monkeypatch.setattr(rungs_manufactured, "implicit_rate", lambda _, states, dt: (1.0 / dt, states[-1]))
    lines = ladder.climb(["manufactured-time"], quick=True, tell=list)["manufactured-time"]["lines"]
    assert not any(line["passed"] for line in lines)
    assert all(line["observed"][-1] < 1.4 for line in lines)


@pytest.mark.slow
def test_lithium_that_newton_leaves_over_fails_the_balances(monkeypatch):
    monkeypatch.setattr(CellTransient, "conserved", lambda _, u, evaluation: u)  # noqa: ARG005
    lines = ladder.climb(["conservation"], quick=True, tell=list)["conservation"]["lines"]
    assert "balances: half-cell" in {line["what"] for line in lines if not line["passed"]}


@pytest.mark.slow
def test_too_few_separator_layers_fail(monkeypatch):
    monkeypatch.setattr(rungs_balance, "GRADED", 4)
    [line] = ladder.climb(["separator-layers"], quick=True, tell=list)["separator-layers"]["lines"]
    assert not line["passed"]


# lines, table, command


def line_of(errors, bound=1.0, order=2.0, resolutions=(10, 20, 40)):
    return rung.Line("what", "exact", "truth", resolutions, errors, "V", bound, order)


def test_a_line_passes_by_its_bound_and_its_order():
    good = line_of([16.0, 4.0, 1.0])
    assert good.passed
    assert good.observed == pytest.approx([2.0, 2.0])
    assert not line_of([16.0, 4.0, 1.01]).passed
    assert not line_of([1.6, 1.0, 0.8]).passed  # first order and less
    assert not line_of([16.0, 4.0, np.nan]).passed
    assert not line_of([np.inf, 4.0, np.inf]).passed
    assert line_of([3.0, 0.5], bound=[3.0, 0.5], order=None, resolutions=("a", "b")).passed
    assert not line_of([3.1, 0.5], bound=[3.0, 0.5], order=None, resolutions=("a", "b")).passed


def test_errors_of_curves_are_against_the_extrapolation():
    def curve(size):
        # 4 V falling by 0.1 V/Ah, lower by 0.8 V / size^2, ending early by 8 Ah/m2 / size^2
        capacity = np.linspace(0.0, 10.0 - 8.0 / size**2, 50)
        return rungs_resolution.Curve(capacity, 4.0 - 0.1 * capacity - 0.8 / size**2)

    rms, ends = rungs_resolution.errors_of({size: curve(size) for size in (2, 4, 8)}, 10.0)
    assert rms == pytest.approx({2: 200.0, 4: 50.0, 8: 12.5}, rel=1e-9)
    assert ends == pytest.approx({2: 20.0, 4: 5.0, 8: 1.25}, rel=1e-9)


def test_a_rung_that_raises_is_a_failed_line(monkeypatch):
    def broken(*, quick):
        raise ValueError(f"quick = {quick} | two\nlines")

    monkeypatch.setitem(ladder.RUNGS, "sand", broken)
    found = ladder.climb(["sand"], quick=True, tell=list)
    assert failed(found)
    assert "ValueError: quick = True / two lines" in ladder.table_of(found)
    assert ladder.outcome(found).startswith("0 of 1 lines hold")


def test_the_command_writes_its_table_and_its_status(tmp_path):
    out, table = tmp_path / "out.json", tmp_path / "out.md"
    command = [sys.executable, str(LADDER / "ladder.py"), str(out), "--markdown", str(table), "--quick", "--only"]
    done = subprocess.run([*command, "limiting-current"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(), parse_constant=pytest.fail)
    [line] = report["rungs"]["limiting-current"]["lines"]
    assert line["passed"]
    assert max(line["errors"]) < 1e-6
    assert "1 of 1 lines hold" in table.read_text()
    assert table.read_text().count("\n| limiting-current |") == 1
    assert "limiting-current" in done.stdout


def test_the_status_is_one_where_a_rung_fails(monkeypatch, tmp_path):
    worse = line_of([2.0], order=None, resolutions=(10,))
    monkeypatch.setitem(ladder.RUNGS, "sand", lambda *, quick: [worse, replace(worse, errors=[np.inf])])  # noqa: ARG005
    assert ladder.main([str(tmp_path / "out.json"), "--quick", "--only", "sand"]) == 1
    report = json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)
    assert [line["errors"] for line in report["rungs"]["sand"]["lines"]] == [[2.0], [None]]
