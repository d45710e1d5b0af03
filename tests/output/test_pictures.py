import logging

import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.output import pictures, space
from battsim.output.pictures import LOSSES, field_sections, read_fields, value_range, voltage_curve
from battsim.output.space import render_field
from meshing.write import write_vti


def columns(n=30, sign=1.0):
    share = np.linspace(0.0, 1.0, n)
    losses = {name: sign * 0.01 * (k + 1) * (1.0 + share) for k, name in enumerate(LOSSES)}
    voltage = 4.2 - 0.5 * share - sum(losses.values())
    return {"time_s": 3600.0 * share, "capacity_Ah_m2": sign * 20.0 * share, "voltage_V": voltage, **losses}


def saved(path, shape=(12, 5, 6), names=("x", "c_e")):
    """Pore on one side, active material with a hole, a layer of binder, and a corner that was left out."""
    phase = np.ones(shape, np.uint8)
    phase[:, :2] = 0
    phase[:, 2] = 2
    x, c_e = (np.full(shape, np.nan, np.float32) for _ in range(2))
    depth = np.linspace(0.0, 1.0, shape[0], dtype=np.float32)[:, None, None] * np.ones(shape, np.float32)
    x[phase == 1], c_e[phase != 1] = 0.3 + 0.4 * depth[phase == 1], 900.0 + 200.0 * depth[phase != 1]
    c_e[0, 0, 0] = np.nan
    fields = {"x": x, "c_e": c_e}
    write_vti(path, {f"{name} [1]": fields[name] for name in names} | {"phase": phase}, (1e-6,) * 3)
    return path


def pixels(path):
    from matplotlib.image import imread

    return imread(path)[..., :3]


def share_of(picture, colour):
    """Share of pixels of one colour, to half a grey level of a hundred."""
    return float(np.mean(np.all(np.abs(picture - np.asarray(colour)) < 0.01, axis=-1)))


def hex_colour(text):
    return [int(text[k : k + 2], 16) / 255.0 for k in (1, 3, 5)]


