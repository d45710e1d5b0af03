"""The current that empties the collector's end of its salt: closed form, and the homogenised cell itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "accuracy"))  # scripts, not a package

from p2d_cells import chen2020

from battsim.constants import FARADAY
from battsim.materials.closures import constant
from battsim.models.cell.transient import CellTransient, Control
from battsim.models.p2d.cell import P2DCell
from battsim.models.p2d.elimination import ParticleElimination
from battsim.models.p2d.parameters import P2DGrid, P2DParameters
from battsim.post.salt_limit import salt_limited_current
from battsim.solvers.integrate import consistent_start, integrate
from battsim.solvers.stepping import IntegrationSettings, Limits

D, T_PLUS, SALT = 3e-10, 0.3, 1000.0


def parameters(kind: str, *, constant_transport: bool) -> P2DParameters:
    """Chen2020 whose pores conduct so well that the reaction is even, and with more lithium than a test can move."""
    p = chen2020(kind).parameters

    def exchange_current(x, _c_e, _T):
        return np.full_like(x, 5.0), np.zeros_like(x), np.zeros_like(x)

    def electrode(each):
        material = replace(
            each.material,
            exchange_current=exchange_current,
            diffusivity=constant(1e-12),
            max_concentration=200.0 * each.material.max_concentration,
        )
        return replace(each, material=material, conductivity=1e3)

    electrolyte = replace(p.materials.electrolyte, conductivity=constant(1e4), thermodynamic_factor=constant(0.0))
    if constant_transport:
        electrolyte = replace(electrolyte, diffusivity=constant(D), transference=constant(T_PLUS))
    return replace(
        p,
        positive=electrode(p.positive),
        negative=None if p.negative is None else electrode(p.negative),
        materials=replace(p.materials, electrolyte=electrolyte),
    )


def salt_after(p: P2DParameters, current: float, seconds: float) -> np.ndarray:
    """Salt concentrations after a discharge, from the negative end on; those of its end where no more charge passes."""
    cell = P2DCell(p, P2DGrid(negative=30, separator=20, positive=80, radial=6))
    transient, control = CellTransient(cell, current), Control("current", current)
    linear = ParticleElimination(cell.network, cell.layout, cell.materials.salt)
    settings = IntegrationSettings(tolerance=1e-3, first_step=1e-2, smallest_step=1e-7)
    u, reference = cell.uniform_state(*((0.5,) * len(cell.electrodes)))
    u, reference, _ = consistent_start(transient, linear, control, settings, u, reference)
    for step in integrate(transient, linear, control, Limits(time=seconds), settings, (0.0, u, reference)):
        u = step.u
    return u[cell.layout.c_e]


def test_constant_transport_of_a_half_cell() -> None:
    p = parameters("half", constant_transport=True)
    L, eps, b = p.positive.thickness, p.positive.porosity, p.positive.b
    Ls, eps_s, b_s = p.separator.thickness, p.separator.porosity, p.separator.b
    held = SALT * (eps_s * Ls + eps * L)
    per_current = (1.0 - T_PLUS) / (FARADAY * D)
    per_current *= eps_s * Ls * (L / (2.0 * b) + Ls / (2.0 * b_s)) + eps * L * L / (6.0 * b)
    assert salt_limited_current(p) == pytest.approx(held / per_current, rel=1e-6)


def test_without_a_separator_and_far_from_the_other_electrode_it_is_the_textbooks() -> None:
    # a large separator holds the salt at its initial concentration: I = 2 F D b c / ((1 - t_plus) L)
    p = parameters("half", constant_transport=True)
    p = replace(p, separator=replace(p.separator, thickness=1.0, porosity=1.0, b=1e9))
    textbook = 2.0 * FARADAY * D * p.positive.b * SALT / ((1.0 - T_PLUS) * p.positive.thickness)
    assert salt_limited_current(p) == pytest.approx(textbook, rel=1e-3)


@pytest.mark.parametrize("kind", ["half", "full"])
def test_a_tenth_below_it_a_tenth_of_the_salt_is_left_at_the_collector(kind: str) -> None:
    p = parameters(kind, constant_transport=True)
    limit = salt_limited_current(p)
    left = salt_after(p, 0.9 * limit, 4000.0)[-1]
    assert left == pytest.approx(0.1 * SALT, rel=0.02)


@pytest.mark.parametrize("kind", ["half", "full"])
def test_the_published_electrolyte_is_emptied_above_it_only(kind: str) -> None:
    p = parameters(kind, constant_transport=False)
    limit = salt_limited_current(p)
    assert salt_after(p, 0.97 * limit, 6000.0).min() > 5.0
    assert salt_after(p, 1.03 * limit, 6000.0).min() < 1.0
