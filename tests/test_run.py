"""What a case asks for is what the run does: one feature at a time, on a cell of a few thousand unknowns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
import tifffile

from battsim.case import Case, load_case, read_case
from battsim.constants import FARADAY
from battsim.errors import CaseError, ImpossibleError, NotConvergedError
from battsim.materials.charge import stoichiometry_at_voltage
from battsim.materials.library import active_material, electrolyte
from battsim.materials.types import open_circuit
from battsim.models.cell.equations import Evaluation
from battsim.models.resolved.half_cell import HalfCell
from battsim.output.record import state_of
from battsim.output.tables import read_table
from battsim.run import build_image, run_case
from battsim.run.half_cell import draw_half_cell
from meshing.image import VoxelImage

SHAPE = (14, 10, 10)
RECIPE = {
    "kind": "spheres",
    "shape": list(SHAPE),
    "voxel_size": "1 um",
    "active_volume_fraction": 0.5,
    "binder_volume_fraction": 0.1,
    "diameter": {"median": "5 um"},
    "seed": 1,
}
MATERIALS = {
    "active": "nmc811-chen2020",
    "electrolyte": "lipf6-nyman2008",
    "separator": {"thickness": "6 um", "porosity": 0.47, "bruggeman": 1.5, "layers": 3},
}
DISCHARGE = {"step": "discharge", "rate": "1 C", "until": {"time": "20 s"}}
CASE = {
    "schema": 1,
    "image": {"generate": RECIPE},
    "materials": MATERIALS,
    "model": {"kind": "resolved"},
    "protocol": [DISCHARGE],
    "solver": {"threads": 1},
}
NMC811 = active_material("nmc811-chen2020")


@dataclass(frozen=True)
class Ran:
    """A finished run: its summary as returned, and its files."""

    directory: Path
    summary: dict[str, Any]

    @property
    def results(self) -> Path:
        return self.directory / "results"

    @property
    def series(self) -> dict[str, np.ndarray]:
        return read_table(self.results / "timeseries.csv")

    @property
    def voltage(self) -> np.ndarray:
        return self.series["voltage_V"]

    @property
    def microstructure(self) -> dict[str, Any]:
        return json.loads((self.results / "microstructure.json").read_text())

    @property
    def fields(self) -> pyvista.BaseReader:
        return pyvista.get_reader(self.results / "fields" / "fields.pvd")

    def last(self, name: str) -> np.ndarray:
        """A field at the end, in case axes."""
        reader = self.fields
        reader.set_active_time_value(reader.time_values[-1])
        image = reader.read()[0]
        [key] = [key for key in image.cell_data if key.split(" [")[0] == name]
        return np.asarray(image.cell_data[key]).reshape([n - 1 for n in image.dimensions], order="F")


def run(directory: Path, **tables: Any) -> Ran:
    """The small case with some of its tables replaced."""
    case = read_case(CASE | tables, directory)
    return Ran(directory, run_case(case, results=directory / "results"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def voxels(tmp_path_factory: pytest.TempPathFactory) -> VoxelImage:
    return build_image(read_case(CASE, tmp_path_factory.mktemp("voxels")))


def image_file(directory: Path, voxels: np.ndarray, **keys: Any) -> dict[str, Any]:
    """Writes an image and returns the table that describes it."""
    tifffile.imwrite(directory / "image.tif", voxels, photometric="minisblack")
    labels_of = {"pore": 0, "active": 1, "binder": 2}
    return {"file": "image.tif", "voxel_size": "1 um", "through_plane": "x", "labels": labels_of, **keys}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take as long as these runs; `base`, which is run before, has them."""
    monkeypatch.setattr("battsim.run.draw_half_cell", lambda *_: None)


def open_circuit_at(x: float) -> float:
    return float(open_circuit(NMC811, np.array([x]), 298.15)[0][0])


# the axes


ORIENTATIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "same": (lambda a: a, {}),
    "flipped": (lambda a: a[::-1], {"separator_side": "high"}),
    "through y": (lambda a: a.transpose(1, 0, 2), {"through_plane": "y"}),
    "through z": (lambda a: a.transpose(1, 2, 0), {"through_plane": "z"}),
    "through z, flipped": (lambda a: a[::-1].transpose(1, 2, 0), {"through_plane": "z", "separator_side": "high"}),
    "through z, mirrored": (lambda a: a.transpose(2, 1, 0), {"through_plane": "z"}),
}


