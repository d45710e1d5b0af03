"""Files of a transport, read back by VTK and as text, and its picture by its pixels."""

import csv

import numpy as np
import pytest
import pyvista

from battsim.output.transport_fields import Slices, write_slices, write_transport
from battsim.output.transport_picture import INSULATING, TransportSection, draw_transport, middle_section

SHAPE, SIZE = (4, 5, 6), (1e-6, 2e-6, 3e-6)


def fields(axis=0):
    """A potential that falls along an axis, with a solid column, and a vector that tells its components apart."""
    n = SHAPE[axis]
    u = np.moveaxis(np.broadcast_to((1.0 - (np.arange(n) + 0.5) / n)[:, None, None], np.roll(SHAPE, -axis)), 0, axis)
    u = u.copy()
    u[1, 1, 1] = np.nan
    vectors = np.zeros((*SHAPE, 3), np.float32)
    vectors[..., 0], vectors[..., 2] = 2.0, np.arange(6)
    return {"potential": u, "flux": vectors, "flux_magnitude": np.linalg.norm(vectors, axis=-1)}


def test_fields_of_each_axis_open_in_vtk(tmp_path):
    phase = np.arange(120).reshape(SHAPE).astype(np.uint8)
    for number, axis in enumerate("zx"):
        path = write_transport(tmp_path / "fields", axis, fields("xyz".index(axis)), phase, SIZE, number=number)
        assert path == tmp_path / "fields" / f"transport_{axis}.vti"
    reader = pyvista.PVDReader(tmp_path / "fields" / "fields.pvd")
    assert reader.time_values == [0.0, 1.0]
    for number, axis in enumerate("zx"):
        reader.set_active_time_value(float(number))
        image = reader.read()[0]
        expected = fields("xyz".index(axis))
        assert list(image.cell_data) == ["potential [1]", "flux [1]", "flux_magnitude [1]", "phase"]
        assert (image.dimensions, image.spacing) == ((5, 6, 7), SIZE)
        for name, values in expected.items():
            written = image.cell_data[f"{name} [1]"].reshape(values.shape, order="F")
            np.testing.assert_array_equal(written, values.astype(np.float32))
        np.testing.assert_array_equal(image.cell_data["phase"].reshape(SHAPE, order="F"), phase)


def test_first_axis_begins_the_series_anew(tmp_path):
    phase = np.zeros(SHAPE, np.uint8)
    for number, axis in enumerate("xyz"):
        write_transport(tmp_path, axis, {}, phase, SIZE, number=number)
    write_transport(tmp_path, "y", {}, phase, SIZE, number=0)
    assert pyvista.PVDReader(tmp_path / "fields.pvd").time_values == [0.0]
    assert "transport_y.vti" in (tmp_path / "fields.pvd").read_text()


def test_slices_are_one_row_each(tmp_path):
    n = np.arange(3.0)
    first = Slices(1e-6 * (n + 0.5), 0.1 * n, np.array([np.nan, 0.5, 0.25]), n / 3.0)
    second = Slices(*(np.array([value]) for value in (1.0, 2.0, 3.0, 4.0)))
    write_slices(tmp_path / "slices.csv", {"z": first, "x": second})
    with (tmp_path / "slices.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["axis"] for row in rows] == ["z", "z", "z", "x"]
    assert [float(row["position_m"]) for row in rows[:3]] == [5e-7, 1.5e-6, 2.5e-6]
    assert [row["potential"] for row in rows] == ["", "0.5", "0.25", "3"]
    # ten significant digits, the last one rounded
    assert [float(row["flux"]) for row in rows] == pytest.approx([0.0, 1 / 3, 2 / 3, 4.0], rel=2e-10)
    assert [float(row["porosity"]) for row in rows] == pytest.approx([0.0, 0.1, 0.2, 2.0], rel=1e-10)


@pytest.mark.parametrize(("axis", "up", "cut"), [("x", "z", 1), ("y", "z", 0), ("z", "y", 0)], ids=["x", "y", "z"])
def test_the_middle_section_contains_the_axis_and_the_longer_lateral_one(axis, up, cut):
    along, upwards = "xyz".index(axis), "xyz".index(up)
    field = np.add.outer(np.add.outer(np.arange(4.0), 10 * np.arange(5.0)), 100 * np.arange(6.0))
    field[2, 2, 3] = np.nan  # in all three sections
    section = middle_section(axis, field, 2.0 * np.nan_to_num(field), SIZE)
    assert (section.up, section.edges) == (up, (SIZE[along], SIZE[upwards]))
    assert section.potential.shape == (SHAPE[along], SHAPE[upwards])
    i, j = 1, 2
    place = [0, 0, 0]
    place[along], place[upwards], place[cut] = i, j, SHAPE[cut] // 2
    assert section.potential[i, j] == field[tuple(place)]
    np.testing.assert_array_equal(section.flux, 2.0 * section.potential)  # NaN where the potential is


def hex_colour(text):
    return [int(text[k : k + 2], 16) / 255.0 for k in (1, 3, 5)]


def share_of(picture, colour):
    return float(np.mean(np.all(np.abs(picture - np.asarray(colour)) < 0.01, axis=-1)))


@pytest.mark.parametrize("axes", ["x", "xyz"])
def test_insulating_voxels_are_grey_and_the_potential_falls_to_the_right(tmp_path, axes):
    from matplotlib import colormaps
    from matplotlib.image import imread

    n = 40
    u = np.broadcast_to(np.linspace(1.0, 0.0, n)[:, None], (n, 30)).copy()
    u[:, 10:20] = np.nan
    sections = [TransportSection(axis, "y", u, np.where(np.isfinite(u), 1.0, np.nan), (1e-6, 1e-6)) for axis in axes]
    draw_transport(tmp_path / "t.png", sections, title="a title")
    picture = imread(tmp_path / "t.png")[..., :3]
    grey, bright = share_of(picture, hex_colour(INSULATING)), share_of(picture, colormaps["inferno"](0.999)[:3])
    assert grey > 0.05
    # a third of both fields insulates; in the lower one the other two thirds have one flux, at the top of its bar
    assert bright == pytest.approx(grey, rel=0.2)
    yellow, violet = (
        np.argwhere(np.all(np.abs(picture - np.asarray(colormaps["viridis"](end)[:3])) < 0.02, axis=-1))[:, 1]
        for end in (0.999, 0.0)
    )
    first = slice(0, picture.shape[1] // len(axes))  # the columns of the first section
    assert yellow[yellow < first.stop].min() < violet[violet < first.stop].min()
