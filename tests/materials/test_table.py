import re

import numpy as np
import pytest

from battsim.errors import InputError
from battsim.materials.table import interpolate, read_table, tabulated


def write(tmp_path, text):
    path = tmp_path / "ocp.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "0.1,4.2\n0.5,3.9\n0.9,3.5\n",
        "x,U\n0.1,4.2\n0.5,3.9\n0.9,3.5\n",
        "# measured\n\nx, U [V]\n 0.1 , 4.2\r\n0.5,3.9\r\n\r\n0.9,3.5",
        "﻿0.1,4.2\n0.5,3.9\n0.9,3.5\n",
    ],
)
def test_rows_are_read(tmp_path, text):
    x, y = read_table(write(tmp_path, text))
    np.testing.assert_array_equal(x, [0.1, 0.5, 0.9])
    np.testing.assert_array_equal(y, [4.2, 3.9, 3.5])


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("x,U\n0.1,4.2\n0.5,abc\n", "line 3, column 2", "'abc' is not a finite number"),
        ("0.1,4.2\nx,3.9\n", "line 2, column 1", "'x' is not a finite number"),
        ("0.1,4.2\n0.5,nan\n", "line 2, column 2", "'nan' is not a finite number"),
        ("0.1,4.2\n0.5,\n", "line 2, column 2", "missing"),
        ("0.1,4.2\n0.5\n", "line 2", "1 columns found"),
        ("0.1,4.2\n0,5,3,9\n", "line 2", "4 columns found"),
        ("0.1,4.2\n0.1,3.9\n", "line 2, column 1", "does not exceed 0.1"),
        ("# c\n0.5,4.2\n\n0.1,3.9\n", "line 4, column 1", "does not exceed 0.5"),
        ("x,U\n0.1,4.2\n", "ocp.csv", "1 row(s)"),
        ("x,U\nx,U\n0.1,4.2\n", "line 2, column 1", "'x' is not"),
        ("", "ocp.csv", "0 row(s)"),
        (b"\xff\xfe0.1", "ocp.csv", "cannot be read"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, text, place, reason):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_table(path)
    for part in (str(path), place, reason):
        assert part in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=re.escape("nothere.csv")):
        read_table(tmp_path / "nothere.csv")


def test_interpolation_meets_the_points_and_stays_monotone():
    x, y = np.array([0.0, 0.1, 0.15, 0.8, 0.9, 1.0]), np.array([4.5, 4.49, 4.0, 3.9, 3.2, 3.0])
    curve = interpolate(x, y)
    np.testing.assert_allclose(curve(x)[0], y, rtol=1e-14)
    fine = np.linspace(0.0, 1.0, 1001)
    assert np.all(curve(fine)[1] <= 1e-12)
    assert np.all(np.diff(curve(fine)[0]) <= 0)


def test_a_straight_line_is_exact_inside_and_outside():
    value, slope = interpolate(np.array([0.2, 0.5, 0.8]), np.array([4.0, 3.7, 3.4]))(np.linspace(-1.0, 2.0, 31))
    np.testing.assert_allclose(value, 4.2 - np.linspace(-1.0, 2.0, 31), rtol=1e-13)
    np.testing.assert_allclose(slope, -1.0, rtol=1e-13)


def test_continuation_keeps_the_slope_of_the_end():
    curve = interpolate(np.array([0.2, 0.5, 0.8]), np.array([4.0, 3.9, 3.2]))
    for end, beyond in ((0.2, np.array([-1.0, 0.1])), (0.8, np.array([0.9, 2.0]))):
        (value, slope), (at_end, end_slope) = curve(beyond), curve(end)
        np.testing.assert_array_equal(slope, end_slope)
        np.testing.assert_allclose(value, at_end + end_slope * (beyond - end), rtol=1e-13)


def test_two_points_suffice():
    value, slope = interpolate(np.array([0.0, 1.0]), np.array([4.0, 3.0]))(np.array([0.25]))
    np.testing.assert_allclose([value[0], slope[0]], [3.75, -1.0])


def test_derivative_and_continuation(assert_derivative, tmp_path):
    x = np.linspace(0.1, 0.9, 17)
    rows = "\n".join(f"{a},{4.3 - a + 0.1 * np.tanh(9 * (a - 0.4))}" for a in x)
    curve, limits = tabulated(write(tmp_path, rows))
    assert limits == (0.1, 0.9)
    between = np.concatenate([[0.0, 0.05], x[:-1] + 0.02, [0.95, 1.0]])  # the second derivative jumps at the rows
    assert_derivative(curve, between, step=1e-3, rtol=1e-9)
    for end in limits:
        np.testing.assert_allclose(curve(np.nextafter(end, 0.0)), curve(np.nextafter(end, 1.0)), rtol=1e-12)


def test_interpolation_error_falls_with_the_rows():
    fine = np.linspace(0.15, 0.85, 500)
    errors = []
    for n in (21, 41):
        x = np.linspace(0.1, 0.9, n)
        errors.append(np.abs(interpolate(x, np.exp(-x))(fine)[0] - np.exp(-fine)).max())
    assert errors[1] < 1e-5
    assert 3.5 < errors[0] / errors[1] < 16.5  # second to fourth order, by the limiter of the slopes