@pytest.mark.parametrize(("turn", "keys"), ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_however_the_image_lies_the_cell_is_the_same(
    tmp_path: Path,
    base: Ran,
    voxels: VoxelImage,
    turn: Callable[[np.ndarray], np.ndarray],
    keys: dict[str, Any],
) -> None:
    turned = turn(voxels.labels)
    assert turned.shape == SHAPE or keys
    other = run(tmp_path, image=image_file(tmp_path, np.ascontiguousarray(turned), **keys))
    # at equal steps the cells differ by the order of their voxels at most: round-off, and Newton's tolerance
    assert other.voltage == pytest.approx(base.voltage, abs=1e-6)
    # what is on voxels is in the axes of the file
    assert np.array_equal(other.last("phase"), turned)
    for name in ("c_s", "c_e", "phi_e", "j"):
        np.testing.assert_allclose(other.last(name), turn(base.last(name)), rtol=1e-4, atol=1e-6)
    measured = other.microstructure
    assert measured["shape"] == list(turned.shape)
    assert measured["transport"]["ionic"]["b"] == pytest.approx(
        base.microstructure["transport"]["ionic"]["b"], rel=1e-4
    )


def test_the_way_through_matters(tmp_path: Path, base: Ran, voxels: VoxelImage) -> None:
    """What the test above takes to be equal differs where the image is turned and the case is not."""
    other = run(tmp_path, image=image_file(tmp_path, np.ascontiguousarray(voxels.labels[::-1])))
    assert np.abs(other.voltage[:5] - base.voltage[:5]).max() > 1e-4


def test_axes_and_voxel_size_belong_to_the_array(tmp_path: Path, voxels: VoxelImage) -> None:
    """A file in order z, y, x with flat voxels: its edges move with its axes."""
    stored = np.ascontiguousarray(voxels.labels.transpose(2, 1, 0))
    keys = {"axes": "zyx", "voxel_size": ["1 um", "1 um", "0.5 um"], "crop": [[0, 10], [2, 8], [1, 14]]}
    case = read_case(CASE | {"image": image_file(tmp_path, stored, **keys)}, tmp_path)
    image = build_image(case)
    assert image.voxel_size == pytest.approx((0.5e-6, 1e-6, 1e-6))
    assert np.array_equal(image.labels, voxels.labels[1:, 2:8, :])


def test_coarsening_takes_blocks(tmp_path: Path, base: Ran) -> None:
    coarse = run(tmp_path, image={"generate": RECIPE, "coarsen": 2})
    measured = coarse.microstructure
    assert measured["shape"] == [7, 5, 5]
    assert measured["voxel_size_m"] == pytest.approx([2e-6] * 3)
    assert coarse.summary["thickness_m"] == pytest.approx(14e-6)
    assert coarse.summary["cells"] == (7 + 3) * 25
    # a majority among eight voxels moves fractions by some per cent
    assert measured["phases"]["active"]["volume_fraction"] == pytest.approx(0.5, abs=0.05)
    change = measured["coarsening"]
    assert change["factor"] == 2
    assert change["before"]["volume_fractions"]["active"] == pytest.approx(0.5, abs=1e-3)  # to one voxel
    assert change["after"]["volume_fractions"] == {k: v["volume_fraction"] for k, v in measured["phases"].items()}
    assert (
        change["after"]["area_per_volume_1_m"]["active|pore"] < change["before"]["area_per_volume_1_m"]["active|pore"]
    )
    assert any(line.startswith("coarsen = 2 changed") for line in coarse.summary["warnings"])
    assert "coarsening" not in base.microstructure
    # cells twice as thick beneath the surface: the jump of its concentration is seen later and larger
    assert 0.005 < base.voltage[-1] - coarse.voltage[-1] < 0.05


# materials


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory, base: Ran) -> dict[str, Ran]:
    """The same voxels under each reading of the binder, at the same current."""
    current = f"{base.summary['current_1C_A_m2']!r} A/m^2"
    return {
        reading: run(
            tmp_path_factory.mktemp(reading),
            materials=MATERIALS | {"binder": {"transport": reading}},
            protocol=[{"step": "discharge", "current": current, "until": {"time": "20 s"}}],
        )
        for reading in ("nanoporous", "impermeable", "as-pore", "as-solid")
    }


def test_nanoporous_is_the_default_reading(readings: dict[str, Ran], base: Ran) -> None:
    assert readings["nanoporous"].voltage == pytest.approx(base.voltage, abs=1e-9)


