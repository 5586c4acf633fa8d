"""What a destination may be, and the files of its line."""

from __future__ import annotations

import ssl

import pytest

from fedmed.dicom.destination import Destination, Tls, is_ae_title
from fedmed.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"host": ""}, "the host is ''"),
        ({"host": "a b"}, "the host is 'a b'"),
        ({"port": 0}, "the port is 0"),
        ({"port": 65536}, "the port is 65536"),
        ({"ae_title": ""}, "the called AE title"),
        ({"ae_title": "A" * 17}, "the called AE title"),
        ({"ae_title": "   "}, "the called AE title"),
        ({"calling": "A\\B"}, "the calling AE title"),
        ({"calling": "医院"}, "the calling AE title"),
        ({"connect_s": 0.0}, "connect_s is 0.0"),
        ({"answer_s": float("nan")}, "answer_s is nan"),
    ],
)
def test_what_can_be_no_destination_is_refused_by_name(changes, named):
    with pytest.raises(ConfigError, match=named):
        Destination(**({"host": "pacs", "port": 104, "ae_title": "PACS"} | changes))


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        Destination("", 0, "")
    assert all(part in str(refused.value) for part in ("host", "port", "called AE title"))


@pytest.mark.parametrize("title", ["A", "A" * 16, " PACS ", "P-1_x"])
def test_ae_titles_of_the_standard_are_allowed(title):
    assert is_ae_title(title)


def test_files_that_are_no_certificates_are_named(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem is no certificate"):
        Tls(tmp_path / "ca.pem").context()
    with pytest.raises(ConfigError, match=r"gone\.pem is no certificate"):
        Tls(tmp_path / "gone.pem").context()


def test_old_ciphers_and_versions_are_never_offered(authority):
    made = Tls(authority / "ca.pem").context()
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.verify_mode == ssl.CERT_REQUIRED
    assert made.check_hostname
    old = [each["name"] for each in made.get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert old
    assert all(name.startswith("ECDHE") and ("GCM" in name or "CHACHA20" in name) for name in old)
