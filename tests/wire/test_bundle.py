from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.wire import bundle

NAMES = st.from_regex(r"\A[a-z_]{1,8}(/[a-z]{1,8}){0,2}\.(py|md|json)\Z")
FILES = st.dictionaries(NAMES, st.binary(max_size=200), min_size=1, max_size=6)


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return made.getvalue()


@given(FILES)
def test_one_app_is_one_file_in_whatever_order_it_is_read(files):
    packed = bundle.pack(files)
    assert packed == bundle.pack(dict(reversed(files.items())))
    assert bundle.unpack(packed) == files


@given(FILES, FILES)
def test_other_files_have_another_digest(one, other):
    assert (bundle.digest_of(one) == bundle.digest_of(other)) == (one == other)
    assert (bundle.pack(one) == bundle.pack(other)) == (one == other)


def test_a_folder_without_caches_and_hidden_files(tmp_path):
    (tmp_path / "pkg" / "__pycache__").mkdir(parents=True)
    for name in ("pyproject.toml", "pkg/app.py", "pkg/__pycache__/app.pyc", ".git"):
        (tmp_path / name).write_text(name)
    assert bundle.files_in(tmp_path) == {"pkg/app.py": b"pkg/app.py", "pyproject.toml": b"pyproject.toml"}


@pytest.mark.parametrize("name", ["weights.bin", "a b.py", "lib.so"])
def test_a_folder_with_what_no_app_holds(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="move it out"):
        bundle.files_in(tmp_path)


def test_a_folder_with_a_link_or_with_nothing(tmp_path):
    with pytest.raises(ConfigError, match="holds no files"):
        bundle.files_in(tmp_path)
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="plain files"):
        bundle.files_in(tmp_path)


def link(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = 0o120777 << 16
    return made


@pytest.mark.parametrize(
    "content",
    [
        zipped(("../a.py", b"")),
        zipped(("/etc/a.py", b"")),
        zipped(("a\\b.py", b"")),
        zipped(("pkg/", b"")),
        zipped(("pkg/lib.so", b"")),
        zipped(("a.py", b"1"), ("A.py", b"2")),
        zipped((link("a.py"), b"/etc/passwd")),
        zipped(("a.py", bytes(bundle.MOST_UNPACKED + 1)), how=zipfile.ZIP_DEFLATED),
        zipped(*((f"a{n}.py", b"") for n in range(bundle.MOST_FILES + 1))),
        bytes(bundle.MOST_BYTES + 1),
        b"no zip",
        zipped(("a.py", b"x" * 100))[:-30],
    ],
)
def test_what_no_clinic_unpacks(content):
    with pytest.raises(ProtocolRefused):
        bundle.unpack(content)


def test_damaged_content_is_noticed():
    content = bytearray(zipped(("a.py", b"print(1)"), how=zipfile.ZIP_DEFLATED))
    content[40] ^= 0xFF
    with pytest.raises(ProtocolRefused):
        bundle.unpack(bytes(content))


def test_an_app_that_is_too_large_cannot_be_packed():
    with pytest.raises(ConfigError, match="keep data"):
        bundle.pack({"a.py": bytes(bundle.MOST_BYTES)})
