from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import DataError, ReleaseRefused
from fedmed.releases.manifest import MOST_BYTES, MOST_FILES, File, Manifest, of_folder, read_manifest
from fedmed.wire.canonical import canonical
from fedmed.wire.tensors import sha256

MANIFEST = Manifest(3, "thorax", "1.0+b", {"model.onnx": File(3, "a" * 64), "card.json": File(0, "b" * 64)})


@given(
    st.integers(1, 99_999_999),
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True), st.integers(0, 1 << 26), min_size=1, max_size=9
    ),
)
def test_written_and_read(counter, sizes):
    files = {name: File(size, sha256(name.encode())) for name, size in sizes.items()}
    made = Manifest(counter, "thorax", "1.0", files)
    assert read_manifest(made.encoded()) == made
    assert made.size == sum(sizes.values())


def test_the_package_is_known_whatever_the_counter():
    again = Manifest(9, "other", "2", dict(reversed(MANIFEST.files.items())))
    assert again.package == MANIFEST.package
    assert Manifest(3, "thorax", "1.0+b", {"model.onnx": File(4, "a" * 64)}).package != MANIFEST.package


def changed(**keys: object) -> bytes:
    return canonical({**json.loads(MANIFEST.encoded()), **keys})


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"[" * 10_000, b"\xff", b"x" * (MOST_BYTES + 1), MANIFEST.encoded() + b" ",
        changed(kind="other"), changed(version=2), changed(counter=0), changed(counter=True), changed(counter=10**9),
        changed(counter="1"), changed(name="a b"), changed(name=None), changed(release=""),
        changed(files={}), changed(more=1),
        changed(files={"../x": {"bytes": 1, "sha256": "a" * 64}}), changed(files={"a/b": {"bytes": 1, "sha256": "a" * 64}}),
        changed(files={".": {"bytes": 1, "sha256": "a" * 64}}), changed(files={"x": {"bytes": -1, "sha256": "a" * 64}}),
        changed(files={"x": {"bytes": 1.0, "sha256": "a" * 64}}), changed(files={"x": {"bytes": 1, "sha256": "A" * 64}}),
        changed(files={"x": {"bytes": 1, "sha256": None}}), changed(files={"x": {"bytes": 1 << 40, "sha256": "a" * 64}}),
        changed(files={"x": 3}), changed(files=[1]), changed(package="0" * 64),
        changed(files={f"f{n}": {"bytes": 1, "sha256": "a" * 64} for n in range(MOST_FILES + 1)}),
    ],
)  # fmt: skip
def test_what_is_none(content):
    with pytest.raises(ReleaseRefused, match="manifest"):
        read_manifest(content)


def test_a_folder_of_a_package(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"abc")
    made = of_folder(tmp_path, 1, "thorax", "1.0")
    assert made.files == {"model.onnx": File(3, sha256(b"abc"))}
    (tmp_path / "link").symlink_to(tmp_path / "model.onnx")
    with pytest.raises(DataError, match="'link' in it is no plain file"):
        of_folder(tmp_path, 1, "thorax", "1.0")
    with pytest.raises(DataError, match="cannot be read"):
        of_folder(tmp_path / "none", 1, "thorax", "1.0")
