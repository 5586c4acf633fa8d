"""Options before the clinic's file, the file before the environment; faults as one finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.clinic.doctor.settings import Given, Proxy, Settings, read_settings
from fedmed.operation.doctor.finding import Finding, Status

FILE = """\
host: center.example
port: 8443
proxy: http://wards:8080
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clinic.yaml").write_text(FILE)
    (tmp_path / "transport-ca.crt").write_text("authority")
    return tmp_path


def read(given: Given, environment: str | None = None) -> Settings:
    found, settings = read_settings(given, lambda _: environment)
    assert found.status is Status.OK, found
    assert settings is not None
    return settings


def refused(given: Given, environment: str | None = None) -> Finding:
    found, settings = read_settings(given, lambda _: environment)
    assert settings is None
    assert found.status is Status.FAIL
    assert found.allowed
    assert found.todo
    return found


def test_a_clinics_folder_says_it_all(folder: Path):
    found = read(Given(folder), "http://other:1")
    assert (found.host, found.port, found.proxy) == ("center.example", 8443, Proxy("wards", 8080))
    assert (found.ca, found.certificate) == (folder / "transport-ca.crt", None)


def test_options_go_before_the_file(folder: Path):
    found = read(Given(folder, "10.0.0.1", 443, "none"), "http://other:1")
    assert (found.host, found.port, found.proxy) == ("10.0.0.1", 443, None)


def test_the_environment_counts_where_nobody_else_says(folder: Path):
    (folder / "clinic.yaml").write_text("host: center.example\n")
    found = read(Given(folder), "http://u:p%40ss@other:3128/")
    assert found.port == 443
    assert found.proxy == Proxy("other", 3128, "u", "p@ss")


def test_the_members_own_certificate_is_taken_once_it_is_there(folder: Path):
    for name in ("member.crt", "member.keys"):
        (folder / name).write_text("pem")
    assert read(Given(folder)).key == folder / "member.keys"


@pytest.mark.parametrize("host", ["", "a b", "https://center", "user@center", "zentrüm"])
def test_a_host_that_is_none(folder: Path, host: str):
    (folder / "clinic.yaml").unlink()
    assert "host" in refused(Given(folder, host)).got


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none(folder: Path, port: int):
    assert str(port) in refused(Given(folder, port=port)).got


@pytest.mark.parametrize("proxy", ["socks5://s:1", "http://", "http://p:port", "p:80", "http://p:80/path"])
def test_a_proxy_that_is_none(folder: Path, proxy: str):
    assert "--proxy" in refused(Given(folder, proxy=proxy)).got


def test_a_proxys_password_is_not_shown(folder: Path):
    assert "secret" not in refused(Given(folder, proxy="socks5://u:secret@p:1")).got


@pytest.mark.parametrize("text", ["host: [", "- a\n", "host: a\nhost: b\n", "\x00"])
def test_a_file_that_is_not_in_order(folder: Path, text: str):
    (folder / "clinic.yaml").write_text(text)
    assert "clinic.yaml" in refused(Given(folder)).got


def test_a_file_that_is_not_text(folder: Path):
    (folder / "clinic.yaml").write_bytes(b"\xff\xfe\xff")
    assert "UTF-8" in refused(Given(folder)).allowed


def test_an_authority_that_is_not_there(folder: Path):
    assert "No such file" in refused(Given(folder, ca=folder / "none.pem")).got


def test_a_certificate_without_its_key(folder: Path):
    assert refused(Given(folder, certificate=folder / "clinic.yaml")).allowed == "both or neither"
