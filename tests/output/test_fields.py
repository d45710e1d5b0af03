import re

import numpy as np
import pytest

from battsim.errors import CaseError
from battsim.materials.library import active_material, counter_electrode, electrolyte
from battsim.models.cell.equations import Rate
from battsim.models.resolved.half_cell import HalfCell
from battsim.models.resolved.parameters import Binder, HalfCellParameters, IonicPhase
from battsim.output.fields import FieldWriter
from battsim.output.pictures import read_fields
from meshing.image import Orientation, VoxelImage
from meshing.voxel import voxel_mesh

LAYERS = (3e-6, 1e-6)
ALL = ("c_e", "phi_e", "c_s", "phi_s", "j")


@pytest.fixture(scope="module", params=[(0, False), (1, True), (2, False)], ids=str)
def case(request):
    """An image in case axes, its model in cell axes, and a state that differs in every unknown."""
    rng = np.random.default_rng(3)
    orientation = Orientation(*request.param)
    labels = rng.choice(3, (4, 5, 6), p=(0.4, 0.45, 0.15)).astype(np.uint8)
    image = VoxelImage(labels, (1e-6, 2e-6, 3e-6), ("pore", "active", "binder"))
    turned = orientation.apply(image)
    turned.labels[-1] = 1  # the collector touches active material
    turned.labels[0:3, 1:4, 1:4] = 0
    turned.labels[1, 2, 2] = 2  # binder without a path: an impermeable one is left out
    image = VoxelImage(orientation.restore(turned.labels), image.voxel_size, image.phases)
    parameters = HalfCellParameters(
        active_material("nmc532-mohtat2020"),
        electrolyte("lipf6-nyman2008"),
        counter_electrode("lithium-xu2019"),
        Binder(transport="impermeable"),
        IonicPhase(0.47, 0.3),
        298.15,
        1000.0,
    )
    mesh = voxel_mesh(turned, layers=LAYERS, inside="active")
    cell = HalfCell(mesh, parameters)
    u, reference = cell.uniform_state(0.4)
    u[cell.layout.x] += 0.1 * rng.random(cell.layout.n_solid)
    u[cell.layout.c_e] += 100.0 * rng.random(cell.layout.n_electrolyte)
    u[cell.layout.potentials] += 0.01 * rng.random(u[cell.layout.potentials].size)
    evaluation = cell.evaluate(u, reference, Rate(0.0, u), 0.0)
    return image, orientation, mesh, cell, (u, reference, evaluation)


def written(case, folder, fields=ALL):
    _, orientation, mesh, cell, state = case
    writer = FieldWriter(folder, fields, cell, mesh, n_layers=len(LAYERS), orientation=orientation)
    return read_fields(writer.save(12.5, *state))


def expected(case, cells, values):
    """A field in case axes, voxel by voxel from the centres of the mesh's cells."""
    image, orientation, mesh, _, _ = case
    field = np.full(image.shape, np.nan)
    order = (orientation.axis, *(a for a in range(3) if a != orientation.axis))
    depth = sum(LAYERS)
    for cell, value in zip(cells, values, strict=True):
        through = mesh.centre[cell, 0] - depth
        if through < 0.0:
            continue
        place = [0, 0, 0]
        for axis, length in zip(order, (through, *mesh.centre[cell, 1:]), strict=True):
            place[axis] = int(length / image.voxel_size[axis])
        if orientation.flipped:
            place[orientation.axis] = image.shape[orientation.axis] - 1 - place[orientation.axis]
        field[tuple(place)] = value
    return field


def test_every_value_is_at_its_voxel_in_case_axes(case, tmp_path):
    image, _, _, cell, (u, reference, _) = case
    found = written(case, tmp_path / "fields")
    network, layout = cell.network, cell.layout
    assert found.voxel_size == pytest.approx(image.voxel_size, rel=1e-12)
    np.testing.assert_array_equal(found.values["phase"], image.labels)
    c_max = cell.parameters.active.max_concentration
    for name, cells, values in (
        ("x", network.solid_cells, u[layout.x]),
        ("c_s", network.solid_cells, c_max * u[layout.x]),
        ("c_e", network.electrolyte_cells, u[layout.c_e]),
        ("phi_e", network.electrolyte_cells, u[layout.phi_e]),
        ("phi_s", network.electronic_cells, u[layout.phi_s] + reference),
    ):
        # float32 in the file
        np.testing.assert_allclose(found.values[name], expected(case, cells, values), rtol=1e-6, err_msg=name)
    assert np.nanmin(found.values["phi_s"]) > 3.0  # against lithium, not against the terminal


