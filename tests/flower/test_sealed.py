from __future__ import annotations

import fcntl
import mmap
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import DataError, UpdateRefused
from fedmed.flower import sealed
from fedmed.flower.sealed import SEALS, opened, pieces, seal, unseal

MOST = 2**20
TENSORS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3), "none": np.zeros((0, 4), np.int8)}


def file_of(content: bytes, seals: int = SEALS, size: int | None = None) -> int:
    file = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(file, content)
    if size is not None:
        os.ftruncate(file, size)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


def whole(head: bytes = b"{}", tensors=TENSORS) -> bytes:
    return b"".join(pieces(head, tensors))


@pytest.fixture
def made(request):
    """A descriptor that is closed afterwards."""
    file = request.param()
    yield file
    os.close(file)


@given(head=st.binary(max_size=300), shape=st.lists(st.integers(0, 4), max_size=3))
def test_what_is_sealed_is_read(head, shape):
    tensors = {**TENSORS, "x": np.ones(shape, np.float64)}
    file = seal(head, tensors)
    try:
        said, found = unseal(file, MOST)
    finally:
        os.close(file)
    assert said == head
    assert {name: (v.dtype, v.shape, v.tolist()) for name, v in found.items()} == {
        name: (v.dtype, v.shape, v.tolist()) for name, v in tensors.items()
    }
    assert all(value.ctypes.data % value.itemsize == 0 for value in found.values())


@pytest.mark.parametrize("made", [lambda: seal(b"head", TENSORS)], indirect=True)
def test_nobody_changes_it_any_more(made):
    with pytest.raises(PermissionError):
        os.write(made, b"x")
    for size in (0, 2**20):
        with pytest.raises(PermissionError):
            os.ftruncate(made, size)
    with pytest.raises(PermissionError):
        mmap.mmap(made, 64)
    with pytest.raises(PermissionError):
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_EXEC if hasattr(fcntl, "F_SEAL_EXEC") else 0x10)
    _, tensors = unseal(made, MOST)
    with pytest.raises(ValueError, match="read-only"):
        tensors["w"][0] = 1


def writable() -> int:
    """A file that somebody still has mapped for writing cannot be sealed against it."""
    file = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(file, whole())
    kept = mmap.mmap(file, len(whole()))
    with pytest.raises(OSError, match="busy"):
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, SEALS)
    kept.close()
    return file


def ordinary() -> int:
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"fedmed-test-{os.getpid()}"
    path.write_bytes(whole())
    file = os.open(path, os.O_RDONLY)
    path.unlink()
    return file


def pipe() -> int:
    read, write = os.pipe()
    os.close(write)
    return read


@pytest.mark.parametrize(
    "made",
    [
        *[lambda seals=SEALS & ~each: file_of(whole(), seals) for each in (2, 4, 8)],
        *(writable, ordinary, pipe, lambda: os.open("/dev/zero", os.O_RDONLY)),
    ],
    indirect=True,
)
def test_what_can_still_be_changed_is_not_looked_at(made):
    with pytest.raises(UpdateRefused, match="only sealed files in memory are read"):
        unseal(made, MOST)


@pytest.mark.parametrize("made", [lambda: file_of(whole())], indirect=True)
def test_a_file_may_have_so_many_bytes(made):
    unseal(made, len(whole()))
    with pytest.raises(UpdateRefused, match=f"an answer of {len(whole())} bytes; {len(whole()) - 1} are allowed"):
        unseal(made, len(whole()) - 1)


@pytest.mark.parametrize(
    "made", [lambda: file_of(b""), lambda: file_of(b"x" * 63), lambda: file_of(whole(), size=2**19)], indirect=True
)
def test_a_file_is_all_there(made):
    with pytest.raises(UpdateRefused, match="not all there"):
        unseal(made, MOST)


@given(content=st.binary(min_size=64, max_size=400))
def test_any_bytes_are_read_or_refused(content):
    try:
        opened(content)
    except (UpdateRefused, DataError):
        return
    assert int.from_bytes(content[:8], "little") < len(content)


@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_any_change_is_read_or_refused_and_nothing_beyond_is_read(place, value):
    content = bytearray(whole())
    content[place % len(content)] = value
    try:
        _, tensors = opened(bytes(content))
    except (UpdateRefused, DataError):
        return
    assert sum(each.nbytes for each in tensors.values()) <= len(content)


@pytest.mark.parametrize("length", [sealed.MAX_HEAD + 1, 2**63, 10_000])
def test_a_head_and_a_table_have_a_longest_length(length):
    with pytest.raises(UpdateRefused, match="head has"):
        opened(length.to_bytes(8, "little") + bytes(1000))
    if length > sealed.MAX_HEAD:
        with pytest.raises(UpdateRefused, match="table of tensors"):
            opened(bytes(8) + bytes(56) + length.to_bytes(8, "little") + bytes(1000))


def test_without_memory_it_is_an_error_that_says_so():
    program = (
        "import resource, numpy as np\n"
        "from fedmed.flower.sealed import seal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "seal(b'', {'w': np.zeros(1_000_000, np.float32)})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "FederationError: no memory for a message of 4000" in done.stderr


def test_a_dtype_that_does_not_travel_leaves_no_file_open():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(DataError, match="complex64"):
        seal(b"", {"w": np.zeros(2, np.complex64)})
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before
