from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fedmed.learning.fingerprint import (
    Fingerprint,
    has_images,
    parse,
    parse_parity,
    read_statement,
    statement,
    version_of,
)
from fedmed.preprocess.fused.parity import Certificate
from fedmed.preprocess.pipeline import AS_STORED
from tests.learning.parts import site

PASSED = {
    "backend": "numba",
    "version": "0.61",
    "source_sha256": "ab" * 32,
    "definition_sha256": "cd" * 32,
    "cases": 40,
    "worst": "oblique",
    "max_error": 1e-6,
    "bound": 1e-5,
    "passed": True,
}
IMAGES = site(shape=(8, 8), kind=np.uint8)


def record(**changes) -> dict:
    told = Fingerprint(AS_STORED, Certificate(**PASSED), read_statement(statement(IMAGES.train))).record()
    return json.loads(json.dumps({**told, **changes}))


def test_what_is_told_is_read_as_it_was_told():
    assert parse(record()).record() == record()
    withheld = Fingerprint(AS_STORED, None, None, "the site did not approve it").record()
    assert parse(json.loads(json.dumps(withheld))).withheld == "the site did not approve it"


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        record(pipeline={}),
        record(pipeline_sha256="0" * 64),
        record(statistics=None),
        record(withheld="but told"),
        record(withheld=None),
        {**record(statistics=None), "withheld": "\x1b[2J"},
        {**record(statistics=None), "withheld": "x" * 301},
        record(statistics={"cases": 3}),
        record(parity={}),
        record(more="x" * 70_000),
        {**record(), "more": float("nan")},
    ],
)
def test_what_is_no_fingerprint_is_refused(told):
    with pytest.raises(ValueError, match=r"."):
        parse(told)


@pytest.mark.parametrize(
    "changes",
    [
        {"passed": 1},
        {"passed": "yes"},
        {"max_error": True},
        {"max_error": float("inf")},
        {"bound": -1.0},
        {"bound": "1"},
        {"version": None},
        {"source_sha256": "x" * 301},
        {"cases": True},
        {"cases": -1},
        {"cases": 1.5},
        {"backend": "cuda\n"},
        {"more": 1},
    ],
)
def test_a_certificate_has_exactly_its_fields(changes):
    assert parse_parity(PASSED).passed
    with pytest.raises(ValueError, match="parity certificate"):
        parse_parity({**PASSED, **changes})
    with pytest.raises(ValueError, match="parity certificate"):
        parse_parity({name: value for name, value in PASSED.items() if name != "bound"})


def test_tables_have_no_fingerprint():
    assert not has_images(site().train)
    assert has_images(IMAGES.train)


def test_a_statement_holds_counts_and_no_case():
    told = json.loads(statement(IMAGES.train))
    assert told["cases"] == 40
    assert set(told) == {"version", "cases", "histograms", "brighter"}
    assert len(statement(IMAGES.train)) < 1000


def test_a_version_is_of_all_that_a_statement_is_made_of():
    one = version_of(IMAGES)
    assert one == version_of(site(shape=(8, 8), kind=np.uint8))
    changed = IMAGES.train.x.copy()
    changed[3, 4, 4] ^= 1
    others = [
        replace(IMAGES.train, x=changed),
        replace(IMAGES.train, x=IMAGES.train.x.astype(np.float32)),
        replace(IMAGES.train, patient=np.array(["a"] * 40)),
        replace(IMAGES.train, spacing_mm=np.ones((40, 3), np.float32)),
    ]
    assert len({one, *(version_of(replace(IMAGES, train=each)) for each in others)}) == 5
    assert version_of(replace(IMAGES, version="known")) == "known"
