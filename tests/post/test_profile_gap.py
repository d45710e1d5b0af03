import numpy as np
import pytest

from battsim.errors import InputError
from battsim.post.profile_gap import profile_gap

LENGTH, SEPARATOR = 60e-6, 12e-6


def table(n=60, times=(0.0, 300.0, 600.0), shift=0.0, length=LENGTH):
    """Profiles that are straight in depth, so that interpolation is exact; x only behind the separator."""
    depth = (np.arange(n) + 0.5) * length / n
    x = np.where(depth > SEPARATOR, 0.3 + 4e3 * depth, np.nan)
    return {
        "time_s": np.repeat(times, n),
        "depth_m": np.tile(depth, len(times)),
        "c_e_mol_m3_mean": np.concatenate([1000.0 + time - 2e6 * depth + shift for time in times]),
        "phi_e_V_mean": np.tile(-0.01 - 500.0 * depth, len(times)),
        "x_mean": np.tile(x, len(times)),
    }


def between(first, second, spans=((0.0, 700.0), (0.0, 700.0))):
    return profile_gap(first, second, spans)


def test_equal_profiles_do_not_differ():
    for entry in between(table(), table()):
        for field in ("c_e_mol_m3", "phi_e_V", "x"):
            assert entry[field]["mean_difference"] == entry[field]["largest_difference"] == 0.0


def test_a_shift_is_found_on_other_planes_at_common_times_only():
    found = between(table(60), table(75, times=(0.0, 600.0, 650.0), shift=-7.0))
    assert [entry["time_s"] for entry in found] == [0.0, 600.0]
    for entry in found:
        assert entry["c_e_mol_m3"]["mean_difference"] == pytest.approx(-7.0, rel=1e-9)
        assert entry["c_e_mol_m3"]["largest_difference"] == pytest.approx(-7.0, rel=1e-9)
        assert entry["x"]["largest_difference"] == pytest.approx(0.0, abs=1e-12)


def test_the_mean_is_over_the_thickness_whatever_the_planes():
    # planes of a separator that are a tenth as thick as the others
    walls = np.append(np.linspace(0.0, 12e-6, 41), np.linspace(12e-6, 60e-6, 17)[1:])
    depth = 0.5 * (walls[1:] + walls[:-1])
    fine = {"time_s": np.zeros(56), "depth_m": depth, "c_e_mol_m3_mean": np.where(depth < 12e-6, 0.0, 10.0)}
    flat = {name: np.zeros(56) for name in ("phi_e_V_mean", "x_mean")}
    found = between({**fine, **flat, "c_e_mol_m3_mean": np.zeros(56)}, {**fine, **flat}, ((0.0, 1.0),) * 2)
    # 48 of 60 um; the two planes at the step have widths of neighbours
    assert found[0]["c_e_mol_m3"]["mean_difference"] == pytest.approx(8.0, abs=0.2)


def test_the_worst_place_is_named():
    other = table()
    other["phi_e_V_mean"][60 + 40] -= 0.003
    found = between(table(), other)
    assert found[1]["phi_e_V"]["largest_difference"] == pytest.approx(-0.003)
    assert found[1]["phi_e_V"]["largest_at_m"] == pytest.approx(40.5e-6)
    assert found[0]["phi_e_V"]["largest_difference"] == 0.0


def test_nothing_is_interpolated_across_a_separator():
    first, other = table(60, times=(0.0,)), table(30, times=(0.0,))
    for columns, n in ((first, 60), (other, 30)):
        depth = columns["depth_m"]
        # the negative electrode is full and the positive one empty: a bridge would find 0.5 between them
        columns["x_mean"] = np.where(depth < 20e-6, 1.0, np.where(depth > 40e-6, 0.0, np.nan))
        assert n == depth.size
    found = between(first, other, ((0.0, 1.0),) * 2)
    assert found[0]["x"]["largest_difference"] == 0.0


def test_a_field_without_common_depths_has_no_difference():
    other = table()
    other["x_mean"] = np.full_like(other["x_mean"], np.nan)
    assert between(table(), other)[0]["x"] is None


def test_times_count_from_the_step_and_its_first_profile_is_that_of_the_step_before():
    late = table(times=(0.0, 1000.0, 1300.0), shift=-300.0)
    found = between(table(), late, ((0.0, 700.0), (1000.0, 1700.0)))
    assert [entry["time_s"] for entry in found] == [300.0]
    assert found[0]["c_e_mol_m3"]["mean_difference"] == pytest.approx(1300.0 - 300.0 - 300.0)


def test_cells_of_other_thickness_are_refused():
    with pytest.raises(InputError, match="60 and 70 um thick"):
        between(table(), table(length=70e-6))
    assert between(table(), table(71, length=60.3e-6))
