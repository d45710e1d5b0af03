import json
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from battsim.output import gap_pictures as pictures
from battsim.output.gap_pictures import BASELINES, Line, draw_baselines, ladder, profiles, voltage_gap, walls
from battsim.output.pictures import VOLTAGE
from battsim.output.tables import TableWriter

SEPARATOR, LENGTH = 12e-6, 72e-6
RUNGS = [
    {"rung": "bruggeman", "mean_voltage_V": 3.800, "capacity_Ah_m2": 20.0},
    {"rung": "+b", "mean_voltage_V": 3.790, "capacity_Ah_m2": 19.0},
    {"rung": "+a", "mean_voltage_V": 3.785, "capacity_Ah_m2": 18.8},
    {"rung": "resolved", "mean_voltage_V": 3.792, "capacity_Ah_m2": 19.4},
]


@pytest.fixture
def drawn(monkeypatch):
    """The last figure, after it was saved."""
    kept, figure_of = SimpleNamespace(figure=None), pictures.figure_of

    @contextmanager
    def keeping(size):
        with figure_of(size) as figure:
            yield figure
            kept.figure = figure

    monkeypatch.setattr(pictures, "figure_of", keeping)
    return kept


def planes(n=36, times=(0.0, 300.0, 600.0, 900.0), spread=0.0, dead=False):
    """Profiles that are straight in depth: at late times steeper; x only behind the separator."""
    depth = (np.arange(n) + 0.5) * LENGTH / n
    base = {
        "c_e_mol_m3": (lambda t: 1000.0 + t * (0.5 - depth / LENGTH), 30.0),
        "phi_e_V": (lambda t: -0.01 - 500.0 * depth + 0.0 * t, 0.002),
        "phi_s_V": (lambda t: np.where(depth > SEPARATOR, 3.8 + 0.0 * t, np.nan), 0.0),
        "x": (lambda t: np.where(depth > SEPARATOR, 0.3 + 5e-4 * t, np.nan), 0.05),
    }
    columns = {"time_s": np.repeat(times, n), "depth_m": np.tile(depth, len(times))}
    for name, (mean_at, std) in base.items():
        mean = np.concatenate([mean_at(time) for time in times])
        columns |= {f"{name}_mean": mean, f"{name}_std": 0.0 * mean + spread * std}
        columns |= {f"{name}_min": mean - 2.0 * spread * std, f"{name}_max": mean + 2.0 * spread * std}
    if dead:
        columns["phi_e_V_min"][20::n] = -0.5
    return columns


def write(path, columns):
    with TableWriter(path, list(columns)) as table:
        for row in zip(*columns.values(), strict=True):
            table.append(dict(zip(columns, map(float, row), strict=True)))


def results(folder, **changes):
    """What a run with baselines leaves, as far as the pictures read it: a rest, and a discharge as step 1."""
    share = np.linspace(0.0, 1.0, 40)
    curve = {
        "step": np.append([0.0, 0.0], np.ones(40)),
        "capacity_Ah_m2": np.append([2.0, 2.0], 2.0 + 20.0 * share),
        "voltage_V": np.append([4.2, 4.2], 4.1 - 0.5 * share),
    }
    gap = {"capacity_Ah_m2": 0.3 + 18.0 * share}
    write(folder / "timeseries.csv", curve)
    write(folder / "profiles.csv", planes(spread=1.0))
    for k, name in enumerate(BASELINES):
        write(folder / f"timeseries_{name}.csv", curve | {"voltage_V": curve["voltage_V"] + 0.01 * (1 - 2 * k)})
        write(folder / f"profiles_{name}.csv", planes(48))
        gap[f"{name}_difference_V"] = np.full(40, 0.01 * (1 - 2 * k))
    write(folder / "gap.csv", gap)
    summary = {"baselines": {name: {} for name in BASELINES}, "ladder": RUNGS, "compared_step": 1, **changes}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def styles(axes):
    """Colour of each line by its label."""
    return {line.get_label(): to_hex(line.get_color()) for line in axes.get_lines()}


# all of a run


def test_a_run_with_baselines_has_three_pictures(tmp_path):
    files = draw_baselines(results(tmp_path), title="a title")
    assert [file.name for file in files] == ["gap.png", "ladder.png", "profiles.png"]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size > 20_000


def test_a_run_without_a_compared_step_has_profiles_only(tmp_path):
    assert [file.name for file in draw_baselines(results(tmp_path, ladder=[], baselines={}))] == ["profiles.png"]


def test_a_run_without_common_times_has_no_profiles(tmp_path):
    folder = results(tmp_path)
    write(folder / "profiles.csv", planes(times=(0.0, 310.0)))
    assert [file.name for file in draw_baselines(folder)] == ["gap.png", "ladder.png"]