def test_readings_of_the_binder_order_as_they_must(readings: dict[str, Ran]) -> None:
    b = {name: ran.microstructure["transport"]["ionic"]["b"] for name, ran in readings.items()}
    assert b["as-pore"] > b["nanoporous"] > b["impermeable"] == pytest.approx(b["as-solid"], rel=1e-4)
    capacity = {name: ran.summary["current_1C_A_m2"] for name, ran in readings.items()}
    assert capacity["as-solid"] == pytest.approx(1.2 * capacity["nanoporous"], rel=0.02)
    assert capacity["as-pore"] == pytest.approx(capacity["nanoporous"], rel=0.02)
    kinetics = {name: ran.series["loss_kinetics_V"][0] for name, ran in readings.items()}
    # a binder that lets no ions pass covers a third of the surface
    assert kinetics["impermeable"] > 1.2 * kinetics["nanoporous"]
    electronic = {name: ran.series["loss_electronic_V"][-1] for name, ran in readings.items()}
    # without its carbon the electrode conducts worse
    assert electronic["as-pore"] > electronic["nanoporous"]


@pytest.mark.parametrize("reading", ["as-pore", "as-solid"])
def test_a_binder_read_as_another_phase_is_that_phase(
    readings: dict[str, Ran], voxels: VoxelImage, reading: str
) -> None:
    into = {"as-pore": 0, "as-solid": 1}[reading]
    ran = readings[reading]
    expected = np.where(voxels.labels == 2, into, voxels.labels)
    assert np.array_equal(ran.last("phase"), expected)
    assert np.array_equal(np.isfinite(ran.last("c_s")), expected == 1)


@pytest.mark.parametrize(
    ("key", "value", "loss"),
    [
        ("active_coverage", 0.0, "kinetics"),
        ("contact_resistance", "1e-4 ohm m^2", "electronic"),
        ("porosity", 0.1, "electrolyte_ohmic"),
        ("tortuosity", 20.0, "electrolyte_ohmic"),
        ("conductivity", "1e-3 S/m", "electronic"),
    ],
)
def test_each_key_of_the_binder_costs_what_it_is_about(
    tmp_path: Path, base: Ran, key: str, value: float | str, loss: str
) -> None:
    ran = run(tmp_path, materials=MATERIALS | {"binder": {key: value}})
    first, column = base.series, f"loss_{loss}_V"
    assert ran.series[column][0] > 1.02 * first[column][0]


def test_tortuosity_and_bruggeman_say_the_same_of_a_separator(tmp_path: Path, base: Ran) -> None:
    by_factor = {"thickness": "6 um", "porosity": 0.47, "tortuosity": 0.47**-0.5, "layers": 3}
    assert run(tmp_path, materials=MATERIALS | {"separator": by_factor}).voltage == pytest.approx(
        base.voltage, abs=1e-9
    )


def test_a_separator_costs_by_its_length(tmp_path: Path, base: Ran) -> None:
    longer = MATERIALS["separator"] | {"thickness": "60 um"}  # type: ignore[operator]
    ran = run(tmp_path, materials=MATERIALS | {"separator": longer})
    # at t = 0 the salt is uniform, and each layer a resistor: R = L / (kappa b)
    kappa = float(electrolyte("lipf6-nyman2008").conductivity(np.array([1000.0]), 298.15)[0][0])
    expected = base.summary["current_1C_A_m2"] * 54e-6 / (kappa * 0.47**1.5)
    gained = ran.series["loss_electrolyte_ohmic_V"][0] - base.series["loss_electrolyte_ohmic_V"][0]
    # the lines of current that spread into the pores next to it see other layers
    assert gained == pytest.approx(expected, rel=5e-3)


def test_an_own_material_that_repeats_its_base_changes_nothing(tmp_path: Path, base: Ran) -> None:
    own = {"base": "nmc811-chen2020", "conductivity": "0.18 S/m", "stoichiometry": {"soc100": 0.27, "soc0": 0.9084}}
    ran = run(tmp_path, materials=MATERIALS | {"active": own})
    assert ran.voltage == pytest.approx(base.voltage, abs=1e-9)


