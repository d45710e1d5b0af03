"""Each format by round trip and by truncation; labels by what is declared and what is there."""

import logging
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from meshing.errors import ImageError, LabelError
from meshing.image import IGNORED, VoxelImage
from meshing.read import label_image, read_header, read_voxels, rename_axes
from meshing.write import write_vti

SHAPE = (7, 5, 6)
CUBE = (1e-6, 1e-6, 1e-6)


def volume(dtype=np.uint8, shape=SHAPE):
    """Values that all differ along each axis, so that any exchange of axes shows."""
    return (np.arange(np.prod(shape)).reshape(shape) % 120).astype(dtype)


def write_tiff(path, values=None, **options):
    tifffile.imwrite(path, volume() if values is None else values, **options)
    return path


def assert_reads(path, values, name, **options):
    header = read_header(path, **options)
    assert (header.format, header.shape, header.dtype) == (name, values.shape, values.dtype)
    assert header.n_bytes == values.nbytes
    found = read_voxels(path, **options)
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, values)
    return header


TIFF_OPTIONS = {
    "plain": {},
    "pages": {"metadata": None},
    "zlib": {"compression": "zlib"},
    "packbits": {"compression": "packbits"},
    "strips": {"rowsperstrip": 2, "compression": "zlib", "predictor": True},
    "tiled": {"tile": (16, 16)},
    "volume tiles": {"tile": (16, 16, 16)},
    "big-endian": {"byteorder": ">"},
    "palette": {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
}


@pytest.mark.parametrize("options", TIFF_OPTIONS.values(), ids=TIFF_OPTIONS)
def test_tiff_variants(tmp_path, options):
    assert_reads(write_tiff(tmp_path / "a.tif", **options), volume(), "tiff")


@pytest.mark.parametrize("dtype", ["int8", "uint16", ">u2", "int16", "int32", "float32", "bool"])
def test_tiff_types_come_in_native_order(tmp_path, dtype):
    values = volume(dtype)
    path = write_tiff(tmp_path / "a.TIFF", values, byteorder=">" if dtype[0] == ">" else "<")
    assert_reads(path, values.astype(values.dtype.newbyteorder("=")), "tiff")


def test_bigtiff(tmp_path):
    assert_reads(write_tiff(tmp_path / "a.tif", bigtiff=True), volume(), "bigtiff")
    assert_reads(write_tiff(tmp_path / "b.tif", bigtiff=True, metadata=None, byteorder=">"), volume(), "bigtiff")


def test_two_dimensional_tiff_is_one_slice(tmp_path):
    path = write_tiff(tmp_path / "a.tif", volume()[0])
    assert_reads(path, volume()[:1], "tiff")


def test_pages_written_one_by_one_are_one_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in volume():
            file.write(page)
    assert_reads(tmp_path / "a.tif", volume(), "tiff")


def test_stack_of_three_slices_is_no_colour_image(tmp_path):
    path = write_tiff(tmp_path / "a.tif", volume()[:3], photometric="rgb", planarconfig="separate")
    header = assert_reads(path, volume()[:3], "tiff")
    assert header.notes == ("the file calls its 3 pages colours; they are taken as slices",)


def test_imagej_hint(tmp_path):
    metadata = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    path = write_tiff(tmp_path / "a.tif", imagej=True, metadata=metadata, resolution=(4, 2))
    header = assert_reads(path, volume(), "tiff (ImageJ)")
    # tifffile's resolution is x, y in pixels per unit
    assert header.voxel_size_hint == pytest.approx((0.5e-6, 0.5e-6, 0.25e-6), rel=1e-12)


@pytest.mark.parametrize("metadata", [{"spacing": 0.5}, {"unit": "um"}, {"spacing": 0.5, "unit": "pixel"}])
def test_half_an_imagej_hint_is_none(tmp_path, metadata):
    path = write_tiff(tmp_path / "a.tif", imagej=True, metadata={"axes": "ZYX", **metadata}, resolution=(4, 2))
    assert read_header(path).voxel_size_hint is None


def imagej_hyperstack(path, values, declared=None):
    """ImageJ's form for large stacks: one directory, and all slices behind one another after it."""
    n = len(values) if declared is None else declared
    description = f"ImageJ=1.54f\nimages={n}\nslices={n}\nunit=\\u00B5m\nspacing=2.0\nloop=false\n".encode() + b"\0"
    entries = [(256, 4, 1, values.shape[2]), (257, 4, 1, values.shape[1]), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 1), (270, 2, len(description), None), (273, 4, 1, None), (277, 3, 1, 1)]
    entries += [(278, 4, 1, values.shape[1]), (279, 4, 1, values[0].size), (282, 5, 1, None), (283, 5, 1, None)]
    text = 8 + 2 + 12 * len(entries) + 4
    resolution = text + len(description)
    places = {270: text, 273: resolution + 16, 282: resolution, 283: resolution + 8}
    body = b"".join(struct.pack(">HHI", *entry[:3]) + _value(entry, places) for entry in entries)
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries)) + body + struct.pack(">I", 0)
    path.write_bytes(head + description + struct.pack(">IIII", 2, 1, 4, 1) + values.tobytes())
    return path


