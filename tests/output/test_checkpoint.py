import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from battsim.output.checkpoint import any_in, remove_after, save, whole

ODD = [0.1, -0.0, 1.0 / 3.0, 5e-324, 1.7976931348623157e308, np.nextafter(3.5, 4.0)]
"""Floats whose shortest texts are long, signed, subnormal and huge."""


def content_of(number: int) -> dict[str, Any]:
    return {"number": number, "floats": [float(value) for value in ODD], "none": None, "nested": {"name": "t_0.vti"}}


def arrays_of(number: int) -> dict[str, np.ndarray]:
    return {"u": np.array([*ODD, number]), "v": np.random.default_rng(number).standard_normal(1000)}


def saved(folder: Path, *numbers: int) -> list[Path]:
    return [save(folder, number, content_of(number), arrays_of(number)) for number in numbers]


def test_what_is_read_has_the_bits_of_what_was_saved(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoints", 7)
    [found], wrong = whole(tmp_path / "checkpoints")
    assert wrong == []
    assert found.number == 7
    assert found.content == content_of(7)
    assert np.array(found.content["floats"]).tobytes() == np.array(ODD).tobytes()
    assert {name: array.tobytes() for name, array in found.arrays().items()} == {
        name: array.tobytes() for name, array in arrays_of(7).items()
    }


def test_the_last_two_are_kept_with_their_digests_and_nothing_else(tmp_path: Path) -> None:
    paths = saved(tmp_path, 2, 9, 10, 111)
    assert [found.number for found in whole(tmp_path)[0]] == [111, 10]
    names = {path.name for path in paths[2:]}
    assert {path.name for path in tmp_path.iterdir()} == names | {f"{name}.sha256" for name in names}
    for path in paths[2:]:
        # as sha256sum writes it
        digest = path.with_name(f"{path.name}.sha256").read_text()
        assert digest == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def without_digest(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").unlink()


def no_checkpoint(path: Path) -> None:
    path.write_bytes(b"PK")
    path.with_name(f"{path.name}.sha256").write_text(hashlib.sha256(b"PK").hexdigest())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "is damaged"),
        (flip, "is damaged"),
        (without_digest, "has no checkpoint_00000020.npz.sha256"),
        (no_checkpoint, "cannot be read"),
    ],
)
def test_a_damaged_one_is_told_and_leaves_the_one_before(tmp_path: Path, damage: Any, words: str) -> None:
    paths = saved(tmp_path, 10, 20)
    damage(paths[1])
    found, wrong = whole(tmp_path)
    assert [checkpoint.number for checkpoint in found] == [10]
    assert len(wrong) == 1
    assert words in wrong[0]
    assert str(paths[1]) in wrong[0]
    # the run goes on from the one before: what is newer is gone, and written again
    remove_after(found[0])
    assert {path.name for path in tmp_path.iterdir()} == {paths[0].name, f"{paths[0].name}.sha256"}
    saved(tmp_path, 20)
    assert [checkpoint.number for checkpoint in whole(tmp_path)[0]] == [20, 10]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_on_the_way_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    saved(tmp_path, 10, 20)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os if call == "fsync" else Path, call, full)
        with pytest.raises(OSError, match="No space"):
            saved(tmp_path, 30)
    found, wrong = whole(tmp_path)
    assert ([checkpoint.number for checkpoint in found], wrong) == ([20, 10], [])
    assert not list(tmp_path.glob("*.part"))
    remove_after(found[0])
    assert len(list(tmp_path.iterdir())) == 4


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    (tmp_path / ".checkpoint_00000020.npz.part").write_bytes(b"half")
    (tmp_path / "checkpoint_00000020.npz.sha256").write_text("digest without its file")
    found, wrong = whole(tmp_path)
    assert wrong == []
    remove_after(found[0])
    assert len(list(tmp_path.iterdir())) == 2


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_mine.npz").touch()
    assert not any_in(tmp_path)
    assert not any_in(tmp_path / "nowhere")
    assert whole(tmp_path / "nowhere") == ([], [])
    saved(tmp_path, 1, 2, 3)
    assert any_in(tmp_path)
    assert (tmp_path / "checkpoint_mine.npz").exists()