def test_overrides_of_a_base_take_effect(tmp_path: Path, base: Ran) -> None:
    own = {"base": "nmc811-chen2020", "density": 1.0, "max_concentration": 2.0 * NMC811.max_concentration}
    ran = run(tmp_path, materials=MATERIALS | {"active": own})
    assert ran.summary["current_1C_A_m2"] == pytest.approx(2.0 * base.summary["current_1C_A_m2"], rel=1e-9)
    per_mass = ran.summary["capacity_mAh_g"] / base.summary["capacity_mAh_g"]
    assert per_mass == pytest.approx(2.0 * NMC811.density, rel=1e-8)


def own_material(ocp: dict[str, Any]) -> dict[str, Any]:
    return {
        "max_concentration": "50000 mol/m^3",
        "stoichiometry": {"soc100": 0.3, "soc0": 0.9, "fitted": [0.2, 0.95]},
        "ocp": ocp,
        "diffusivity": {"expr": "4e-15*exp(-x)"},
        "exchange_current": {"rate_constant": 3.42e-6},
        "conductivity": "0.2 S/m",
        "density": "4700 kg/m^3",
    }


def test_an_expression_and_a_table_of_it_give_the_same_cell(tmp_path: Path) -> None:
    x = np.linspace(0.1, 1.0, 401)
    (tmp_path / "ocp.csv").write_text("x,U_V\n" + "\n".join(f"{a!r},{4.5 - 0.8 * a!r}" for a in map(float, x)))
    curves = {"expr": {"expr": "4.5 - 0.8*x"}, "file": {"file": "ocp.csv"}}
    runs = {}
    for name, ocp in curves.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ocp.csv").write_bytes((tmp_path / "ocp.csv").read_bytes())
        runs[name] = run(tmp_path / name, materials=MATERIALS | {"active": own_material(ocp)})
    # a straight line is the same through any of its points
    assert runs["file"].voltage == pytest.approx(runs["expr"].voltage, abs=1e-8)
    series = runs["expr"].series
    total = sum(column for name, column in series.items() if name.startswith("loss_"))
    assert series["voltage_V"] + total == pytest.approx(4.5 - 0.8 * series["x_mean"], abs=1e-7)
    assert series["x_mean"][0] == pytest.approx(0.3, abs=1e-10)


# where it starts, and what 1 C is


def test_initial_voltage_and_stoichiometry_are_two_names_of_a_state(tmp_path: Path) -> None:
    U = open_circuit_at(0.5)
    by_voltage = run(tmp_path / "v", initial={"voltage": f"{U!r} V"})
    by_x = run(tmp_path / "x", initial={"stoichiometry": 0.5})
    by_soc = run(tmp_path / "soc", initial={"soc": (0.9084 - 0.5) / (0.9084 - 0.27)})
    assert by_x.series["x_mean"][0] == pytest.approx(0.5, abs=1e-10)
    assert by_voltage.voltage == pytest.approx(by_x.voltage, abs=1e-8)
    assert by_soc.voltage == pytest.approx(by_x.voltage, abs=1e-8)
    assert by_soc.series["soc"][0] == pytest.approx((0.9084 - 0.5) / (0.9084 - 0.27), abs=1e-9)


def test_an_initial_voltage_out_of_reach_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"initial\.voltage = 5 V is outside"):
        run(tmp_path, initial={"voltage": "5 V"})
    assert not (tmp_path / "results" / "microstructure.json").exists()


def test_one_c_is_what_the_connected_material_holds(base: Ran) -> None:
    connected = base.microstructure["active"]["connected_fraction"]
    assert connected < 1.0
    window = NMC811.stoichiometry_soc0 - NMC811.stoichiometry_soc100
    charge = connected * 0.5 * 14e-6 * NMC811.max_concentration * FARADAY * window
    assert base.summary["current_1C_A_m2"] == pytest.approx(charge / 3600.0, rel=1e-9)
    assert base.summary["active_disconnected_fraction"] == pytest.approx(1.0 - connected, rel=1e-9)


def test_a_declared_capacity_is_what_1_c_means(tmp_path: Path) -> None:
    ran = run(
        tmp_path,
        cell={"capacity": "4 Ah/m^2"},
        protocol=[{"step": "discharge", "rate": "C/2", "until": {"time": "20 s"}}],
    )
    assert ran.summary["current_1C_A_m2"] == pytest.approx(4.0, rel=1e-12)
    assert ran.series["current_A_m2"] == pytest.approx(2.0, rel=1e-9)


# protocols