def _value(entry, places):
    tag, kind, _, value = entry
    value = places.get(tag, value)
    return struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)


def test_imagej_contiguous_hyperstack(tmp_path):
    header = assert_reads(imagej_hyperstack(tmp_path / "a.tif", volume()), volume(), "tiff (ImageJ)")
    assert header.voxel_size_hint == pytest.approx((2e-6, 0.25e-6, 0.5e-6), rel=1e-12)


def test_imagej_hyperstack_that_promises_more_slices_than_it_holds(tmp_path):
    path = imagej_hyperstack(tmp_path / "a.tif", volume(), declared=9)
    with pytest.raises(ImageError, match="truncated or damaged: its imagej description"):
        read_header(path)


def test_ome_hint(tmp_path):
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 200.0, "PhysicalSizeZ": 0.3}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "nm", "PhysicalSizeZUnit": "µm"}
    path = write_tiff(tmp_path / "a.ome.tif", metadata={"axes": "ZYX", **sizes, **units})
    header = assert_reads(path, volume(), "ome-tiff")
    assert header.voxel_size_hint == pytest.approx((0.3e-6, 0.2e-6, 0.1e-6), rel=1e-12)


def test_ome_without_sizes_has_no_hint(tmp_path):
    path = write_tiff(tmp_path / "a.ome.tif", metadata={"axes": "ZYX", "PhysicalSizeX": 0.1})
    assert read_header(path).voxel_size_hint is None


def test_lone_time_axis_is_read_as_slices_and_noted(tmp_path):
    path = write_tiff(tmp_path / "a.ome.tif", metadata={"axes": "TYX"})
    header = assert_reads(path, volume(), "ome-tiff")
    assert header.notes == ("the file calls its 7 pages time steps; they are taken as slices",)


def test_time_series_of_stacks_is_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", volume(shape=(2, 7, 5, 6)), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ImageError, match=r"axes TZYX of shape \(2, 7, 5, 6\)"):
        read_header(path)


def test_composite_channels_are_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    with pytest.raises(ImageError, match="colour image"):
        read_header(path)


@pytest.mark.parametrize("shape", [(5, 6, 3), (7, 5, 6, 3)])
def test_colour_is_refused(tmp_path, shape):
    path = write_tiff(tmp_path / "a.tif", volume(shape=shape), photometric="rgb")
    with pytest.raises(ImageError, match=r"colour image .* grey-scale"):
        read_header(path)


def test_several_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(volume())
        file.write(volume()[:, :3])
    with pytest.raises(ImageError, match="holds 2 images of shapes"):
        read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("options", TIFF_OPTIONS.values(), ids=TIFF_OPTIONS)
def test_truncated_tiff_is_refused_or_whole(tmp_path, options):
    path = write_tiff(tmp_path / "a.tif", **options)
    content = path.read_bytes()
    refused = []
    cuts = np.linspace(1, len(content) - 1, 40).astype(int)
    for kept in cuts:
        path.write_bytes(content[:kept])
        try:
            found = read_voxels(path)
        except ImageError as error:
            refused.append(str(error))
        else:  # tifffile ends a stack with tag values that no page refers to; nothing is lost without them
            np.testing.assert_array_equal(found, volume())
    assert len(refused) > 0.6 * len(cuts)
    assert all(re.search("truncated|begin as a TIFF", message) for message in refused)