def test_a_run_that_no_homogenised_cell_stands_for_has_no_pictures(tmp_path):
    folder = results(tmp_path, ladder=[], baselines={})
    for name in BASELINES:
        (folder / f"profiles_{name}.csv").unlink()
    assert draw_baselines(folder) == []


def test_curves_are_of_the_compared_step_and_begin_at_no_charge(tmp_path):
    curves, differences = pictures._lines(results(tmp_path), 1)
    assert [line.name for line in curves] == ["resolved", "P2D, Bruggeman", "P2D, from the image"]
    for line in curves:
        assert (line.along[0], line.along[-1], line.along.size) == (0.0, pytest.approx(2.0), 40)  # mAh/cm2
    assert curves[2].values[0] == pytest.approx(4.09)
    assert [line.values[0] for line in differences] == pytest.approx([0.01, -0.01])


# the gap


def test_differences_are_drawn_in_millivolts_in_the_colours_of_their_curves(tmp_path, drawn):
    capacity = np.linspace(0.0, 20.0, 30)
    first = Line("one", capacity, 4.0 - 0.02 * capacity, VOLTAGE)
    other = Line("two", capacity, first.values - 0.007, "#2a6f97", (0, (5, 2)))
    voltage_gap(tmp_path / "g.png", [first, other], [Line("two", capacity, 0.0 * capacity - 0.007, "#2a6f97")])
    top, bottom = drawn.figure.axes
    assert styles(top) == {"one": VOLTAGE, "two": "#2a6f97"}
    line = next(line for line in bottom.get_lines() if line.get_label() == "two")
    np.testing.assert_allclose(line.get_ydata(), -7.0)
    assert line.get_xdata()[-1] == pytest.approx(2.0)
    assert top.get_ylabel() == "voltage (V)"
    assert "(mV)" in bottom.get_ylabel()
    assert "mAh/cm²" in bottom.get_xlabel()


# the ladder


def test_bars_lead_from_the_first_rung_to_the_last(tmp_path, drawn):
    ladder(tmp_path / "l.png", RUNGS)
    expected = {"(mV)": (0.0, -10.0, -15.0, -8.0), "(%)": (0.0, -5.0, -6.0, -3.0)}
    for axes, (unit, levels) in zip(drawn.figure.axes, expected.items(), strict=True):
        assert axes.get_xlabel().endswith(unit)
        *steps, total = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
        np.testing.assert_allclose(steps, list(pairwise(levels)), atol=1e-9)
        np.testing.assert_allclose(total, (0.0, levels[-1]), atol=1e-9)
        signs = [to_hex(bar.get_facecolor()) for bar in axes.patches]
        assert signs == [pictures.LOWERS, pictures.LOWERS, pictures.RAISES, VOLTAGE]
        marks = {line.get_label(): line.get_xdata()[0] for line in axes.get_lines() if line.get_label()[0] != "_"}
        assert marks == {"P2D, Bruggeman": pytest.approx(0.0), "P2D, from the image": pytest.approx(levels[2])}
    labels = [text.get_text() for text in drawn.figure.axes[0].texts]
    assert labels == ["−10.0", "−5.0", "+7.0", "−8.0"]
    names = [text.get_text() for text in drawn.figure.axes[0].get_yticklabels()]
    assert names == ["+ ionic transport b", "+ reacting area a", "+ 3-D structure", "sum: resolved"]
    assert drawn.figure.axes[0].yaxis_inverted()


def test_rungs_of_other_names_and_without_effect_are_drawn(tmp_path, drawn):
    same = [{"rung": name, "mean_voltage_V": 3.8, "capacity_Ah_m2": 20.0} for name in ("bruggeman", "+new")]
    ladder(tmp_path / "l.png", same)
    assert [text.get_text() for text in drawn.figure.axes[0].get_yticklabels()] == ["+ +new", "sum"]


# profiles


def test_walls_of_uneven_planes_are_found_from_their_centres():
    ends = np.array([0.0, 3.0, 5.0, 5.5, 9.0, 9.2])
    np.testing.assert_allclose(walls(0.5 * (ends[1:] + ends[:-1])), ends, atol=1e-12)


def test_a_separator_is_where_nothing_holds_lithium():
    ((low, high),) = pictures.separator_spans(planes(36))
    assert (low, high) == (pytest.approx(0.0), pytest.approx(SEPARATOR))
    full = planes(36, times=(0.0,))
    full["x_mean"] = np.where(np.abs(full["depth_m"] - 36e-6) < 8e-6, np.nan, 0.5)
    ((low, high),) = pictures.separator_spans(full)
    assert (low, high) == (pytest.approx(28e-6), pytest.approx(44e-6))


