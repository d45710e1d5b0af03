from pathlib import Path

import numpy as np
import pytest

from battsim.errors import CheckpointError
from battsim.output.tables import TableWriter, read_table
from battsim.post.rows import STEPS_COLUMNS, timeseries_columns


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    with TableWriter(file, ("time_s", "step", "voltage_V", "x")) as table:
        table.append({"time_s": 0.0, "step": 0, "voltage_V": 4.123456789012, "x": None})
        table.append(
            {"x": np.float64("nan"), "voltage_V": float("inf"), "step": np.int64(12345678901), "time_s": 1e-20}
        )
    assert file.read_text() == "time_s,step,voltage_V,x\n0,0,4.123456789,\n1e-20,12345678901,,\n"
    read = read_table(file)
    assert list(read) == ["time_s", "step", "voltage_V", "x"]
    # ten significant digits: half a unit of the last one, relative
    np.testing.assert_allclose(read["voltage_V"], [4.123456789012, np.nan], rtol=5e-10)
    assert np.isnan(read["x"]).all()


def test_each_row_is_on_disk_while_the_table_is_open(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    with TableWriter(file, ("a",)) as table:
        assert read_table(file)["a"].shape == (0,)
        table.append({"a": 1.5})
        assert read_table(file)["a"].tolist() == [1.5]


def test_a_row_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n3,")
    assert read_table(file)["a"].tolist() == [1.0]


@pytest.mark.parametrize("row", [{"a": 1.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "c": 2.0}])
def test_a_row_has_exactly_the_columns(tmp_path: Path, row: dict[str, float]) -> None:
    with TableWriter(tmp_path / "t.csv", ("a", "b")) as table, pytest.raises(KeyError, match=r"differing: (b|c)"):
        table.append(row)


def test_columns_of_the_contract() -> None:
    assert len(timeseries_columns(1)) == len(set(timeseries_columns(1))) == 27
    assert sum(name.startswith("loss_") for name in timeseries_columns(1)) == 6
    assert {"dt_s", "newton_iterations", "linear_iterations", "residual", "lithium_imbalance"} <= set(STEPS_COLUMNS)


def test_a_table_goes_on_behind_the_rows_that_are_kept(tmp_path: Path) -> None:
    file, whole = tmp_path / "t.csv", tmp_path / "whole.csv"
    rows = [{"a": 1.0 / (k + 1), "b": None if k % 3 else k} for k in range(9)]
    for path in (file, whole):
        with TableWriter(path, ("a", "b")) as table:
            for row in rows:
                table.append(row)
            assert table.rows == 9
    with file.open("a") as stream:
        stream.write("0.1,")  # a process that was killed leaves half a row
    for kept in (7, 7, 0):
        with TableWriter(file, ("a", "b"), kept) as table:
            assert table.rows == kept
            assert len(read_table(file)["a"]) == kept
            table.append(rows[kept])
            assert table.rows == kept + 1
    with TableWriter(file, ("a", "b"), 1) as table:
        for row in rows[1:]:
            table.append(row)
    assert file.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is missing, of which 2 rows"),
        ("a,b\n1,2\n3,", "has 1 whole rows, of which 2"),
        ("a,b\n1,2\n", "has 1 whole rows"),
        ("a,c\n1,2\n3,4\n", "does not begin with the columns"),
        ("", "has 0 whole rows"),
    ],
)
def test_a_table_that_lacks_what_is_to_be_kept_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "t.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CheckpointError, match=words):
        TableWriter(file, ("a", "b"), 2)
    assert text is None or file.read_text() == text