@pytest.mark.parametrize("name", ["imagej", "ome", "hyperstack", "big"])
def test_truncated_tiff_with_description(tmp_path, name, capfd, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # else pytest swallows what tifffile would print
    path = tmp_path / "a.tif"
    if name == "hyperstack":
        imagej_hyperstack(path, volume())
    else:
        write_tiff(path, **{"big": {"bigtiff": True}, "ome": {"ome": True}, "imagej": {"imagej": True}}[name])
    content = path.read_bytes()
    for kept in (len(content) // 2, 3 * len(content) // 4):
        path.write_bytes(content[:kept])
        with pytest.raises(ImageError, match="truncated"):
            read_header(path)
    assert capfd.readouterr().err == ""


def test_page_chain_that_runs_in_a_circle(tmp_path):
    path = write_tiff(tmp_path / "a.tif", metadata=None)
    content = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    path.write_bytes(content)
    with pytest.raises(ImageError, match="runs in a circle"):
        read_header(path)


def test_damaged_compressed_strip_is_an_image_error(tmp_path):
    path = write_tiff(tmp_path / "a.tif", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        start, count = file.pages[3].dataoffsets[0], file.pages[3].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(count)
    path.write_bytes(content)
    read_header(path)
    with pytest.raises(ImageError, match="cannot be read as TIFF"):
        read_voxels(path)


def set_tags(path, page, **values):
    """Overwrite tags that hold one number."""
    with tifffile.TiffFile(path) as file:
        tags = file.pages[page].aspage().tags if page else file.pages[0].tags
        places = [(tags[name].valueoffset, "<H" if tags[name].dtype == 3 else "<I") for name in values]
    content = bytearray(path.read_bytes())
    for (place, layout), value in zip(places, values.values(), strict=True):
        struct.pack_into(layout, content, place, value)
    path.write_bytes(content)


def test_header_that_promises_the_moon_is_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", volume()[0], compression="zlib", metadata=None)
    set_tags(path, 0, ImageWidth=60000, ImageLength=60000, RowsPerStrip=60000)
    with pytest.raises(ImageError, match=r"its header speaks of .* it is damaged"):
        read_voxels(path)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"StripOffsets": 10**6}, "is truncated: its header asks for 10000"),
        ({"StripOffsets": 0}, "page 3 has strips or tiles without data"),
        ({"StripByteCounts": 0}, "page 3 has strips or tiles without data"),
    ],
)
def test_pages_whose_data_are_not_there(tmp_path, tags, message):
    path = write_tiff(tmp_path / "a.tif", compression="zlib", metadata=None)
    set_tags(path, 3, **tags)
    with pytest.raises(ImageError, match=message):
        read_header(path)


def test_page_with_fewer_strips_than_rows(tmp_path):
    path = write_tiff(tmp_path / "a.tif", volume()[0], compression="zlib", metadata=None)
    set_tags(path, 0, ImageLength=10)
    with pytest.raises(ImageError, match="page 0 lists 1 strips or tiles, not all"):
        read_header(path)


def test_single_page_with_its_data_cut_short(tmp_path):
    path = write_tiff(tmp_path / "a.tif", volume()[0], metadata=None)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(ImageError, match=f"asks for {len(content)} bytes, but the file has {len(content) - 5}"):
        read_header(path)


def test_description_of_fewer_slices_than_pages(tmp_path):
    path = write_tiff(tmp_path / "a.tif", imagej=True, metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes().replace(b"images=7", b"images=3").replace(b"slices=7", b"slices=3"))
    with pytest.raises(ImageError, match="description speaks of 3 slices, but it holds 7 pages"):
        read_header(path)


def test_hyperstack_whose_only_page_is_compressed(tmp_path):
    description = "ImageJ=1.54f\nimages=7\nslices=7\n"
    path = write_tiff(tmp_path / "a.tif", volume()[0], compression="zlib", description=description, metadata=None)
    path.write_bytes(path.read_bytes() + bytes(volume().size))
    with pytest.raises(ImageError, match="cannot be read as TIFF"):
        read_header(path)


def test_slices_are_sorted_by_number(tmp_path):
    for n, page in enumerate(volume(shape=(12, 5, 6)), start=1):
        tifffile.imwrite(tmp_path / f"electrode_2_{n}.tif", page)
    (tmp_path / "notes.txt").write_text("not a slice")
    assert_reads(tmp_path, volume(shape=(12, 5, 6)), "slices")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_png_slices(tmp_path, dtype):
    values = volume(dtype)
    for n, page in enumerate(values):
        Image.fromarray(page).save(tmp_path / f"{n:03d}.png")
    assert_reads(tmp_path, values, "slices")


