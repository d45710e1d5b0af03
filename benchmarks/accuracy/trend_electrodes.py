"""What is compared for each trend: generated electrodes that differ in one thing alone, and the numbers of a seed.

Each function takes a seed and gives numbers by name. Electrodes are those of cases/graded-electrode and
cases/binder-morphology, with changes by dotted path.
"""

import tempfile
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from battsim.case import read_case
from battsim.output.record import MICROSTRUCTURE_FILE, read_json
from battsim.output.tables import read_table
from battsim.post.transport import effective_transport
from battsim.run import build_image, run_case
from battsim.sweep.members import override
from meshing.errors import PackingError
from meshing.generate import ParticleForm, constant, ellipsoids

CASES = Path(__file__).resolve().parents[2] / "cases"
UM = 1e-6

Numbers = dict[str, float]
Table = dict[str, object]


# a discharge


@dataclass(frozen=True)
class Discharge:
    """What a discharge left.

    Attributes
    ----------
    capacity
        At the cut-off, Ah/m2.
    series
        timeseries.csv by column.
    measured
        microstructure.json.
    """

    capacity: float
    series: Mapping[str, np.ndarray]
    measured: Mapping[str, object]

    @property
    def tau(self) -> float:
        """Tortuosity factor of the electrolyte through the plane."""
        return float(self.measured["transport"]["ionic"]["tau"])

    @property
    def reacting_area(self) -> float:
        """Surface of active material towards pores, 1/m."""
        return float(self.measured["interfaces"]["active|pore"]["area_per_volume_1_m"])

    def mean_loss(self, *names: str, until: float) -> float:
        """Mean over the charge from 0 to `until` (Ah/m2) of the sum of the named losses, V."""
        charge = np.linspace(0.0, until, 201)
        q = self.series["capacity_Ah_m2"]
        assert until <= q[-1], f"the discharge ended at {q[-1]:.3g} Ah/m2, before {until:.3g}"
        return float(np.mean(sum(np.interp(charge, q, self.series[f"loss_{name}_V"]) for name in names)))


def electrode(name: str, seed: int, changes: Mapping[str, object]) -> Table:
    """The table of a case of the project with another seed and other values by dotted path, and no pictures' fields."""
    table = tomllib.loads((CASES / name / "case.toml").read_text(encoding="utf-8"))
    fixed = {"image.generate.seed": seed, "model.baseline": False, "output.fields": [], "solver.threads": 1}
    for path, value in {**fixed, **changes}.items():
        override(table, path, value)
    return table


def discharged(table: Table, directory: Path) -> Discharge:
    """The case after its protocol; its results are left in the directory."""
    case = read_case(table, directory)
    results = directory / "results"
    summary = run_case(case, results=results)
    return Discharge(
        float(summary["capacity_Ah_m2"]),
        read_table(results / "timeseries.csv"),
        read_json(results / MICROSTRUCTURE_FILE),
    )


def discharge(table: Table) -> Discharge:
    """The case after its protocol, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return discharged(table, Path(folder))


def discharge_turned(table: Table) -> Discharge:
    """The same voxels with separator and collector exchanged: each gradient becomes its opposite, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        image = build_image(read_case(table, Path(folder)))
        np.save(Path(folder) / "image.npy", image.labels)
        labels = {name: k for k, name in enumerate(image.phases) if image.mask(name).any()}
        turned = deepcopy(table)
        turned["image"] = {
            "file": "image.npy",
            "voxel_size": table["image"]["generate"]["voxel_size"],
            "labels": labels,
            "through_plane": "x",
            "separator_side": "high",
        }
        return discharged(turned, Path(folder))


# trends

COATED = {"base": "nmc532-mohtat2020", "conductivity": "10 S/m", "diffusivity": "2e-14 m2/s"}
"""Carbon on the particles, so that electrons are not in the way; R^2/D_s is 13 min in small ones, 53 min in large."""
SIZES = {
    "image.generate.shape": [50, 14, 14],
    "image.generate.voxel_size": "2 um",
    "image.generate.active_volume_fraction": 0.50,
    "image.generate.grading": "steps",
    "image.generate.diameter": {"median": ["8 um", "16 um"], "sigma": 0.1},
    "protocol.0": {"step": "discharge", "current": "240 A/m^2", "until": {"voltage": "3.5 V"}},
    "solver.time_rtol": 3e-3,
}
ACTIVE = "image.generate.active_volume_fraction"
ELECTROLYTE = ("electrolyte_ohmic", "electrolyte_concentration")


