"""Files of data: all of what was written, or an error."""

import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open

from skdeepclust.engine import archive
from skdeepclust.engine.archive import Damaged, read, replacing, write
from skdeepclust.engine.tree import NotStorable, pack, unpack

TREE = {
    "weights": torch.arange(12, dtype=torch.float32).view(3, 4),
    "half": torch.ones(2, 3, dtype=torch.bfloat16),
    "empty": torch.empty(0, 5),
    "scalar": torch.tensor(7),
    "array": np.arange(4, dtype=np.int64),
    "shape": (1, 8, 8),
    "state": {0: torch.zeros(2), "betas": (0.9, 0.999), "$odd": 1},
    "history": [{"loss": 0.1 + 0.2, "change": math.nan, "bound": -math.inf, "stop": False}],
    "name": "ünïcode\0\udc80",
    "none": None,
}


def written(path, tree=TREE):
    write(path, "model", 1, tree)
    return path


def test_a_tree_comes_back_as_it_was(tmp_path):
    found = read(written(tmp_path / "file"), "model", 1)
    assert found.keys() == TREE.keys()
    for name in ("weights", "half", "empty", "scalar"):
        assert torch.equal(found[name], TREE[name]) and found[name].dtype == TREE[name].dtype
    np.testing.assert_equal(found["history"], TREE["history"])
    np.testing.assert_array_equal(found["array"], TREE["array"])
    assert torch.equal(found["state"].pop(0), torch.zeros(2))
    assert found["state"] == {"betas": (0.9, 0.999), "$odd": 1}
    assert found["shape"] == (1, 8, 8) and isinstance(found["shape"], tuple)
    assert found["name"] == TREE["name"] and found["none"] is None


def test_tensors_of_any_memory_order_are_written_row_by_row(tmp_path):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    found = read(written(tmp_path / "file", {"x": x, "t": x[0, 0].T}), "model", 1)
    assert torch.equal(found["x"], x) and torch.equal(found["t"], x[0, 0].T)


def test_other_programs_read_the_tensors(tmp_path):
    with safe_open(written(tmp_path / "file"), "pt") as file:
        assert torch.equal(file.get_tensor("weights"), TREE["weights"])
        assert json.loads(file.metadata()["skdeepclust"])["kind"] == "model"


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, b"bytes", np.array([object()]), len])
def test_what_is_no_data_is_refused_by_its_place(value):
    with pytest.raises(NotStorable, match=r"a\.1"):
        pack({"a": [1, value]}, {})


def test_every_flipped_bit_is_found(tmp_path):
    path = written(tmp_path / "file", {"w": torch.arange(3.0), "s": [1, 2]})
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            read(path, "model", 1)


def test_every_other_length_is_found(tmp_path):
    path = written(tmp_path / "file")
    whole = path.read_bytes()
    for content in [*(whole[:n] for n in range(len(whole))), whole + b"\0", whole + whole]:
        path.write_bytes(content)
        with pytest.raises(Damaged):
            read(path, "model", 1)


def test_other_kinds_and_later_versions_are_refused(tmp_path):
    path = written(tmp_path / "file")
    with pytest.raises(ValueError, match="is a model, not a checkpoint"):
        read(path, "checkpoint", 1)
    write(path, "model", 2, TREE)
    with pytest.raises(ValueError, match="version 2"):
        read(path, "model", 1)


@pytest.mark.parametrize(
    "packed",
    [{"$tensor": "other"}, {"$unknown": 1}, {"$float": "1"}, {"$items": [1]}, {"$array": []}],
)
def test_packed_trees_of_others_are_refused(packed):
    with pytest.raises((KeyError, ValueError, TypeError)):
        unpack({"a": packed}, {})


def test_depth_is_bounded():
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="deep"):
        unpack(deep, {})


@pytest.mark.parametrize(
    "nest", [lambda x: [x], lambda x: (x,), lambda x: {"a": x}, lambda x: {1: x}]
)
def test_what_is_packed_can_be_unpacked_however_deep(nest):
    tree, refused = 0, 0
    for _ in range(70):
        tree = nest(tree)
        try:
            packed = pack(tree, {}, "card")
        except NotStorable as error:
            assert "nested more than 64 deep" in str(error) and str(error).startswith("card.")
            refused += 1
        else:
            assert not refused and unpack(packed, {}) == tree
    assert refused


@pytest.mark.parametrize("when", range(1, 8))
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, when):
    path = written(tmp_path / "file", {"x": torch.zeros(3)})
    raw, calls = archive._raw, []

    def full(tensor):
        calls.append(tensor)
        if len(calls) == when:
            raise OSError(28, "No space left on device")
        return raw(tensor)

    monkeypatch.setattr(archive, "_raw", full)
    with pytest.raises(OSError, match=str(path)):
        write(path, "model", 1, {str(i): torch.ones(5) for i in range(7)})
    assert os.listdir(tmp_path) == ["file"]
    assert torch.equal(read(path, "model", 1)["x"], torch.zeros(3))


def test_what_is_on_the_disk_before_the_name_is_all_of_it(tmp_path, monkeypatch):
    """A power cut keeps only what was synchronised: the file is, before it gets its name."""
    order = []
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), replace(*names)))
    written(tmp_path / "file")
    assert order == ["fsync", "replace", "fsync"]


def test_a_link_stays_one(tmp_path):
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["target"]


def test_a_name_may_be_as_long_as_names_are(tmp_path):
    path = tmp_path / ("é" * 127)
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_an_error_keeps_its_words(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(OSError, match="no device"), replacing(path):
        raise OSError("no device")
    with pytest.raises(OSError, match=r"No space left.*a'"), replacing(path):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