def test_missing_slice_is_named(tmp_path):
    for n in (1, 2, 3, 5):
        tifffile.imwrite(tmp_path / f"s{n:02d}.tif", volume()[0])
    with pytest.raises(ImageError, match=r"slice number 4 is missing, between 's03\.tif' and 's05\.tif'"):
        read_header(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a1.tif", "b2.tif"), "do not belong to one series"),
        (("a1.tif", "a2.png"), "do not belong to one series"),
        (("a1_1.tif", "a2_2.tif"), "differ in 2 numbers"),
        (("a1.tif", "a01.tif"), "differ in 0 numbers"),
        (("a1.tif", "a01.tif", "a2.tif"), "have the same number"),
        (("a.txt",), "holds no slices"),
    ],
)
def test_names_that_are_no_series(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ImageError, match=message):
        read_header(tmp_path)


def test_slices_must_agree(tmp_path):
    tifffile.imwrite(tmp_path / "1.tif", volume()[0])
    tifffile.imwrite(tmp_path / "2.tif", volume(np.uint16)[0])
    with pytest.raises(ImageError, match=r"2\.tif: is \(5, 6\) of uint16, but the first slice, '1\.tif', is .* uint8"):
        read_header(tmp_path)
    tifffile.imwrite(tmp_path / "2.tif", volume())
    with pytest.raises(ImageError, match="holds 7 pages; a slice has one"):
        read_header(tmp_path)


def test_truncated_slices(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    for n in (0, 1):
        Image.fromarray(noise).save(tmp_path / f"{n}.png")
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"1\.png: is truncated or damaged"):
        read_voxels(tmp_path)
    (tmp_path / "1.png").write_bytes(content[:12])
    with pytest.raises(ImageError, match=r"1\.png: cannot be read as PNG"):
        read_header(tmp_path)


def test_colour_png_is_refused(tmp_path):
    Image.fromarray(volume(shape=(5, 6, 3))).save(tmp_path / "1.png")
    with pytest.raises(ImageError, match="PNG of mode RGB"):
        read_header(tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "int64", ">i2", "float32", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, dtype, order):
    values = np.asarray(volume(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    assert_reads(tmp_path / "a.npy", values.astype(values.dtype.newbyteorder("=")), "npy")


def test_npy_copy_does_not_hold_the_file(tmp_path):
    np.save(tmp_path / "a.npy", volume())
    found = read_voxels(tmp_path / "a.npy")
    found[...] = 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), volume())


@pytest.mark.parametrize("change", [slice(0, -1), slice(0, 100), slice(0, 5)])
def test_truncated_npy(tmp_path, change):
    np.save(tmp_path / "a.npy", volume())
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[change])
    with pytest.raises(ImageError, match="truncated"):
        read_header(tmp_path / "a.npy")


def test_npy_with_a_tail_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", volume())
    with (tmp_path / "a.npy").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ImageError, match="has 339 bytes where its header promises 338"):
        read_header(tmp_path / "a.npy")


def test_npy_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[print]]], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match="Python objects"):
        read_voxels(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2, 2, 2)), "shape (2, 2, 2, 2)"),
        (np.zeros(4), "shape (4,)"),
        (np.zeros((2, 2, 2), complex), "type complex128"),
        (np.zeros((2, 2, 2), "U3"), "type <U3"),
    ],
)
def test_npy_of_what_is_no_image(tmp_path, values, message):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ImageError, match=re.escape(message)):
        read_header(tmp_path / "a.npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("offset", [0, 13])
def test_raw(tmp_path, order, byte_order, offset):
    values = volume(np.uint16) * 300
    stored = values.astype("<u2" if byte_order == "little" else ">u2")
    (tmp_path / "a.raw").write_bytes(bytes(offset) + stored.tobytes(order))
    options = {"shape": SHAPE, "dtype": "uint16", "order": order, "byte_order": byte_order, "offset": offset}
    assert_reads(tmp_path / "a.raw", values, "raw", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "declare its shape and dtype"),
        ({"shape": SHAPE}, "declare its shape and dtype"),
        ({"shape": (7, 5, 7), "dtype": "uint8"}, "has 210 bytes, but shape (7, 5, 7) of uint8 after 0 bytes is 245"),
        ({"shape": (7, 5, 5), "dtype": "uint8"}, "is 175; correct shape, dtype or offset"),
        ({"shape": SHAPE, "dtype": "uint16"}, "is 420; correct shape, dtype or offset"),
        ({"shape": SHAPE, "dtype": "uint8", "offset": 1}, "after 1 bytes is 211"),
        ({"shape": SHAPE, "dtype": "uint8", "offset": -1}, "offset = -1"),
        ({"shape": SHAPE, "dtype": "label"}, "dtype = 'label' is not known"),
        ({"shape": SHAPE, "dtype": "object"}, "type object"),
        ({"shape": SHAPE, "dtype": ">u1", "byte_order": "middle"}, "byte_order = 'middle'"),
        ({"shape": SHAPE, "dtype": ">u2"}, "is big-endian"),
        ({"shape": (0, 5, 6), "dtype": "uint8"}, "at least one voxel"),
    ],
)
def test_raw_declarations_that_do_not_fit(tmp_path, options, message):
    (tmp_path / "a.raw").write_bytes(volume().tobytes())
    with pytest.raises(ImageError, match=re.escape(message)):
        read_header(tmp_path / "a.raw", **options)