def test_times_are_early_middle_and_late_among_those_that_all_have():
    def at(*times):
        return {"time_s": np.repeat(times, 3)}

    every = at(0.0, *np.arange(100.0, 1300.0, 100.0))
    assert pictures.shown_times([every, every]) == [100.0, 600.0, 1100.0]
    assert pictures.shown_times([every, at(0.0, 100.0, 400.0, 610.0)]) == [100.0, 400.0]
    assert pictures.shown_times([at(0.0, 50.0), at(0.0, 60.0)]) == []


def test_profiles_show_mean_band_extremes_and_both_baselines(tmp_path, drawn):
    resolved, others = planes(spread=1.0), {name: planes(48) for name in BASELINES}
    profiles(tmp_path / "p.png", resolved, others, (300.0, 900.0))
    grid = np.array(drawn.figure.axes).reshape(3, 2)
    mean = next(line for line in grid[0, 1].get_lines() if line.get_label() == "resolved, mean")
    np.testing.assert_allclose(mean.get_ydata(), 1000.0 + 900.0 * (0.5 - mean.get_xdata() / 72.0))
    potential = next(line for line in grid[1, 0].get_lines() if line.get_label() == "P2D, Bruggeman")
    np.testing.assert_allclose(potential.get_ydata(), -10.0 - 0.5 * potential.get_xdata())  # mV over um
    colours = styles(grid[0, 0])
    assert {colours[text] for text, *_ in BASELINES.values()} == {colour for _, colour, _ in BASELINES.values()}
    band = grid[0, 0].collections[0].get_paths()[0].vertices[:, 1]
    assert np.ptp(band) == pytest.approx(60.0 + 300.0 * 35 / 36, rel=1e-6)
    assert [axes.get_title() for axes in grid[0]] == ["300 s", "900 s"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["$c_e$ (mol/m³)", "$\\phi_e$ (mV)", "$x = c_s/c_{max}$"]
    assert grid[-1, 0].get_xlim() == (0.0, pytest.approx(72.0))
    shade = next(patch for patch in grid[0, 0].patches if patch.get_label() == "separator")
    assert (shade.get_x(), shade.get_width()) == (pytest.approx(0.0), pytest.approx(12.0))


def test_a_band_ends_where_values_end(tmp_path, drawn):
    skewed = planes(spread=1.0)
    skewed["x_max"] = skewed["x_mean"] + 0.01  # std is 0.05
    profiles(tmp_path / "p.png", skewed, {}, (900.0,))
    band = drawn.figure.axes[2].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(0.75 + 0.01)
    assert band.min() == pytest.approx(0.75 - 0.05)


def test_a_dead_end_does_not_squeeze_the_others(tmp_path, drawn):
    profiles(tmp_path / "p.png", planes(spread=1.0, dead=True), {"p2d_image": planes(48)}, (900.0,))
    low, high = drawn.figure.axes[1].get_ylim()
    # bands and lines reach from -48 to -8 mV; the voxel at -500 mV leaves the frame
    assert -70.0 < low < -48.0
    assert -8.0 < high < 5.0


def test_baselines_beyond_the_bands_stay_in_the_frame(tmp_path, drawn):
    far = planes(48)
    far["c_e_mol_m3_mean"] = far["c_e_mol_m3_mean"] + 2000.0
    profiles(tmp_path / "p.png", planes(spread=1.0), {"p2d_image": far}, (300.0,))
    assert drawn.figure.axes[0].get_ylim()[1] > 3000.0


# in a run


@pytest.mark.parametrize("baseline", [True, False])
def test_a_resolved_run_draws_them_with_its_other_pictures(tmp_path, baseline):
    from battsim.output.pictures import LOSSES
    from battsim.run.half_cell import draw_half_cell

    folder, told = results(tmp_path), []
    share = np.linspace(0.0, 1.0, 9)
    curve = {"step": 0.0 * share + 1.0, "time_s": share, "capacity_Ah_m2": 20.0 * share, "voltage_V": 4.0 - share}
    write(folder / "timeseries.csv", curve | dict.fromkeys(LOSSES, 0.0 * share + 0.01))
    case = SimpleNamespace(name="a case", model=SimpleNamespace(baseline=baseline), output=SimpleNamespace(fields=()))
    draw_half_cell(case, folder, lambda _, message: told.append(message))
    assert told == ["pictures"]
    found = {file.name for file in folder.glob("*.png")}
    assert found == {"voltage.png"} | ({"gap.png", "ladder.png", "profiles.png"} if baseline else set())
    (folder / "gap.csv").unlink()
    draw_half_cell(case, folder, lambda _, message: told.append(message))
    assert len(told) == (3 if baseline else 2)
    assert not baseline or "pictures were not drawn: FileNotFoundError" in told[-1]