def test_a_time_is_met_exactly(base: Ran) -> None:
    assert base.summary["stop"] == {"reason": "time", "step": 0, "time_s": 20.0, "message": None}
    assert base.series["time_s"][-1] == 20.0
    charge = base.summary["current_1C_A_m2"] * 20.0 / 3600.0
    assert base.summary["capacity_Ah_m2"] == pytest.approx(charge, rel=1e-12)


def test_a_capacity_is_met_exactly(tmp_path: Path) -> None:
    until = {"capacity": "0.05 Ah/m^2", "time": "1 h", "voltage": "3 V"}
    ran = run(tmp_path, protocol=[{"step": "discharge", "current": "10 A/m^2", "until": until}])
    assert ran.summary["capacity_Ah_m2"] == pytest.approx(0.05, rel=1e-12)
    assert ran.summary["stop"]["reason"] == "capacity"
    assert ran.summary["stop"]["time_s"] == pytest.approx(18.0, rel=1e-12)


@pytest.mark.parametrize(
    ("until", "reason"),
    [
        ({"time": "5 s", "capacity": "0.05 Ah/m^2", "voltage": "3 V"}, "time"),
        ({"time": "20 s", "capacity": "0.01 Ah/m^2", "voltage": "3 V"}, "capacity"),
        ({"time": "20 s", "capacity": "0.05 Ah/m^2", "voltage": "4.21 V"}, "voltage"),
    ],
)
def test_whichever_end_comes_first(tmp_path: Path, until: dict[str, str], reason: str) -> None:
    ran = run(tmp_path, protocol=[{"step": "discharge", "current": "7.5 A/m^2", "until": until}])
    assert ran.summary["stop"]["reason"] == reason
    assert 0.0 < ran.summary["stop"]["time_s"] <= 5.0
    if reason == "voltage":
        assert ran.voltage[-1] == pytest.approx(4.21, abs=1e-9)


@pytest.mark.parametrize("until", ["4.3 V", "3.95 V"])
def test_a_step_whose_limit_is_passed_already_cannot_begin(tmp_path: Path, until: str) -> None:
    # 4.3 V is above the open circuit, which the case tells; 3.95 V is met by the current's own losses alone
    protocol = [
        {"step": "discharge", "rate": "1 C", "until": {"time": "20 s"}},
        {"step": "discharge", "rate": "20 C", "until": {"voltage": until}},
    ]
    with pytest.raises(ImpossibleError, match=r"protocol\.1: this discharge cannot begin: .* past until\.voltage"):
        run(tmp_path, protocol=protocol)


def test_discharge_rest_and_charge(tmp_path: Path) -> None:
    protocol = [
        {"step": "discharge", "rate": "2 C", "until": {"time": "20 s"}},
        {"step": "rest", "until": {"time": "30 s"}},
        {"step": "charge", "rate": "2 C", "until": {"time": "20 s"}},
    ]
    ran = run(tmp_path, initial={"soc": 0.5}, protocol=protocol)
    series = ran.series
    parts = [{name: column[series["step"] == k] for name, column in series.items()} for k in range(3)]
    discharge, rest, charge = parts
    assert [part["time_s"][-1] for part in parts] == [20.0, 50.0, 70.0]
    assert np.all(discharge["current_A_m2"] > 0.0)
    assert rest["current_A_m2"] == pytest.approx(0.0, abs=1e-9)
    assert charge["current_A_m2"] == pytest.approx(-discharge["current_A_m2"][0], rel=1e-9)
    # relaxation: up after a discharge, towards the open circuit of the mean, and no losses are defined
    assert np.all(np.diff(rest["voltage_V"]) > 0.0)
    assert rest["voltage_V"][-1] < open_circuit_at(rest["x_mean"][-1])
    assert np.isnan(rest["loss_kinetics_V"]).all()
    assert np.all(discharge["voltage_V"] < open_circuit_at(0.58920))
    assert charge["voltage_V"][0] > rest["voltage_V"][-1]
    assert np.all(charge["loss_kinetics_V"] < 0.0)
    # what went in came out again
    assert series["x_mean"][-1] == pytest.approx(series["x_mean"][0], abs=1e-9)
    assert ran.summary["capacity_Ah_m2"] == pytest.approx(0.0, abs=1e-9)
    assert ran.summary["mean_voltage_V"] is None
    assert ran.summary["energy_Wh_m2"] < 0.0
    assert ran.summary["lithium_imbalance"] < 1e-10
    assert ran.summary["stop"]["step"] == 2