def test_vti_of_ours(tmp_path):
    write_vti(tmp_path / "a.vti", {"labels": volume()}, (1e-6, 2e-6, 3e-6))
    header = assert_reads(tmp_path / "a.vti", volume(), "vti")
    assert header.voxel_size_hint == (1e-6, 2e-6, 3e-6)
    assert "array 'labels' of CellData" in header.notes[0]


@pytest.mark.parametrize("mode", ["ascii", "binary"])
def test_vti_of_points_by_pyvista(tmp_path, mode):
    pyvista = pytest.importorskip("pyvista")
    image = pyvista.ImageData(dimensions=SHAPE)
    image.point_data["values"] = volume(np.int16).ravel(order="F")
    image.save(tmp_path / "a.vti", binary=mode == "binary")
    header = assert_reads(tmp_path / "a.vti", volume(np.int16), "vti")
    assert header.voxel_size_hint is None


def test_vti_reads_the_active_one_of_several_arrays(tmp_path):
    fields = {"labels": volume(), "c": volume(np.float32)}
    write_vti(tmp_path / "a.vti", fields, CUBE)
    assert_reads(tmp_path / "a.vti", volume(), "vti")
    text = (tmp_path / "a.vti").read_bytes().replace(b'<CellData Scalars="labels">', b"<CellData                 >")
    (tmp_path / "a.vti").write_bytes(text)
    with pytest.raises(ImageError, match=r"it has 'labels' \(CellData\), 'c' \(CellData\)"):
        read_header(tmp_path / "a.vti")


@pytest.mark.parametrize("kept", [10, 300, -300, -30, -2])
def test_truncated_vti(tmp_path, kept, capfd):
    write_vti(tmp_path / "a.vti", {"labels": volume()}, CUBE)
    (tmp_path / "a.vti").write_bytes((tmp_path / "a.vti").read_bytes()[:kept])
    with pytest.raises(ImageError, match=r"truncated|does not begin"):
        read_header(tmp_path / "a.vti")
    assert capfd.readouterr().err == ""


VTI_MODES = {
    "raw": ("SetDataModeToAppended", False, True),
    "base64": ("SetDataModeToAppended", True, True),
    "inline": ("SetDataModeToBinary", True, True),
    "plain raw": ("SetDataModeToAppended", False, False),
    "plain base64": ("SetDataModeToAppended", True, False),
    "plain inline": ("SetDataModeToBinary", True, False),
    "ascii": ("SetDataModeToAscii", True, False),
}


def write_vti_mode(path, mode, values, wide, big):
    """A file by VTK's own writer, with blocks so small that there are several."""
    pyvista = pytest.importorskip("pyvista")
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    call, encode, compress = VTI_MODES[mode]
    image = pyvista.ImageData(dimensions=np.add(values.shape, 1), spacing=(1e-6, 2e-6, 3e-6))
    image.cell_data["first"] = np.zeros(values.size)
    image.cell_data["labels"] = values.ravel(order="F")
    image.set_active_scalars("labels")
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    getattr(writer, call)()
    writer.SetEncodeAppendedData(encode)
    writer.SetBlockSize(64)
    writer.SetHeaderTypeToUInt64() if wide else writer.SetHeaderTypeToUInt32()
    writer.SetByteOrderToBigEndian() if big else writer.SetByteOrderToLittleEndian()
    writer.SetCompressorTypeToZLib() if compress else writer.SetCompressorTypeToNone()
    assert writer.Write() == 1