def test_left_out_cells_are_empty(case, tmp_path):
    image, _, _, cell, _ = case
    left_out = [part for part in cell.network.determined.left_out if part.potential == "phi_s"]
    assert sum(part.cells for part in left_out) > 0
    phi_s = written(case, tmp_path).values["phi_s"]
    solids = np.isin(image.labels, (1, 2))
    assert np.count_nonzero(np.isnan(phi_s) & solids) == sum(part.cells for part in left_out)
    assert np.isnan(phi_s[~solids]).all()


def test_j_is_the_current_density_over_the_true_surface(case, tmp_path):
    _, _, _, cell, (_, _, evaluation) = case
    faces = cell.network.reactive
    areas = np.bincount(faces.solid, faces.area, cell.layout.n_solid)
    currents = np.bincount(faces.solid, faces.area * evaluation.reaction.j, cell.layout.n_solid)
    j = written(case, tmp_path).values["j"]
    wet = areas > 0.0
    field = expected(case, cell.network.solid_cells[wet], currents[wet] / areas[wet])
    np.testing.assert_allclose(j, field, rtol=1e-6)


def test_only_what_is_asked_for_is_written_and_c_s_brings_x(case, tmp_path):
    assert set(written(case, tmp_path, ("c_e", "c_s")).values) == {"c_e", "c_s", "x", "phase"}


def test_units_stand_in_the_names(case, tmp_path):
    written(case, tmp_path)
    text = (tmp_path / "t_000000012.500.vti").read_bytes().decode("latin-1")
    names = set(re.findall(r'DataArray type="\w+" Name="([^"]+)"', text))
    assert names == {
        *("c_e [mol.m-3]", "phi_e [V]", "c_s [mol.m-3]", "x [1]", "phi_s [V]", "j [A.m-2]", "phase"),
    }


def test_the_series_grows_while_the_run_goes_on(case, tmp_path):
    _, orientation, mesh, cell, state = case
    writer = FieldWriter(tmp_path, ("c_e",), cell, mesh, n_layers=len(LAYERS), orientation=orientation)
    for number, time in enumerate((0.0, 300.0, 1e6 / 3.0)):
        path = writer.save(time, *state)
        listed = re.findall(r'file="([^"]+)"', (tmp_path / "fields.pvd").read_text())
        assert len(listed) == number + 1
        assert listed[-1] == path.name
        assert path.is_file()


def test_a_field_of_another_name_is_refused(case, tmp_path):
    _, orientation, mesh, cell, _ = case
    with pytest.raises(CaseError, match=r"output.fields: 'temperature' is no field; choose from c_e, phi_e"):
        FieldWriter(tmp_path, ("c_e", "temperature"), cell, mesh, n_layers=2, orientation=orientation)


def test_a_series_goes_on_behind_the_files_that_are_kept(case, tmp_path):
    _, orientation, mesh, cell, state = case
    settings = {"n_layers": len(LAYERS), "orientation": orientation}
    writer = FieldWriter(tmp_path, ("c_e",), cell, mesh, **settings)
    for time in (0.0, 5.0, 10.0, 10.0, 15.0):
        writer.save(time, *state)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert [time for time, _ in writer.saved] == [0.0, 5.0, 10.0, 15.0]
    (tmp_path / ".t_000000020.000.part.vti").write_bytes(b"half")
    (tmp_path / "mine.vti").write_bytes(b"mine")
    again = FieldWriter(tmp_path, ("c_e",), cell, mesh, saved=writer.saved[:2], **settings)
    listed = re.findall(r'file="([^"]+)"', (tmp_path / "fields.pvd").read_text())
    assert listed == ["t_000000000.000.vti", "t_000000005.000.vti"]
    assert {path.name for path in tmp_path.iterdir()} == {*listed, "fields.pvd", "mine.vti"}
    for time in (10.0, 15.0):
        again.save(time, *state)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "mine.vti"} == whole
    # a file that somebody removed leaves the series, and is no reason to stop
    (tmp_path / "t_000000005.000.vti").unlink()
    assert [time for time, _ in FieldWriter(tmp_path, ("c_e",), cell, mesh, saved=again.saved, **settings).saved] == [
        0.0,
        10.0,
        15.0,
    ]


def test_heat_is_that_of_the_voxels(case, tmp_path):
    _, orientation, mesh, cell, state = case
    layout = {"n_layers": len(LAYERS), "orientation": orientation}
    of_cells = np.random.default_rng(5).random(mesh.n_cells)

    def heat(u, evaluation):
        assert u is state[0]
        assert evaluation is state[2]
        return of_cells

    writer = FieldWriter(tmp_path, ("c_e", "c_s", "heat"), cell, mesh, heat=heat, **layout)
    found = read_fields(writer.save(1.0, *state)).values["heat"]
    np.testing.assert_array_equal(found, expected(case, range(mesh.n_cells), of_cells).astype(np.float32))
    with pytest.raises(ValueError, match="heat"):
        FieldWriter(tmp_path, ("heat",), cell, mesh, **layout)