def sizes(seed: int) -> Numbers:
    """Capacity with small particles at the separator, and of the same voxels the other way round, Ah/m2."""
    table = electrode("graded-electrode", seed, SIZES | {"materials.active": COATED})
    return {"small at the separator": discharge(table).capacity, "large there": discharge_turned(table).capacity}


def pores(seed: int) -> Numbers:
    """Capacity with more pores at the separator, without a gradient, and with the first one's voxels turned, Ah/m2."""
    table = electrode("graded-electrode", seed, {})
    found = {"more pores at the separator": discharge(table).capacity, "fewer there": discharge_turned(table).capacity}
    override(table, ACTIVE, float(np.mean(table["image"]["generate"]["active_volume_fraction"])))
    return found | {"even": discharge(table).capacity}


def binder(seed: int) -> Numbers:
    """Surface, pores and losses with impermeable binder as a film and as fingers, of one fraction."""
    found: Numbers = {}
    until = 5.0
    for name, morphology in (("film", 0.0), ("finger", 1.0)):
        table = electrode("binder-morphology", seed, {"image.generate.binder.morphology": morphology})
        one = discharge(table)
        found |= {
            f"area, {name}": one.reacting_area,
            f"tau, {name}": one.tau,
            f"kinetic loss, {name}": one.mean_loss("kinetics", until=until),
            f"electrolyte loss, {name}": one.mean_loss(*ELECTROLYTE, until=until),
            f"capacity, {name}": one.capacity,
        }
    return found


POROSITIES = (0.28, 0.37, 0.46)
BINDER = 0.08
DENSE = {
    "image.generate.binder": {"form": "bridge"},
    "image.generate.binder_volume_fraction": BINDER,
    "image.generate.overlap": 0.15,
    "protocol.0.rate": "1 C",
}
"""Packed as densely as calendering does."""


def limit(seed: int) -> Numbers:
    """Losses of electrolyte and kinetics over porosity at one thickness, V, and their ratio.

    Losses are means over the charge up to 90 % of what the poorest of them gives.
    """
    runs = []
    for porosity in POROSITIES:
        own = {ACTIVE: round(1.0 - BINDER - porosity, 4)}
        runs.append(discharge(electrode("binder-morphology", seed, DENSE | own)))
    until = 0.9 * min(run.capacity for run in runs)
    transport = [run.mean_loss(*ELECTROLYTE, until=until) for run in runs]
    kinetics = [run.mean_loss("kinetics", until=until) for run in runs]
    return {"charge of the means": until} | {
        f"{what}, porosity {porosity:g}": value
        for what, values in (
            ("electrolyte", transport),
            ("kinetics", kinetics),
            ("electrolyte over kinetics", np.divide(transport, kinetics).tolist()),
        )
        for porosity, value in zip(POROSITIES, values, strict=True)
    }


def flattened(seed: int) -> Numbers:
    """Tortuosity factors of the pores through the plane and in it, of round particles and of ever flatter ones."""
    found: Numbers = {}
    for flat in (1.0, 0.6, 0.35):
        form = ParticleForm(constant(8 * UM), 0.2, (flat, 1.0, 1.0), 1.0)
        image = ellipsoids((48, 48, 48), (UM,) * 3, constant(0.55), form, np.random.default_rng(seed)).image
        x, y, z = (effective_transport(image, {"pore": 1.0}, axis=axis, threads=1).tau for axis in "xyz")
        found |= {f"through, aspect {flat:g}": x, f"in plane, aspect {flat:g}": 0.5 * (y + z)}
    return found


def broad(seed: int) -> Numbers:
    """Fraction that packings of equal particles and of a broad distribution reach."""
    found: Numbers = {}
    for name, sigma in (("equal", 0.0), ("broad", 0.5)):
        form = ParticleForm(constant(8 * UM), sigma, overlap=0.0)
        try:
            ellipsoids((30, 30, 30), (UM,) * 3, constant(0.85), form, np.random.default_rng(seed))
        except PackingError as error:
            found[name] = error.reached
    return found