@pytest.mark.parametrize("mode", VTI_MODES)
@pytest.mark.parametrize(("wide", "big"), [(True, False), (False, True)])
@pytest.mark.parametrize("shape", [SHAPE, (8, 4, 4)], ids=["part of a block", "whole blocks"])
def test_vti_encodings(tmp_path, mode, wide, big, shape):
    values = volume(np.int16, shape) * 250
    write_vti_mode(tmp_path / "a.vti", mode, values, wide, big)
    assert_reads(tmp_path / "a.vti", values, "vti")


@pytest.mark.parametrize("mode", VTI_MODES)
def test_damaged_vti_is_refused_or_has_its_shape(tmp_path, mode):
    """Bytes changed at random, mostly in the lengths of the blocks: nothing but an ImageError may come of it."""
    write_vti_mode(tmp_path / "a.vti", mode, volume(np.int16), True, False)
    content, rng = (tmp_path / "a.vti").read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        (tmp_path / "b.vti").write_bytes(damaged)
        try:
            read_voxels(tmp_path / "b.vti", max_bytes=10**6)
        except ImageError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'WholeExtent="0 7 0 5 0 6"', b'WholeExtent="0 9 0 5 0 6"', "has 1 pieces of extents"),
        (b'"0 7 0 5 0 6"', b'"0 8 0 5 0 6"', "its data have 210 bytes, but"),
        (b'Direction="1 0 0 0 1', b'Direction="0 1 0 1 0', "turned in space"),
        (b'type="UInt8"', b'type="Bit"', "VTK type Bit"),
        (b'type="ImageData"', b'type="PolyData"', "holds PolyData, not ImageData"),
        (b"vtkZLib", b"vtkLZ4", "is compressed by vtkLZ4DataCompressor; allowed is"),
        (b"<VTKFile", b'<!DOCTYPE a [<!ENTITY b "c">]>\n<VTKFile', "defines entities"),
        (b"<ImageData", b"<ImageData <", "not well-formed"),
    ],
)
def test_vti_headers_that_cannot_be_right(tmp_path, old, new, message):
    write_vti(tmp_path / "a.vti", {"labels": volume()}, CUBE)
    content = (tmp_path / "a.vti").read_bytes()
    assert old in content
    (tmp_path / "a.vti").write_bytes(content.replace(old, new))
    with pytest.raises(ImageError, match=re.escape(message)):
        read_voxels(tmp_path / "a.vti")


def test_declared_shape_is_checked(tmp_path):
    path = write_tiff(tmp_path / "a.tif")
    assert read_header(path, shape=SHAPE, dtype="uint8").shape == SHAPE
    with pytest.raises(ImageError, match=r"holds \(7, 5, 6\) voxels, but shape = \[6, 5, 7\]"):
        read_voxels(path, shape=(6, 5, 7))
    with pytest.raises(ImageError, match="holds uint8, but dtype = uint16"):
        read_header(path, dtype="uint16")
    with pytest.raises(ImageError, match="describe raw files"):
        read_header(path, offset=8)


def test_memory_is_estimated_before_reading(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", volume(shape=(70, 100, 150)))
    assert read_voxels(path, max_bytes=70 * 100 * 150).shape == (70, 100, 150)
    monkeypatch.setattr("meshing.read._load", lambda *_: pytest.fail("read although it does not fit"))
    with pytest.raises(ImageError, match="need about 1 MiB to read, more than the 0 MiB allowed"):
        read_voxels(path, max_bytes=10**5)


def test_files_that_cannot_be_opened(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="no such file"):
        read_header(tmp_path / "a.tif")
    (tmp_path / "a.tif").touch()
    with pytest.raises(ImageError, match="is empty"):
        read_header(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"suffix '\.jpg', .* allowed are TIFF"):
        read_header(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="has no suffix"):
        read_header(tmp_path / "a")
    (tmp_path / "a.tif").write_text("this is a text, and no image at all")
    with pytest.raises(ImageError, match="does not begin as a TIFF"):
        read_header(tmp_path / "a.tif")
    os.mkfifo(tmp_path / "b.tif")
    with pytest.raises(ImageError, match="no regular file"):
        read_header(tmp_path / "b.tif")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"cannot be opened \(Permission denied\)"):
        read_header(tmp_path / "a.tif")