def test_a_charge_ends_on_its_voltage(tmp_path: Path) -> None:
    limit = open_circuit_at(0.5) + 0.08
    protocol = [{"step": "charge", "rate": "1 C", "until": {"voltage": f"{limit!r} V", "time": "1 h"}}]
    ran = run(tmp_path, initial={"stoichiometry": 0.5}, protocol=protocol)
    assert ran.summary["stop"]["reason"] == "voltage"
    assert ran.voltage[-1] == pytest.approx(limit, abs=1e-9)
    assert np.all(np.diff(ran.voltage) > 0.0)
    assert np.all(np.diff(ran.series["x_mean"]) < 0.0)
    assert ran.summary["capacity_Ah_m2"] < 0.0
    assert ran.summary["energy_Wh_m2"] < 0.0
    assert ran.summary["mean_voltage_V"] == pytest.approx(np.mean(ran.voltage), abs=0.05)


def test_a_slow_discharge_gives_more(tmp_path: Path) -> None:
    capacity, mean = {}, {}
    for rate in ("C/5", "2 C"):
        protocol = [{"step": "discharge", "rate": rate, "until": {"voltage": "3.6 V"}}]
        ran = run(tmp_path / rate.replace("/", "-"), protocol=protocol, output={"every": "10 h"})
        assert ran.summary["stop"]["reason"] == "voltage"
        capacity[rate], mean[rate] = ran.summary["capacity_Ah_m2"], ran.summary["mean_voltage_V"]
        # what the material gives to 3.6 V without any loss, disconnected clusters included
        ideal = (
            (stoichiometry_at_voltage(NMC811, 3.6, 298.15) - 0.27)
            * 0.5
            * 14e-6
            * NMC811.max_concentration
            * FARADAY
            / 3600.0
        )
        assert capacity[rate] < ideal
    assert capacity["2 C"] < 0.97 * capacity["C/5"] < 0.97 * ideal
    assert mean["2 C"] < mean["C/5"] - 0.02


def test_saturation_ends_the_protocol(tmp_path: Path) -> None:
    """Without a limit of the voltage a discharge goes on until the surface takes up no more; no step comes after it."""
    labels = np.zeros((6, 2, 2), np.uint8)
    labels[2:, 0] = 1
    protocol = [{"step": "discharge", "rate": "2 C", "until": {"time": "2 h"}}, DISCHARGE]
    ran = run(
        tmp_path,
        image=image_file(tmp_path, labels, labels={"pore": 0, "active": 1}),
        protocol=protocol,
        output={"every": "10 h"},
    )
    assert (ran.summary["stop"]["reason"], ran.summary["stop"]["step"]) == ("solid saturation", 0)
    told = re.fullmatch(
        r"solid saturation at t = ([\d.]+) s: the surface is full \(x = (?:0\.99\d{4}|1\.000000)\) in a cell of active "
        r"([\d.]+) um from the separator; at this current no more charge passes",
        ran.summary["stop"]["message"],
    )
    assert told, ran.summary["stop"]["message"]
    assert float(told[1]) == pytest.approx(ran.summary["stop"]["time_s"], rel=1e-5)
    # active material begins behind two layers of pore, and its first layer fills first
    assert float(told[2]) == 2.5
    assert ran.series["x_surf_max"][-1] > 0.99
    # 1800 s take x from 0.27 to 0.9084; up to x = 1 is left what the mean lags behind the surface
    assert 1800.0 < ran.summary["stop"]["time_s"] < 1800.0 * (1.0 - 0.27) / (0.9084 - 0.27)


