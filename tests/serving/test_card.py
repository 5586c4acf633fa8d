from __future__ import annotations

import json

import pytest

from fedmed.errors import PackageRefused
from fedmed.serving.card import MOST_TOLERANCES, TOLERANCES, File, Preparation, read_card
from fedmed.wire.canonical import canonical, digest
from tests.serving.models import card


def altered(**changes) -> bytes:
    """A card whose digest fits whatever is in it."""
    told = {**json.loads(card().write()), **changes}
    told.pop("digest")
    return canonical({**told, "digest": digest(told)})


def test_what_is_written_is_read():
    made = card(preparation=Preparation("plain", (0.0,) * 4, (1.0,) * 4, 5.0)).with_file("model.onnx", File("a" * 64, 3))
    assert read_card(made.write()) == made
    assert json.loads(made.write())["digest"] == made.digest


def test_the_digest_is_over_every_value():
    plain = card()
    others = [
        card(version="1.1"),
        card(opset=19),
        card(classes=("a", "b")),
        plain.with_file("model.onnx", File("a" * 64, 1)),
    ]
    assert len({plain.digest, *(each.digest for each in others)}) == 5


def test_an_altered_card_is_refused():
    content = card().write()
    with pytest.raises(PackageRefused, match="altered"):
        read_card(content.replace(b'"1.0"', b'"2.0"'))
    with pytest.raises(PackageRefused, match="altered"):
        read_card(json.dumps(json.loads(content), indent=1).encode())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "../heart"}, "name"),
        ({"version": ""}, "version"),
        ({"kind": "detection"}, "kind"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [4.5]}, "inputs"),
        ({"inputs": [1 << 40]}, "inputs"),
        ({"inputs": None}, "wrong kind"),
        ({"outputs": [2]}, "outputs"),
        ({"classes": ["a"]}, "classes"),
        ({"classes": ["a", "a"]}, "classes"),
        ({"classes": ["a", "\x1b[31m"]}, "classes"),
        ({"weights_sha256": "x"}, "weights_sha256"),
        ({"opset": "18"}, "opset"),
        ({"pipeline": {}}, "wrong kind"),
        ({"preparation": {"features": "plain"}}, "wrong kind|mean"),
        ({"preparation": {"features": "own", "mean": [], "std": [], "clip": None}}, "features"),
        ({"preparation": {"features": "plain", "mean": [0, 0], "std": [1, 1], "clip": None}}, "2 means"),
        ({"preparation": {"features": "plain", "mean": [0] * 4, "std": [1, 1, 0, 1], "clip": None}}, "above 0"),
        ({"preparation": {"features": "plain", "mean": [], "std": [], "clip": -1}}, "clip"),
        ({"tolerances": {**TOLERANCES, "int8": 1e9}}, "tolerances"),
        ({"tolerances": {"fp32": 0.001}}, "tolerances"),
        ({"files": {"model.onnx": {"sha256": "no", "bytes": 1}}}, "SHA-256"),
        ({"files": {"model.onnx": {"sha256": "a" * 64, "bytes": -1}}}, "size"),
        ({"files": {"model.onnx": {"path": "/etc/passwd"}}}, "wrong kind"),
        ({"format": 2}, "format"),
        ({"more": 1}, "unknown: more"),
    ],
)
def test_values_that_are_not_allowed(changes, told):
    with pytest.raises(PackageRefused, match=told):
        read_card(altered(**changes))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b" " * (1 << 20) + b"{}"])
def test_what_is_no_card(content):
    with pytest.raises(PackageRefused, match=r"card\.json"):
        read_card(content)


def test_all_faults_are_told_at_once():
    with pytest.raises(PackageRefused, match=r"name.*kind"):
        read_card(altered(name="", kind="x"))


def test_what_a_card_may_allow_is_bounded():
    assert all(value <= MOST_TOLERANCES[name] for name, value in TOLERANCES.items())