LABELS = {"pore": 0, "active": (1, 3), "binder": 2}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", ">i2", "int32", "uint64", "float32", "float64"])
def test_labels_of_any_type(dtype):
    values = np.random.default_rng(0).integers(0, 4, (4, 5, 6))
    image = label_image(values.astype(dtype), CUBE, LABELS)
    assert image.phases == ("pore", "active", "binder")
    np.testing.assert_array_equal(image.labels, np.array([0, 1, 2, 1])[values])
    assert image.labels.dtype == np.uint8


def test_labels_keep_the_order_of_the_declaration():
    values = volume(shape=(2, 2, 3)) % 2
    image = label_image(values, (1e-6, 2e-6, 3e-6), {"active": 1, "pore": 0})
    np.testing.assert_array_equal(image.labels, 1 - values)
    assert (image.phases, image.voxel_size) == (("active", "pore"), (1e-6, 2e-6, 3e-6))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "float32"])
def test_negative_values_can_be_labels_and_be_ignored(dtype):
    values = np.array([[[-1, 0, 7, -100]]], dtype=dtype)
    image = label_image(values, CUBE, {"pore": -1, "active": [0, 7]}, ignore=[-100, 99])
    np.testing.assert_array_equal(image.labels, [[[0, 1, 1, 2]]])
    assert image.phases == ("pore", "active", IGNORED)


def test_nothing_ignored_makes_no_phase():
    assert label_image(np.zeros((1, 1, 2), np.uint8), CUBE, {"pore": 0}, ignore=[255]).phases == ("pore",)


def test_one_bit_images():
    image = label_image(np.array([[[True, False]]]), CUBE, {"pore": 0, "active": 1})
    np.testing.assert_array_equal(image.labels, [[[1, 0]]])


def test_many_slabs_and_strided_views_give_the_same(monkeypatch):
    values = np.random.default_rng(0).integers(0, 3, (9, 8, 7)).astype(np.int16).transpose(2, 0, 1)[::-1]
    whole = label_image(values, CUBE, {"a": 0, "b": 1, "c": 2})
    monkeypatch.setattr("meshing.read.SLAB", 150)
    np.testing.assert_array_equal(label_image(values, CUBE, {"a": 0, "b": 1, "c": 2}).labels, whole.labels)
    np.testing.assert_array_equal(whole.labels, values)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "float32"])
def test_undeclared_values_are_named_with_their_share(dtype):
    values = np.array([[[0, 0, 0, 0, 0, 1, 2, 5]]], dtype=dtype)
    with pytest.raises(LabelError) as caught:
        label_image(values, CUBE, {"pore": 0, "active": 1})
    assert "neither labels nor ignore names: 2 (12.500%), 5 (12.500%)" in str(caught.value)
    assert "it contains 0 (62.500%)" in str(caught.value)


def test_declared_value_that_a_float_cannot_hold_does_not_occur():
    values = np.full((1, 1, 2), 2.0**24, np.float32)
    assert label_image(values, CUBE, {"a": 2**24}).phases == ("a",)
    with pytest.raises(LabelError):
        label_image(values, CUBE, {"a": 2**24 + 1})


def test_declared_value_that_does_not_occur():
    values = np.array([[[0, 0, 0, 1]]], dtype=np.uint8)
    with pytest.raises(LabelError, match=r"labels\.binder names the value 2, .* it contains 0 \(75\.000%\), 1 \(25"):
        label_image(values, CUBE, {"pore": 0, "active": 1, "binder": 2})
    for absent in (256, -1, 10**30):  # a table look-up must not wrap them around
        with pytest.raises(LabelError, match=rf"labels\.binder names the value {absent}, which does not occur"):
            label_image(values, CUBE, {"pore": 0, "active": 1, "binder": absent})


