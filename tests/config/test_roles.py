from __future__ import annotations

import pytest

from fedmed.config.hosts import is_host
from fedmed.config.roles import Center, Clinic, load_role, written
from fedmed.errors import ConfigError

CENTER = Center(federation="study", host="center.example.org", also=("10.0.0.1", "::1"))
CLINIC = Clinic(
    federation="study", name="north", host="10.0.0.1", port=8443, proxy="http://a:b@proxy:3128", center="ab" * 32
)


@pytest.mark.parametrize("role", [CENTER, CLINIC, CLINIC.model_copy(update={"proxy": None, "name": "007"})])
def test_what_is_written_is_read(tmp_path, role):
    (tmp_path / "role.yaml").write_bytes(written(role))
    assert load_role(tmp_path / "role.yaml", type(role)) == role
    lines = written(role).splitlines()
    keys = [line for line in lines if not line.startswith(b"#")]
    assert len(keys) == len(type(role).model_fields)
    assert all(lines[lines.index(key) - 1].startswith(b"# ") for key in keys)


def test_every_fault_at_once_with_its_line(tmp_path):
    text = "federation: Big Study\nhost: https://center\nprot: 443\nport: 70000\ncertificate_days: many\n"
    (tmp_path / "center.yaml").write_text(text)
    with pytest.raises(ConfigError) as found:
        load_role(tmp_path / "center.yaml", Center)
    said = str(found.value)
    for line, about in enumerate(
        ("federation", "host: got 'https", "prot: unknown key (did you mean port?)", "port", "cert"), 1
    ):
        assert f"center.yaml:{line}: {about}" in said
    assert said.startswith("5 faults")


@pytest.mark.parametrize(
    ("content", "why"), [(b"", ":1: holds no keys"), (b"# host: a\n", ":1: holds no keys"), (b"a: [\n", "not valid YAML")]
)
def test_what_cannot_be_read_is_one_fault(tmp_path, content, why):
    (tmp_path / "center.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as found:
        load_role(tmp_path / "center.yaml", Center)
    assert why in str(found.value)
    assert str(found.value).startswith("1 fault in ")


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"a: [\n", b"\xff", b"federation: &a study\nhost: *a\n"])
def test_no_configuration(tmp_path, content):
    (tmp_path / "center.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"center\.yaml"):
        load_role(tmp_path / "center.yaml", Center)
    with pytest.raises(ConfigError, match="--at"):
        load_role(tmp_path / "none.yaml", Center)


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://proxy", "http://proxy/path", "http://", "http://a b"])
def test_proxies_that_cannot_be_dialled(tmp_path, proxy):
    text = written(CLINIC).replace(b"http://a:b@proxy:3128", proxy.encode())
    (tmp_path / "clinic.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match="proxy"):
        load_role(tmp_path / "clinic.yaml", Clinic)


@pytest.mark.parametrize("host", ["center", "a.b-c.example.org", "10.0.0.1", "::1", "_x.example.org"])
def test_hosts(host):
    assert is_host(host)


NONE = ["", "A.org", "a b", "a..b", "-a", "a/b", "a:443", "a" * 254, "a.org\n", "é.org", "user@a", "fe80::1%eth0"]


@pytest.mark.parametrize("host", NONE)
def test_no_hosts(host):
    assert not is_host(host)


def models(line: str) -> str:
    return written(CENTER).decode().split("models: ")[0] + f"models: {line}\n"


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("{lats: 3}", "models.lats: unknown key (did you mean last?)"),
        ("{last: 0}", "models.last: got 0"),
        ("{copy_to: s3://bucket}", "models: copy_to names a bucket, and nothing says who may write it"),
        ("{copy_to: ftp://x}", "models.copy_to: got"),
        ("{key: here}", "models.key: got"),
    ],
)
def test_faults_of_a_section_name_its_keys(tmp_path, line, about):
    (tmp_path / "center.yaml").write_text(models(line))
    with pytest.raises(ConfigError) as found:
        load_role(tmp_path / "center.yaml", Center)
    assert about in str(found.value)


def test_a_section_in_part(tmp_path):
    (tmp_path / "center.yaml").write_text(models("{last: 3, minutes: 120}"))
    found = load_role(tmp_path / "center.yaml", Center).models
    assert (found.last, found.best, found.minutes) == (3, 3, 120.0)