def test_every_loss_has_an_area_in_proportion(tmp_path):
    voltage_curve(tmp_path / "v.png", columns(), title="a title")
    picture = pixels(tmp_path / "v.png")
    areas = [share_of(picture[picture.shape[0] // 2 :], hex_colour(colour)) for _, colour in LOSSES.values()]
    assert all(area > 0.0 for area in areas)
    # losses 1 : 2 : ... : 6; the legend's patches add to each, the edges take from each
    np.testing.assert_allclose(np.array(areas) / sum(areas), np.arange(1, 7) / 21.0, atol=0.02)


def test_capacity_is_the_abscissa_of_a_discharge_and_time_that_of_a_cycle():
    discharge = columns()
    along, label = pictures.abscissa(discharge)
    assert along[-1] == pytest.approx(2.0)  # 20 Ah/m2 in mAh/cm2
    assert label.startswith("capacity")
    cycle = {name: np.concatenate([values, values[::-1]]) for name, values in discharge.items()}
    assert pictures.abscissa(cycle)[1] == "time (h)"


def test_rest_leaves_a_gap_in_the_losses(tmp_path):
    rows = columns()
    for name in LOSSES:
        rows[name][10:20] = np.nan
    voltage_curve(tmp_path / "gap.png", rows)
    voltage_curve(tmp_path / "whole.png", columns())
    colour = hex_colour(LOSSES["loss_solid_diffusion_V"][1])
    lower = [share_of(pixels(tmp_path / name)[600:], colour) for name in ("gap.png", "whole.png")]
    assert lower[0] < 0.8 * lower[1]


def test_a_picture_leaves_the_callers_settings_alone(tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 17.0}):
        voltage_curve(tmp_path / "v.svg", columns())
        assert mpl.rcParams["font.size"] == 17.0
    assert (tmp_path / "v.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


@pytest.mark.parametrize(("shape", "axis"), [((12, 5, 6), "x"), ((6, 6, 6), "x"), ((5, 20, 6), "y")])
def test_sections_show_both_fields_and_the_binder(tmp_path, shape, axis):
    file = saved(tmp_path / "t.vti", shape)
    field_sections(tmp_path / "s.png", file, through_plane=axis, title="a title")
    picture = pixels(tmp_path / "s.png")
    assert share_of(picture, pictures.BINDER_GREY[:3]) > 0.01
    assert share_of(picture, pictures.colours_of("x", np.array(1.0))[:3]) > 0.0
    assert share_of(picture, pictures.colours_of("c_e", np.array(1.0))[:3]) > 0.0


def test_voxels_have_the_colour_of_their_phase(tmp_path):
    fields = read_fields(saved(tmp_path / "t.vti"))
    colours = pictures.painted(fields, ("pore", "active", "binder"))
    np.testing.assert_allclose(colours[0, 0, 0], pictures.ABSENT)
    np.testing.assert_allclose(colours[3, 2, 1], pictures.BINDER_GREY)
    np.testing.assert_allclose(colours[0, 4, 0], pictures.colours_of("x", np.array(0.0)))
    np.testing.assert_allclose(colours[-1, 4, 0], pictures.colours_of("x", np.array(1.0)))
    np.testing.assert_allclose(colours[-1, 0, 0], pictures.colours_of("c_e", np.array(1.0)))
    # where no phase is called binder, its nano-pores show their salt
    assert not np.allclose(pictures.painted(fields, ("pore", "active"))[3, 2, 1], pictures.BINDER_GREY)


def test_a_flipped_case_is_drawn_from_the_separator(tmp_path):
    fields = read_fields(saved(tmp_path / "t.vti"))
    flipped = pictures.in_cell_axes(fields, "x", True)
    np.testing.assert_array_equal(flipped.values["x"], fields.values["x"][::-1])
    assert pictures.in_cell_axes(fields, "z", False).values["x"].shape == (6, 12, 5)


def test_a_range_is_never_empty():
    assert value_range(np.array([np.nan])) == (0.0, 1.0)
    low, high = value_range(np.full(5, 1000.0))
    assert low < 1000.0 < high
    assert value_range(np.linspace(2.0, 3.0, 1001)) == pytest.approx((2.005, 2.995))


def test_a_file_without_the_fields_is_refused(tmp_path):
    with pytest.raises(CaseError, match=r"lacks the field x; .* put c_s and c_e into \[output\] fields"):
        field_sections(tmp_path / "s.png", saved(tmp_path / "t.vti", names=("c_e",)))
    (tmp_path / "no.vti").write_text("nothing")
    for name in ("no.vti", "absent.vti"):
        with pytest.raises(CaseError, match="is no VTK image data"):
            read_fields(tmp_path / name)


def test_a_view_in_space_is_rendered_or_sections_are_drawn(tmp_path, caplog):
    file = saved(tmp_path / "t.vti", (16, 8, 8))
    with caplog.at_level(logging.WARNING):
        kind = render_field(tmp_path / "r.png", file, title="a title")
    assert kind == ("sections" if caplog.records else "render")
    picture = pixels(tmp_path / "r.png")
    assert np.mean(picture.min(axis=-1) < 0.9) > 0.1


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('no GL library')", "no GL library"),
        ("import os; os.abort()", "exit code -6"),
        ("import time; time.sleep(60)", "no picture after 0.5 s"),
    ],
)
def test_where_nothing_can_be_rendered_sections_are_drawn_and_the_log_says_why(
    tmp_path, monkeypatch, caplog, program, reason
):
    monkeypatch.setattr(space, "PROGRAM", program)
    if "sleep" in program:
        monkeypatch.setattr(space, "RENDER_SECONDS", 0.5)
    with caplog.at_level(logging.WARNING):
        assert render_field(tmp_path / "r.png", saved(tmp_path / "t.vti")) == "sections"
    assert reason in caplog.text
    assert share_of(pixels(tmp_path / "r.png"), pictures.BINDER_GREY[:3]) > 0.01