def test_what_cannot_be_solved_is_told_by_step_field_and_place(
    tmp_path: Path, voxels: VoxelImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A material that has no value from some composition on; steps shrink towards it, and then there is an error."""
    evaluate = HalfCell.evaluate

    def undefined(cell: HalfCell, u: np.ndarray, *args: Any, **keys: Any) -> Evaluation:
        evaluation = evaluate(cell, u, *args, **keys)
        if u[cell.layout.x].mean() > 0.272:
            # the pore voxel farthest from the separator
            pores = np.flatnonzero(voxels.labels.reshape(-1) == 0) + 3 * voxels.labels[0].size
            [at] = np.flatnonzero(cell.network.electrolyte_cells == pores[-1])
            evaluation.residual[cell.layout.phi_e][at] = np.nan
        return evaluation

    monkeypatch.setattr(HalfCell, "evaluate", undefined)
    with pytest.raises(NotConvergedError) as failure:
        run(tmp_path)
    told = re.fullmatch(
        rf"{re.escape(str(tmp_path))}/case.toml: protocol.0: at t = ([\d.]+) s, after (\d+) steps, no step of 1e-05 s "
        r"or more converges \(.*not finite.*; the residual is largest in phi_e of a cell of pore ([\d.]+) um from the "
        r"separator\); check the materials' fitted ranges against this rate",
        str(failure.value),
    )
    assert told, failure.value
    assert failure.value.exit_code == 6
    series = read_table(tmp_path / "results" / "timeseries.csv")
    assert float(told[1]) == pytest.approx(series["time_s"][-1], rel=1e-5)
    assert int(told[2]) == len(series["time_s"]) - 1
    assert series["x_mean"][-1] == pytest.approx(0.272, abs=1e-6)
    assert float(told[3]) == np.flatnonzero((voxels.labels == 0).any(axis=(1, 2)))[-1] + 0.5
    assert state_of(tmp_path / "results") == "failed"
    assert not (tmp_path / "results" / "summary.json").exists()


# what is left on disk


def test_fields_are_saved_at_multiples_and_at_both_ends(tmp_path: Path) -> None:
    ran = run(tmp_path, output={"every": "8 s", "fields": ["phi_e"]})
    assert ran.fields.time_values == [0.0, 8.0, 16.0, 20.0]
    assert not {8.0, 16.0} & set(ran.series["time_s"])
    assert set(ran.fields.read()[0].cell_data) == {"phi_e [V]", "phase"}


def test_a_time_that_the_end_all_but_meets_is_the_end(tmp_path: Path) -> None:
    """Names of files tell milliseconds: 19.9996 s and 20 s would be the same one."""
    ran = run(tmp_path, output={"every": 9.9998, "fields": ["c_e"]})
    assert ran.fields.time_values == [0.0, 9.9998, 20.0]
    assert len(list((tmp_path / "results" / "fields").glob("*.vti"))) == 3


TOLERANCES = {"c_e": 0.5, "phi_e": 1e-4, "c_s": 5.0, "phi_s": 1e-4, "j": 0.02}
"""About twice what was found, which is less than what the steps' own errors amount to; c_s moves by 60 in a second."""


@pytest.mark.parametrize("every", [0.02, 1.3, 19.9996])
def test_fields_between_steps_are_those_of_a_run_that_ends_there(tmp_path: Path, every: float) -> None:
    """Interpolated after 0.02 s, 1.3 s and almost 20 s of a discharge at 2 C, against steps that end at that time."""
    rate = {"step": "discharge", "rate": "2 C"}
    fields = ["c_e", "phi_e", "c_s", "phi_s", "j"]
    passes = [{**rate, "until": {"time": 2.9 * every}}]
    through = run(tmp_path / "a", protocol=passes, output={"every": every, "fields": fields})
    lands = [{**rate, "until": {"time": every}}]
    onto = run(tmp_path / "b", protocol=lands, output={"every": None, "fields": fields})
    assert every not in through.series["time_s"]
    reader = through.fields
    reader.set_active_time_value(every)
    between = reader.read()[0].cell_data
    for name, tolerance in TOLERANCES.items():
        [key] = [key for key in between if key.split(" [")[0] == name]
        exact = onto.last(name)
        found = np.asarray(between[key]).reshape(exact.shape, order="F")
        assert np.nanmax(np.abs(found - exact)) <= tolerance, name


def test_without_an_interval_only_the_ends_of_steps_are_saved(tmp_path: Path) -> None:
    protocol = [DISCHARGE, {"step": "rest", "until": {"time": "10 s"}}]
    ran = run(tmp_path, output={"every": None}, protocol=protocol)
    assert sorted(set(ran.fields.time_values)) == [0.0, 20.0, 30.0]
    assert len(list((tmp_path / "results" / "fields").glob("*.vti"))) == 3


def test_the_resolved_case_gives_the_same_result_again(tmp_path: Path, base: Ran) -> None:
    written = json.loads((base.results / "case.resolved.json").read_text())
    again = Ran(tmp_path, run_case(read_case(written, tmp_path), results=tmp_path / "results"))
    assert np.array_equal(again.voltage, base.voltage)
    assert again.summary == base.summary


def test_the_summary_on_disk_is_the_one_returned(base: Ran) -> None:
    written = json.loads((base.results / "summary.json").read_text(), parse_constant=pytest.fail)
    assert written == base.summary
    assert state_of(base.results) == "done"


def test_inputs_are_recorded_by_key(tmp_path: Path, voxels: VoxelImage) -> None:
    case = read_case(CASE | {"image": image_file(tmp_path, voxels.labels)}, tmp_path)
    (tmp_path / "case.toml").write_text("# stands for the file that was read")
    run_case(case, results=tmp_path / "results")
    record = json.loads((tmp_path / "results" / "run.json").read_text())
    assert record["inputs"].keys() == {"image.file", "case.toml"}
    assert record["seed"] is None


def stopped_at(case: Case, results: Path, share: float) -> int:
    """Runs until progress reaches a share, then interrupts; returns how often it was told."""
    told = []

    def progress(done: float, _: str) -> None:
        told.append(done)
        if done >= share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_case(case, results=results, progress=progress)
    return len(told)


def test_an_interrupted_run_says_so_and_leaves_what_it_had(tmp_path: Path) -> None:
    case = read_case(CASE | {"output": {"every": "2 s"}}, tmp_path)
    results = tmp_path / "results"
    stopped_at(case, results, share=0.5)
    record = json.loads((results / "run.json").read_text())
    assert (record["state"], record["error"]) == ("stopped", "interrupted")
    assert not (results / "summary.json").exists()
    series = read_table(results / "timeseries.csv")
    assert 10.0 <= series["time_s"][-1] < 20.0
    assert len(read_table(results / "steps.csv")["time_s"]) == len(series["time_s"]) - 1
    fields = pyvista.get_reader(results / "fields" / "fields.pvd")
    assert len(fields.time_values) >= 5
    for time in fields.time_values:
        fields.set_active_time_value(time)
        assert fields.read()[0].n_cells == np.prod(SHAPE)
    assert not list(results.rglob("*.part"))


def test_an_interruption_at_the_start_leaves_no_number(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert stopped_at(read_case(CASE, tmp_path), results, share=0.0) == 1
    assert state_of(results) == "stopped"
    assert {file.name for file in results.iterdir()} == {"run.json", "case.resolved.json"}


def test_progress_grows_to_one(tmp_path: Path) -> None:
    told: list[float] = []
    protocol = [DISCHARGE, {"step": "rest", "until": {"time": "10 s"}}, DISCHARGE]
    case = read_case(CASE | {"protocol": protocol}, tmp_path)
    run_case(case, results=tmp_path / "results", progress=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    # every part of the protocol has its share of the way
    for k in range(3):
        assert any(k / 3 < share < (k + 0.5) / 3 for share in told)


def test_pictures_are_drawn(base: Ran) -> None:
    for name in ("voltage.png", "sections.png"):
        assert (base.results / name).read_bytes().startswith(b"\x89PNG")


def test_templates_build(tmp_path: Path) -> None:
    """A case as the command line reads it is a case as this module does."""
    import battsim

    template = Path(battsim.__file__).parent / "templates" / "half-cell" / "case.toml"
    (tmp_path / "case.toml").write_bytes(template.read_bytes())
    assert build_image(load_case(tmp_path)).shape == (60, 20, 20)


def test_a_picture_that_fails_costs_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("battsim.run.draw_half_cell", draw_half_cell)
    monkeypatch.setattr("battsim.run.half_cell.voltage_curve", broken)
    told: list[str] = []
    case = read_case(CASE, tmp_path)
    run_case(case, results=tmp_path / "results", progress=lambda _, message: told.append(message))
    assert state_of(tmp_path / "results") == "done"
    assert json.loads((tmp_path / "results" / "summary.json").read_text())["stop"]["reason"] == "time"
    assert any("pictures were not drawn: RuntimeError: no fonts" in message for message in told)


def test_fields_where_two_steps_meet_are_those_of_the_first_ones_end(tmp_path: Path) -> None:
    protocol = [DISCHARGE, {"step": "rest", "until": {"time": "10 s"}}]
    result = run(tmp_path, protocol=protocol)
    reader, net = result.fields, {}
    for time in (20.0, 30.0):
        reader.set_active_time_value(time)
        net[time] = abs(np.nanmean(reader.read()[0]["j [A.m-2]"]))
    # at rest what one surface takes another one gives: a few per cent of the reaction under current remain in the mean
    assert net[30.0] < 0.1 * net[20.0]
