from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from fedmed.wire.tls import serving


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return made(tmp_path_factory.mktemp("tls"), "one", "-nodes")


def made(folder: Path, name: str, *how: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-days", "2"]
    subprocess.run([*command, "-subj", "/CN=x", "-keyout", key, "-out", certificate, *how], check=True, capture_output=True)
    return certificate, key


def test_a_server_speaks_nothing_older_than_it_is_told_and_resumes_nothing(pair: tuple[Path, Path]):
    assert serving(*pair).minimum_version is ssl.TLSVersion.TLSv1_3
    older = serving(*pair, oldest=ssl.TLSVersion.TLSv1_2)
    assert older.minimum_version is ssl.TLSVersion.TLSv1_2
    assert older.num_tickets == 0
    assert older.verify_mode is ssl.CERT_NONE  # whom a port lets in is its own to say


def test_files_that_do_not_go_together_are_not_there_or_want_a_password_are_refused(pair: tuple[Path, Path], tmp_path: Path):
    certificate, key = pair
    other = made(tmp_path, "other", "-nodes")
    locked = made(tmp_path, "locked", "-passout", "pass:secret")
    for wrong in ((certificate, other[1]), (certificate, tmp_path / "none"), (key, key), locked):
        with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError is one
            serving(*wrong)