@pytest.mark.parametrize(
    ("labels", "ignore", "message"),
    [
        ({"pore": 0, "active": [1, 0]}, (), "the value 0 is named twice, in labels.pore and in labels.active"),
        ({"pore": 0, "active": 1}, (1,), "the value 1 is named twice, in labels.active and in ignore"),
        ({"pore": 0}, (5, 5), "the value 5 is named twice, in ignore and in ignore"),
        ({}, (), "labels names no phase"),
        ({"pore": 0, IGNORED: 1}, (), "none of them called 'ignored'"),
        ({"pore": []}, (), "labels.pore names no value"),
        ({"pore": [0.5]}, (), "labels.pore names 0.5, which is no whole number"),
        ({"pore": range(300)}, (), "name 300 values; at most 255"),
    ],
)
def test_declarations_that_mean_nothing(labels, ignore, message):
    with pytest.raises(LabelError, match=re.escape(message)):
        label_image(np.zeros((1, 1, 2), np.uint8), CUBE, labels, ignore)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_grey_floats_are_refused(value):
    values = np.array([[[0.0, 1.0, value, 1.0]]])
    with pytest.raises(LabelError, match=r"1 of 4 voxels hold fractions or NaN: this is a grey image.*segmented"):
        label_image(values, CUBE, {"pore": 0, "active": 1})


def test_grey_integers_are_refused():
    values = np.arange(600, dtype=np.uint16).reshape(1, 20, 30)
    with pytest.raises(LabelError, match=r"600 different values from 0 to 599, of which 598.*looks like a grey image"):
        label_image(values, CUBE, {"pore": 0, "active": 1})


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.zeros((0, 1, 1)), np.zeros((1, 1, 1), complex)])
def test_arrays_that_are_no_image_are_refused(values):
    with pytest.raises(LabelError, match="whole numbers on three axes"):
        label_image(values, CUBE, {"pore": 0})


def test_renamed_axes_carry_labels_and_sizes_along():
    labels = volume(shape=(2, 3, 4)) % 2
    image = VoxelImage(labels, (1e-6, 2e-6, 3e-6), ("pore", "active"))
    turned = rename_axes(image, "zxy")  # array axis 0 is z, 1 is x, 2 is y
    assert turned.voxel_size == (2e-6, 3e-6, 1e-6)
    assert turned.shape == (3, 4, 2)
    for i, j, k in np.ndindex(turned.shape):
        assert turned.labels[i, j, k] == labels[k, i, j]
    same = rename_axes(image, "xyz")
    np.testing.assert_array_equal(same.labels, labels)


@pytest.mark.parametrize("axes", ["xy", "xxz", "abc", "XYZ"])
def test_axes_that_are_no_permutation(axes):
    image = VoxelImage(np.zeros((1, 1, 1), np.uint8), CUBE, ("pore",))
    with pytest.raises(LabelError, match="must name each of x, y, z once"):
        rename_axes(image, axes)


REAL = {
    "matbox_nmc1cal_bridgeCBD.tif": ((251, 301, 301), "uint8", {0: 0.4006, 1: 0.4995, 2: 0.1000}),
    "matbox_Bi_layer.tif": ((240, 240, 240), "uint8", {0: 0.408, 1: 0.165, 2: 0.427}),
    "nrel_nmc1cal_grey75.tif": ((75, 75, 75), "uint16", None),
    "nrel_nmc1cal_grey75_sparselabels.tiff": ((75, 75, 75), "uint8", {0: 0.996}),
    "superres_SOFC_lr62.tif": ((62, 62, 62), "int8", {0: 0.3545, 1: 0.3408, 2: 0.3046}),
    "gasper_NMC111_2D_4phase.tif": ((1, 1150, 2000), "uint8", {0: 0.051, 1: 0.090, 2: 0.654, 3: 0.206}),
    "openimpala_blobs100.tif": ((100, 100, 100), "bool", {0: 0.6017, 1: 0.3983}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_images(name):
    folder = os.environ.get("BATTSIM_DATA")
    if not folder:
        pytest.skip("BATTSIM_DATA does not name the folder of real images")
    shape, dtype, fractions = REAL[name]
    header = read_header(Path(folder) / name, shape=shape, dtype=dtype)
    values = read_voxels(header.path)
    if fractions is None:
        assert (values.min(), values.max()) == (12471, 48892)
        with pytest.raises(LabelError, match="looks like a grey image"):
            label_image(values, CUBE, {"pore": 12471})
        return
    present = {f"phase {value}": value for value in np.unique(values).astype(int).tolist()}
    image = label_image(values, CUBE, present)
    for value, fraction in fractions.items():
        # published to three or four digits
        assert image.volume_fraction(f"phase {value}") == pytest.approx(fraction, abs=6e-4)
