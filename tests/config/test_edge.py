from __future__ import annotations

import pytest

from fedmed.config.edge import Edge
from fedmed.config.roles import read_role, written
from fedmed.errors import ConfigError

LEAST = "name: us-1\nhub: hub.clinic.example\n"


def test_a_name_and_a_hub_are_enough_and_what_is_written_is_read_again():
    made = read_role(LEAST, "edge.yaml", Edge)
    assert (made.port, made.dicom.ae_title, made.pacs, made.training) == (8443, "FEDMED", None, None)
    assert made.stow is None  # nothing listens that was not asked for, but the DICOM port
    assert read_role(written(made).decode(), "edge.yaml", Edge) == made


def test_every_key_is_explained():
    assert [name for name, field in Edge.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dicom: {ae_title: seventeen_letters}", "has 1 to 16 printable ASCII"),
        ('dicom: {ae_title: "back\\\\slash"}', "is no AE title"),
        ("dicom: {callers: [OK, ' blank']}", "is no AE title"),
        ('line: {quiet: "7-19"}', "07:00-19:00"),
        ('line: {quiet: "24:00-06:00"}', "no hours"),
        ("line: {megabits: 0}", "greater than 0"),
        ("keep: {gigabytes: -1}", "greater than 0"),
        ("pacs: {host: pacs}", "missing"),
        ("inference: {precision: int4}", "'auto', 'fp32', 'fp16' or 'int8'"),
        ("dicom: {tls: {certificate: us.pem, key: us.key}}", "missing"),
        ("pacs: {host: pacs, ae_title: PACS, tls: {ca: ca.pem, key: us.key}}", "both or none"),
        ("trainning: true", "allowed here"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, said: str):
    with pytest.raises(ConfigError, match=said) as raised:
        read_role(LEAST + text, "edge.yaml", Edge)
    assert "edge.yaml:3" in str(raised.value)
