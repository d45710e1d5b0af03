"""Files are read back with VTK itself: values, axes, units of length, and what a broken-off write leaves behind."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista

from meshing.errors import MeshError
from meshing.image import VoxelImage
from meshing.voxel import graded_layers, voxel_mesh
from meshing.write import append_pvd, grid_edges, write_mesh, write_vti

SHAPE, SIZE = (3, 4, 5), (1e-6, 2e-6, 4e-6)
PHASES = ("pore", "active", "binder")


def asymmetric_field():
    """x + 10 y + 100 z by voxel, which tells the axes apart and is exact in float32."""
    return np.add.outer(np.add.outer(np.arange(3.0), 10 * np.arange(4.0)), 100 * np.arange(5.0))


LAYERS = graded_layers(7e-6, 3, 1e-6)


def layered_mesh():
    labels = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)
    return voxel_mesh(VoxelImage(labels, SIZE, PHASES), layers=LAYERS)


def test_field_lands_at_its_place_in_space(tmp_path):
    write_vti(tmp_path / "a.vti", {"c_e [mol.m-3]": asymmetric_field()}, SIZE, origin=(1e-6, 0.0, -4e-6))
    image = pyvista.read(tmp_path / "a.vti")
    x, y, z = image.cell_centers().points.T
    i, j, k = (x - 1e-6) / 1e-6 - 0.5, y / 2e-6 - 0.5, (z + 4e-6) / 4e-6 - 0.5
    assert image.dimensions == (4, 5, 6)
    # VTK keeps the points of cell centres in single precision; the field's values are whole
    np.testing.assert_allclose(image.cell_data["c_e [mol.m-3]"], i + 10 * j + 100 * k, atol=1e-3)


def test_spacing_is_kept_to_the_last_digit(tmp_path):
    size = (0.398e-6, 1.0e-6 / 3, 2e-7)
    write_vti(tmp_path / "a.vti", {"phase": np.zeros(SHAPE, np.uint8)}, size)
    assert pyvista.read(tmp_path / "a.vti").spacing == size


def test_types_and_nan_survive(tmp_path):
    field = asymmetric_field()
    field[0] = np.nan
    active = np.isfinite(field)
    fields = {"c_s [mol.m-3]": field, "active": active, "phase": active.astype(np.uint8) * 2}
    write_vti(tmp_path / "a.vti", fields, SIZE)
    data = pyvista.read(tmp_path / "a.vti").cell_data
    assert list(data) == list(fields)
    assert [data[name].dtype for name in fields] == [np.float32, np.uint8, np.uint8]
    for name, values in fields.items():
        np.testing.assert_array_equal(data[name].reshape(SHAPE, order="F"), values.astype(data[name].dtype))


def test_vectors_keep_their_components_and_places(tmp_path):
    field = asymmetric_field()
    vectors = np.stack([field, -field, np.full(SHAPE, 7.0)], axis=-1)
    write_vti(tmp_path / "a.vti", {"flux [1]": vectors, "u [1]": field, "phase": field.astype(np.uint8)}, SIZE)
    image = pyvista.read(tmp_path / "a.vti")
    written = image.cell_data["flux [1]"]
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, vectors.reshape(-1, 3, order="F").astype(np.float32))
    np.testing.assert_array_equal(written[:, 0], image.cell_data["u [1]"])
    assert image.cell_data.active_vectors_name == "flux [1]"
    assert image.cell_data.active_scalars_name == "u [1]"


def test_vectors_alone_are_a_file(tmp_path):
    write_vti(tmp_path / "a.vti", {"flux [1]": np.ones((*SHAPE, 3))}, SIZE)
    assert pyvista.read(tmp_path / "a.vti").dimensions == (4, 5, 6)


def test_single_precision_with_x_fastest_is_not_copied(tmp_path):
    scalar = np.ones((40, 50, 60), np.float32).transpose(2, 1, 0)
    vectors = np.ones((40, 50, 60, 3), np.float32).transpose(2, 1, 0, 3)
    write_vti(tmp_path / "warm.vti", {"u [1]": scalar[:2, :2, :2]}, SIZE)  # VTK is loaded once
    tracemalloc.start()
    write_vti(tmp_path / "a.vti", {"u [1]": scalar, "flux [1]": vectors}, SIZE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * scalar.nbytes


def test_file_is_compressed(tmp_path):
    write_vti(tmp_path / "a.vti", {"phase": np.zeros((60, 60, 60), np.uint8)}, SIZE)
    content = (tmp_path / "a.vti").read_bytes()
    assert b"vtkZLibDataCompressor" in content
    assert b'encoding="raw"' in content
    assert len(content) < 0.02 * 60**3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "one shape"),
        ({"a": np.zeros((2, 2))}, "one shape"),
        ({"a": np.zeros(SHAPE), "b": np.zeros(SHAPE[::-1])}, "one shape"),
        ({"a": np.zeros(SHAPE), "b": np.zeros((*SHAPE, 2))}, "(nx, ny, nz, 3) for vectors"),
        ({"a": np.zeros(SHAPE), "b": np.zeros((*SHAPE[::-1], 3))}, "one shape"),
        ({"a": np.zeros(SHAPE, np.int64)}, "field 'a' has type int64"),
    ],
)
def test_fields_that_do_not_fit_are_refused(tmp_path, fields, message):
    with pytest.raises(MeshError, match=re.escape(message)):
        write_vti(tmp_path / "a.vti", fields, SIZE)
    assert not list(tmp_path.iterdir())


def test_other_suffix_and_bad_size_are_refused(tmp_path):
    with pytest.raises(MeshError, match=r"'\.vtk' names no format written here; allowed: \.vti"):
        write_vti(tmp_path / "a.vtk", {"a": asymmetric_field()}, SIZE)
    with pytest.raises(MeshError, match="positive lengths"):
        write_vti(tmp_path / "a.vti", {"a": asymmetric_field()}, (1.0, 0.0, 1.0))


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_vti(tmp_path / "nowhere" / "a.vti", {"a": asymmetric_field()}, SIZE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
def test_refusal_of_the_disk_is_an_os_error_without_noise(tmp_path, capfd):
    (tmp_path / ".a.part.vti").symlink_to("/dev/full")
    with pytest.raises(OSError, match="VTK could not write"):
        write_vti(tmp_path / "a.vti", {"a": asymmetric_field()}, SIZE)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


def test_broken_off_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.vti"
    write_vti(path, {"a": asymmetric_field()}, SIZE)
    before = path.read_bytes()

    def break_off(part, *_):
        part.write_bytes(b"<VTKFile")
        raise KeyboardInterrupt

    monkeypatch.setattr("meshing.write._write_image", break_off)
    with pytest.raises(KeyboardInterrupt):
        write_vti(path, {"a": asymmetric_field() + 1}, SIZE)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.vti"]


def write_step(folder, time):
    path = folder / f"step & {time:g}.vti"
    write_vti(path, {"t [s]": np.full(SHAPE, time)}, SIZE)
    return path


def test_series_opens_after_each_append(tmp_path):
    series = tmp_path / "fields.pvd"
    times = [0.0, 0.1, 300.0]
    for n, time in enumerate(times, start=1):
        append_pvd(series, time, write_step(tmp_path, time))
        reader = pyvista.PVDReader(series)
        assert reader.time_values == times[:n]
        reader.set_active_time_value(time)
        np.testing.assert_array_equal(reader.read()[0].cell_data["t [s]"], np.float32(time))


def test_series_names_files_relative_to_itself(tmp_path):
    (tmp_path / "fields").mkdir()
    append_pvd(tmp_path / "fields.pvd", 0.0, write_step(tmp_path / "fields", 0.0))
    assert 'file="fields/step &amp; 0.vti"' in (tmp_path / "fields.pvd").read_text()


def test_resumed_run_replaces_the_times_it_computes_again(tmp_path):
    series = tmp_path / "fields.pvd"
    for time in (0.0, 100.0, 200.0, 300.0, 150.0):
        append_pvd(series, time, write_step(tmp_path, time))
    assert pyvista.PVDReader(series).time_values == [0.0, 100.0, 150.0]


def test_series_refuses_what_it_cannot_hold(tmp_path):
    series = tmp_path / "fields.pvd"
    with pytest.raises(MeshError, match="is not there"):
        append_pvd(series, 0.0, tmp_path / "missing.vti")
    path = write_step(tmp_path, 0.0)
    with pytest.raises(MeshError, match="must be a number"):
        append_pvd(series, np.nan, path)
    series.write_text('<VTKFile><Collection><DataSet file="other.vtu"/></Collection></VTKFile>')
    with pytest.raises(MeshError, match="no series written here"):
        append_pvd(series, 0.0, path)


def test_broken_off_append_keeps_the_old_series(tmp_path, monkeypatch):
    series = tmp_path / "fields.pvd"
    append_pvd(series, 0.0, write_step(tmp_path, 0.0))
    path = write_step(tmp_path, 1.0)

    def break_off(*_):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.replace", break_off)
    with pytest.raises(OSError, match="no space left"):
        append_pvd(series, 1.0, path)
    assert pyvista.PVDReader(series).time_values == [0.0]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".msh"])
def test_hexahedra_have_the_volumes_and_centres_of_the_cells(tmp_path, suffix):
    mesh = layered_mesh()
    path = tmp_path / f"mesh{suffix}"
    write_mesh(path, mesh, {"index [1]": np.arange(mesh.n_cells, dtype=float)})
    grid = pyvista.read(path)
    name = "index_[1]" if suffix == ".vtk" else "index [1]"
    order = np.asarray(grid.cell_data[name]).astype(int)
    np.testing.assert_array_equal(np.sort(order), np.arange(mesh.n_cells))
    volume = grid.compute_cell_sizes(length=False, area=False).cell_data["Volume"]
    # rounding of products of a few lengths; a wrong order of corners gives volumes of 0 or below
    np.testing.assert_allclose(volume, mesh.volume[order], rtol=1e-12)
    # VTK computes centres in the points' precision, double here
    np.testing.assert_allclose(grid.cell_centers().points, mesh.centre[order], atol=1e-12)
    np.testing.assert_array_equal(grid.cell_data["phase"], mesh.phase[order])


def test_edges_of_graded_layers_are_the_thicknesses_summed():
    x, y, z = grid_edges(layered_mesh())
    np.testing.assert_allclose(x, [0.0, *np.cumsum([*LAYERS, 1e-6, 1e-6, 1e-6])], rtol=1e-14)
    np.testing.assert_allclose(y, 2e-6 * np.arange(5), rtol=1e-14)
    np.testing.assert_allclose(z, 4e-6 * np.arange(6), rtol=1e-14)


def test_single_layer_takes_its_size_from_the_patches():
    mesh = voxel_mesh(VoxelImage(np.zeros((1, 1, 4), np.uint8), SIZE, PHASES))
    x, y, _ = grid_edges(mesh)
    np.testing.assert_allclose(x, [0.0, 1e-6], rtol=1e-14)
    np.testing.assert_allclose(y, [0.0, 2e-6], rtol=1e-14)
    with pytest.raises(MeshError, match="1 of 1 layers along x have no face"):
        grid_edges(replace(mesh, patches={}))


def test_mesh_that_stands_elsewhere_keeps_its_place():
    mesh = layered_mesh()
    x, _, _ = grid_edges(replace(mesh, centre=mesh.centre + np.array([5e-6, 0.0, 0.0])))
    np.testing.assert_allclose(x[0], 5e-6, rtol=1e-9)


def test_meshes_that_are_no_grid_are_refused():
    mesh = layered_mesh()
    shells = replace(mesh, volume=mesh.volume * np.linspace(1.0, 2.0, mesh.n_cells))
    with pytest.raises(MeshError, match="volumes are not those of boxes"):
        grid_edges(shells)
    uneven = replace(mesh, owner_distance=mesh.owner_distance * np.linspace(1.0, 2.0, mesh.n_faces))
    with pytest.raises(MeshError, match="differ in size"):
        grid_edges(uneven)
    moved = mesh.centre.copy()
    moved[7, 1] += 1e-7
    with pytest.raises(MeshError, match="centres along y"):
        grid_edges(replace(mesh, centre=moved))


@pytest.mark.parametrize("name", ["mesh.xdmf", "mesh.stl", "mesh"])
def test_formats_that_are_not_written_are_refused(tmp_path, name):
    with pytest.raises(MeshError, match=r"allowed: \.vtu, \.vtk, \.msh"):
        write_mesh(tmp_path / name, layered_mesh())
    assert not list(tmp_path.iterdir())


def test_cell_data_must_fit_the_cells(tmp_path):
    mesh = layered_mesh()
    with pytest.raises(MeshError, match=r"'c' has shape \(3,\)"):
        write_mesh(tmp_path / "a.vtu", mesh, {"c": np.zeros(3)})
    with pytest.raises(MeshError, match="other than 'phase'"):
        write_mesh(tmp_path / "a.vtu", mesh, {"phase": np.zeros(mesh.n_cells)})
