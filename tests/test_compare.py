import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from battsim import cli
from battsim.cli.sources import read_source
from battsim.errors import InputError
from battsim.output.tables import TableWriter, read_table
from battsim.post.rows import LOSSES

CURRENT, ONE_C = 24.0, 30.0
"""A/m2"""
DIGITS = 5e-9
"""Of voltages in tables, with what interpolation adds, V."""


def battsim(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="battsim")


def answer(*arguments: object) -> dict[str, Any]:
    """The one object of a comparison that succeeds."""
    result = battsim("compare", *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    content = json.loads(result.stdout, parse_constant=pytest.fail)
    assert isinstance(content, dict)
    return content


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "error: " in result.stderr or "Error" in result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr


def write(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with TableWriter(path, list(columns)) as table:
        for row in zip(*columns.values(), strict=True):
            table.append(dict(zip(columns, map(float, row), strict=True)))
    return path


def timeseries(
    end: float = 20.0, shift: float = 0.0, current: float = CURRENT, loss: float = 0.01, x: float = 0.27
) -> dict[str, Any]:
    """A rest of a minute and a discharge (a charge where the current is negative) whose voltage is straight."""
    share, sign = np.linspace(0.0, 1.0, 50), np.sign(current)
    seconds = end * 3600.0 / abs(current)
    capacity = sign * end * share
    columns = {
        "time_s": 60.0 + seconds * share,
        "step": np.ones(50),
        "current_A_m2": np.full(50, current),
        "voltage_V": 4.2 - 0.04 * capacity + shift,
        "capacity_Ah_m2": capacity,
        "soc": 1.0 - 0.9 * share,
        "x_mean": x + 0.02 * capacity,
        "temperature_K": np.full(50, 298.15),
        "c_e_max_mol_m3": np.full(50, 1000.0),
        **{f"loss_{name}_V": np.full(50, loss * (k + 1)) for k, name in enumerate(LOSSES)},
    }
    rest = {"time_s": [0.0, 60.0], "step": [0.0, 0.0], "current_A_m2": [0.0, 0.0], "capacity_Ah_m2": [0.0, 0.0]}
    return {name: np.append(rest.get(name, [values[0]] * 2), values) for name, values in columns.items()}


def planes(n: int = 36, shift: float = 0.0) -> dict[str, Any]:
    depth, times = (np.arange(n) + 0.5) * 72e-6 / n, (0.0, 60.0, 360.0, 660.0)
    return {
        "time_s": np.repeat(times, n),
        "depth_m": np.tile(depth, 4),
        "c_e_mol_m3_mean": np.tile(1000.0 - 1e6 * depth, 4) + shift,
        "phi_e_V_mean": np.tile(-100.0 * depth, 4),
        "x_mean": np.tile(np.where(depth > 12e-6, 0.4, np.nan), 4),
    }


def case(folder: Path, state: str = "done", **changes: Any) -> Path:
    """A case directory as a run leaves it, as far as it is compared."""
    results = folder / "results"
    write(results / "timeseries.csv", timeseries(**changes))
    write(results / "profiles.csv", planes())
    write(results / "timeseries_p2d_image.csv", timeseries(**{"shift": 0.01, "loss": 0.012, **changes}))
    write(results / "profiles_p2d_image.csv", planes(30, shift=-5.0))
    write(results / "ladder" / "timeseries_b.csv", timeseries(shift=-0.02))
    (results / "run.json").write_text(json.dumps({"state": state}))
    (results / "summary.json").write_text(json.dumps({"kind": "resolved", "current_1C_A_m2": ONE_C}))
    return folder


def measured(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return case(tmp_path / "one")


# what it finds


def test_a_result_has_no_gap_to_itself(one: Path) -> None:
    found = answer(one, one)
    assert found["voltage_rms_V"] == found["mean_voltage_difference_V"] == found["largest_voltage_difference_V"] == 0.0
    assert found["capacity_ratio"] == 1.0
    assert found["warnings"] == []
    assert found["A"] == found["B"]


def test_differences_are_b_minus_a(one: Path, tmp_path: Path) -> None:
    found = answer(one, case(tmp_path / "two", end=19.0, shift=-0.015, loss=0.014))
    assert found["differences"] == "B minus A"
    # straight lines, written with ten digits
    assert found["voltage_rms_V"] == pytest.approx(0.015, abs=DIGITS)
    assert found["mean_voltage_difference_V"] == pytest.approx(-0.015, abs=DIGITS)
    assert found["largest_voltage_difference_V"] == pytest.approx(-0.015, abs=DIGITS)
    assert found["capacity_ratio"] == pytest.approx(0.95)
    assert (found["A"]["capacity_Ah_m2"], found["B"]["capacity_Ah_m2"]) == (20.0, 19.0)
    for k, name in enumerate(LOSSES):
        loss = found["losses"][name]
        assert loss["A_mean_V"] == pytest.approx(0.010 * (k + 1))
        assert loss["B_mean_V"] == pytest.approx(0.014 * (k + 1))
        assert loss["difference_V"] == pytest.approx(0.004 * (k + 1))


def test_the_window_is_that_of_the_summary(one: Path) -> None:
    window = answer(one, one)["window"]
    # 60 s at 1 C are the same charge at every rate
    assert window["start_Ah_m2"] == pytest.approx(ONE_C / 60.0)
    assert window["end_Ah_m2"] == pytest.approx(0.95 * 20.0)
    assert (window["current_1C_A_m2"], window["current_1C_from"]) == (ONE_C, "A")


@pytest.mark.parametrize("place", ["", "results", "results/timeseries.csv"])
def test_a_case_its_results_and_their_table_are_one_thing(one: Path, place: str) -> None:
    found = answer(one / place, one / "results" / "timeseries_p2d_image.csv")
    assert found["A"]["table"] == str(one / "results" / "timeseries.csv")
    assert (found["A"]["name"], found["B"]["name"]) == ("one", "one, p2d_image")
    assert found["mean_voltage_difference_V"] == pytest.approx(0.01, abs=DIGITS)
    assert found["window"]["current_1C_from"] == "A"


def test_a_baseline_brings_its_own_profiles(one: Path) -> None:
    found = answer(one, one / "results" / "timeseries_p2d_image.csv")["profiles"]
    # the step begins at 60 s, where the profile is that of the rest before it
    assert [entry["time_s"] for entry in found] == [300.0, 600.0]
    for entry in found:
        assert entry["c_e_mol_m3"]["mean_difference"] == pytest.approx(-5.0, rel=1e-6)
        assert entry["phi_e_V"]["largest_difference"] == pytest.approx(0.0, abs=1e-9)
        assert entry["x"]["mean_difference"] == 0.0


def test_a_rung_of_the_ladder_is_compared_too(one: Path) -> None:
    found = answer(one / "results" / "ladder" / "timeseries_b.csv", one)
    assert found["mean_voltage_difference_V"] == pytest.approx(0.02, abs=DIGITS)
    assert found["A"]["name"] == "one, b"
    assert found["window"]["current_1C_from"] == "A"
    assert found["profiles"] == []


def test_charge_is_compared_as_well(tmp_path: Path) -> None:
    first, second = case(tmp_path / "a", current=-CURRENT), case(tmp_path / "b", current=-CURRENT, shift=0.02)
    found = answer(first, second)
    assert found["A"]["direction"] == "charge"
    assert found["mean_voltage_difference_V"] == pytest.approx(0.02, abs=DIGITS)
    assert found["A"]["mean_current_A_m2"] == pytest.approx(CURRENT)


def test_the_first_step_that_passes_charge_is_taken_unless_one_is_named(one: Path) -> None:
    assert answer(one, one)["A"]["step"] == 1
    assert answer(one, one, "--step", 1)["B"]["step"] == 1
    refused(battsim("compare", one, one, "--step", 0), 4, "timeseries.csv", "step 0 does not pass charge", "three rows")
    refused(battsim("compare", one, one, "--step", 7), 2, "--step 7 is no step of", "which has 0, 1")
    refused(battsim("compare", one, one, "--step", -1), 2, "--step")


# measured files


def test_a_measured_capacity_is_compared(one: Path, tmp_path: Path) -> None:
    rows = "".join(f"{q},{4.2 - 0.04 * q + 0.003}\n" for q in np.linspace(0.0, 18.0, 200))
    found = answer(one, measured(tmp_path / "m.csv", f"capacity_Ah_m2,voltage_V\n{rows}"))
    assert found["mean_voltage_difference_V"] == pytest.approx(0.003, abs=DIGITS)
    assert found["capacity_ratio"] == pytest.approx(0.9)
    assert found["B"]["name"] == "m.csv"
    assert (found["B"]["step"], found["B"]["mean_current_A_m2"], found["losses"]) == (None, None, {})
    assert found["profiles"] == []
    assert ["its current is not known" in text or "could not be checked" in text for text in found["warnings"]] == [
        True,
        True,
    ]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_measured_current_is_integrated(tmp_path: Path, sign: float) -> None:
    time = np.linspace(0.0, 3000.0, 301)
    current = sign * np.linspace(20.0, 28.0, 301)
    # trapezoids are exact for a straight current: 24 A/m2 over 3000 s are 20 Ah/m2
    capacity = np.cumsum(np.append(0.0, 0.5 * (current[1:] + current[:-1]) * 10.0)) / 3600.0
    columns = {"time_s": time, "current_A_m2": current, "voltage_V": 4.2 - 0.04 * capacity}
    file = write(tmp_path / "m.csv", columns)
    found = answer(case(tmp_path / "one", current=sign * CURRENT), file)
    assert found["B"]["capacity_Ah_m2"] == pytest.approx(20.0, rel=1e-9)
    assert found["B"]["direction"] == ("discharge" if sign > 0 else "charge")
    assert found["voltage_rms_V"] == pytest.approx(0.0, abs=1e-8)
    assert found["B"]["mean_current_A_m2"] == pytest.approx(CURRENT)


def test_a_rest_before_a_measured_discharge_counts_for_nothing(one: Path, tmp_path: Path) -> None:
    time = np.array([0.0, 1800.0, 3600.0, *(3600.0 + np.linspace(0.0, 3000.0, 40))])
    current = np.append(np.zeros(3), np.full(40, CURRENT))
    capacity = np.append(np.zeros(3), 20.0 * np.linspace(0.0, 1.0, 40))
    columns = {"time_s": time, "current_A_m2": current, "voltage_V": 4.2 - 0.04 * capacity}
    found = answer(write(tmp_path / "m.csv", columns), one)
    assert found["A"]["mean_current_A_m2"] == pytest.approx(CURRENT)
    assert found["window"]["start_Ah_m2"] == pytest.approx(ONE_C / 60.0)
    assert found["voltage_rms_V"] == pytest.approx(0.0, abs=DIGITS)


def test_two_measured_files_share_the_window_of_a_nominal_hour(tmp_path: Path) -> None:
    rows = "".join(f"{q},{4.2 - 0.04 * q}\n" for q in np.linspace(0.0, 18.0, 200))
    file = measured(tmp_path / "m.csv", f"capacity_Ah_m2,voltage_V\n{rows}")
    window = answer(file, file)["window"]
    assert window["start_Ah_m2"] == pytest.approx(18.0 / 60.0)
    assert window["current_1C_from"] == "capacity of A in one hour"


def test_a_measured_file_may_come_first_without_time(one: Path, tmp_path: Path) -> None:
    rows = "".join(f"{q},{4.2 - 0.04 * q}\n" for q in np.linspace(0.0, 20.0, 200))
    window = answer(measured(tmp_path / "m.csv", f"capacity_Ah_m2,voltage_V\n{rows}"), one)["window"]
    assert window["start_Ah_m2"] == pytest.approx(ONE_C / 60.0)
    assert window["current_1C_from"] == "B"


def test_a_copied_table_and_one_of_a_spreadsheet_are_read(one: Path, tmp_path: Path) -> None:
    shutil.copy(one / "results" / "timeseries.csv", tmp_path / "copy.csv")
    assert answer(one, tmp_path / "copy.csv")["voltage_rms_V"] == 0.0
    text = (tmp_path / "copy.csv").read_text().replace("\n", "\r\n").rstrip()
    (tmp_path / "sheet.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    # its last line, which has no end, counts
    assert answer(one, tmp_path / "sheet.csv")["capacity_ratio"] == 1.0


ROWS = "0,4.2\n5,4.0\n10,3.8\n20,3.4\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("capacity_mAh_cm2,voltage_V\n" + ROWS, ["not understood: capacity_mAh_cm2", "1 mAh/cm2 = 10 Ah/m2"]),
        ("capacity_Ah_m2,voltage_mV\n" + ROWS, ["line 1", "voltage_mV", "voltage_V and capacity_Ah_m2", "0.001 V"]),
        ("capacity_Ah_m2,time_s\n" + ROWS, ["lacks a column", "found: capacity_Ah_m2, time_s"]),
        ("time_s,voltage_V\n" + ROWS, ["lacks a column", "current_A_m2 (positive in discharge)"]),
        ("capacity_Ah_m2,voltage_V,T\n0,4.2,25\n1,4,25\n2,3,25\n", ["not understood: T", "leave others out"]),
        ("capacity_Ah_m2;voltage_V\n0;4,2\n", ["separated by commas"]),
        ("voltage_V,voltage_V\n1,2\n", ["names voltage_V twice"]),
        ("capacity_Ah_m2,voltage_V\n0,4.2\n5,low\n", ["line 3 has 'low' under voltage_V"]),
        ("capacity_Ah_m2,voltage_V\n0,4.2\n5\n", ["line 3 has 1 cells under 2 names"]),
        ("capacity_Ah_m2,voltage_V\n0,4.2\n5,\n10,3.8\n", ["voltage_V is empty or not finite in row 2"]),
        ("capacity_Ah_m2,voltage_V\n0,4200\n5,4000\n9,3800\n", ["voltage_V reaches 4200", "convert it to V"]),
        ("capacity_Ah_m2,voltage_V\n", ["holds no rows of numbers"]),
        ("", ["holds no rows of numbers"]),
        ("capacity_Ah_m2,voltage_V\n0,4.2\n5,4\n3,3.9\n", ["it does not pass charge in one direction"]),
        ("time_s,current_A_m2,voltage_V\n0,20,4\n9,20,3.9\n8,20,3.8\n", ["time_s falls in row 3"]),
        ("time_s,current_A_m2,voltage_V\n0,-20,4\n9,-20,3.9\n20,-20,3.8\n", ["falls by 200 mV", "change their sign"]),
        ("capacity_Ah_m2,voltage_V\n0,4.2\n.1,4\n.2,3.9\n", ["nothing to compare"]),
    ],
)
def test_what_is_not_understood_is_refused(one: Path, tmp_path: Path, text: str, words: list[str]) -> None:
    file = measured(tmp_path / "m.csv", text)
    place = [] if "nothing to compare" in words else ["m.csv"]
    refused(battsim("compare", one, file), 4, *place, *words)


def test_places_that_hold_no_curve_are_refused(one: Path, tmp_path: Path) -> None:
    refused(battsim("compare", one, tmp_path / "nowhere"), 4, "nowhere does not exist", "measured CSV")
    refused(battsim("compare", one, tmp_path), 4, "name a case directory with results")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "case.toml").touch()
    refused(battsim("compare", one, tmp_path / "new"), 4, "battsim run")
    (tmp_path / "tau" / "results").mkdir(parents=True)
    (tmp_path / "tau" / "results" / "summary.json").write_text("{}")
    refused(battsim("compare", one, tmp_path / "tau"), 4, "no voltage to compare")
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00")
    refused(battsim("compare", one, tmp_path / "odd.csv"), 4, "odd.csv", "UTF-8")
    (one / "results" / "summary.json").write_text("[")
    refused(battsim("compare", one, one), 4, "summary.json is damaged")
    refused(battsim("compare", one), 2)


def test_a_running_table_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    running = case(tmp_path / "one", state="running")
    with (running / "results" / "timeseries.csv").open("a") as stream:
        stream.write("99999,1,24")
    assert read_source(running).columns["time_s"][-1] < 99999.0
    warnings = answer(running, running)["warnings"]
    assert warnings == [f"{letter}: its run is running, so its curve may end too early" for letter in "AB"]
    (running / "results" / "run.json").write_text('{"state": "done"}')
    with pytest.raises(InputError, match=r"line 54 has 3 cells"):
        read_source(running)


# what else differs


def test_opposite_directions_are_refused(one: Path, tmp_path: Path) -> None:
    other = case(tmp_path / "two", current=-CURRENT)
    refused(battsim("compare", one, other), 2, "A is a discharge and B is a charge", "--step")


def test_other_currents_and_other_starts_are_told(one: Path, tmp_path: Path) -> None:
    other = case(tmp_path / "two", current=2.0 * CURRENT, x=0.35)
    warnings = answer(one, other)["warnings"]
    assert "the mean currents differ: 24 A/m2 in A, 48 A/m2 in B (+100.0%)" in warnings[0]
    assert "x_mean is 0.27 in A and 0.35 in B" in warnings[1]
    assert len(warnings) == 2
    assert "warning: the mean currents differ" in battsim("compare", one, other).stderr
    assert answer(one, case(tmp_path / "near", current=1.002 * CURRENT))["warnings"] == []


def test_other_temperature_and_salt_are_told(one: Path, tmp_path: Path) -> None:
    columns = timeseries() | {"temperature_K": np.full(52, 318.15), "c_e_max_mol_m3": np.full(52, 1200.0)}
    for source in (one, tmp_path / "two"):
        case(source)
    # steps that begin with the run: the rest is left out
    first = {name: values[2:] for name, values in timeseries().items()}
    write(one / "results" / "timeseries.csv", first)
    write(tmp_path / "two" / "results" / "timeseries.csv", {name: values[2:] for name, values in columns.items()})
    warnings = answer(one, tmp_path / "two")["warnings"]
    assert ["temperature_K is 298.1" in warnings[0], "1000 mol/m3 of salt in A and 1200" in warnings[1]] == [True, True]


def test_profiles_of_other_cells_are_left_out_with_a_word(one: Path, tmp_path: Path) -> None:
    other = case(tmp_path / "two")
    thick = planes() | {"depth_m": 2.0 * planes()["depth_m"]}
    write(other / "results" / "profiles.csv", thick)
    found = answer(one, other)
    assert found["profiles"] == []
    assert "72 and 144 um thick" in found["warnings"][0]
    write(other / "results" / "profiles.csv", planes() | {"time_s": planes()["time_s"] + 7.0})
    assert "no common time" in answer(one, other)["warnings"][0]
    write(other / "results" / "profiles.csv", {"time_s": [0.0], "depth_m": [0.0]})
    assert "lack c_e_mol_m3_mean" in answer(one, other)["warnings"][0]


# files and print


def test_files_hold_the_difference_and_a_picture(one: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "gap"
    found = answer(one, one / "results" / "timeseries_p2d_image.csv", "--out", out)
    assert found["files"] == [str(out / "gap.csv"), str(out / "gap.png")]
    table = read_table(out / "gap.csv")
    np.testing.assert_allclose(table["B_difference_V"], 0.01, atol=1e-9)
    np.testing.assert_allclose(table["B_more_kinetics_V"], 0.006, atol=1e-9)
    assert table["capacity_Ah_m2"][0] == pytest.approx(found["window"]["start_Ah_m2"])
    assert (out / "gap.png").read_bytes().startswith(b"\x89PNG")
    assert battsim("compare", one, one, "--out", out).exit_code == 0  # its own files may be replaced


def test_results_are_never_written_over(one: Path, tmp_path: Path) -> None:
    refused(battsim("compare", one, one, "--out", one / "results"), 2, "results of a run", "another directory")
    (tmp_path / "file").touch()
    refused(battsim("compare", one, one, "--out", tmp_path / "file"), 2, "is a file")


def test_the_print_is_a_table_with_units(one: Path) -> None:
    lines = battsim("compare", one, one / "results" / "timeseries_p2d_image.csv").stdout.splitlines()
    assert lines[0].endswith("timeseries.csv, step 1: discharge at 24 A/m2, 20 Ah/m2")
    assert lines[2] == "B minus A, at equal capacity from 0.5 to 19 Ah/m2:"
    assert [line.split() for line in lines if "voltage" in line] == [
        ["voltage,", "rms", "10.00", "mV"],
        ["voltage,", "mean", "+10.00", "mV"],
        ["voltage,", "largest", "+10.00", "mV", "at", *lines[5].split()[-2:]],
    ]
    assert ["kinetics", "30.00", "36.00", "+6.00"] in [line.split() for line in lines]
    assert any(line.startswith("  300 s") and "-5 (-5)" in line for line in lines)


def test_help_has_an_example() -> None:
    result = battsim("compare", "--help")
    assert result.exit_code == 0
    assert "battsim compare" in result.stdout.split("Example")[1]
    assert "--json" in result.stdout
