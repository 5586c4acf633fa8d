from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fedmed.preprocess.fused import arguments, backends, parity, twin
from fedmed.preprocess.fused.paths import path_of


def test_the_definition_equals_itself():
    found = parity.certificate(twin)
    assert found.passed
    assert found.max_error == 0
    assert found.source_sha256 == found.definition_sha256


def test_the_compiled_path_passes_and_the_certificate_is_json():
    pytest.importorskip("numba", reason="numba is not installed")
    found = parity.certificate(backends.chosen("numba"))
    assert found.passed
    assert found == parity.Certificate(**json.loads(json.dumps(found.as_dict())))
    assert found == parity.certificate(backends.chosen("numba"))


def other(**changed) -> SimpleNamespace:
    """The definition with one function spoilt."""
    names = ("NAME", "version", "source_sha256", "resample", "augment", "augment_labels", "to_host")
    return SimpleNamespace(**{**{name: getattr(twin, name) for name in names}, **changed})


FAULTS = {
    "sideways": {"resample": lambda **case: twin.resample(**case)[..., ::-1]},
    "shifted": {"resample": lambda **case: twin.resample(**{**case, "to_voxel": case["to_voxel"] + 1e-3})},
    "padding unmasked": {"resample": lambda **case: twin.resample(**{**case, "padding": None})},
    "no number": {"resample": lambda **case: twin.resample(**case) * np.nan},
    "another noise": {"augment": lambda images, p, **rest: twin.augment(images, p, **rest) + 1e-4},
    "one label": {"augment_labels": lambda labels, p, **rest: twin.augment_labels(labels, p, **rest) + (labels == 1)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_back_end_does_not_pass(fault):
    assert not parity.certificate(other(**FAULTS[fault]), [("int16", "oblique")]).passed


def test_a_fault_shows_wherever_it_is_used_and_only_there():
    """A back end that is wrong for a tilted gantry is good enough for who has none."""

    def resample(**case):
        right = twin.resample(**case)
        return right + 1 if path_of(case["to_voxel"][0], case["shape"]) == "rows" else right

    spoilt = other(resample=resample)
    assert parity.certificate(spoilt, [("uint16", "stack")], ["float32"]).passed
    assert not parity.certificate(spoilt, [("uint16", "stack"), ("int16", "rows")], ["float32"]).passed


@pytest.mark.parametrize("use", parity.USES)
def test_a_single_use_is_tried_as_sites_use_it(use):
    """Linear windows with a constant edge, with and without padding."""
    cases = [case for _, case in parity.resample_cases([use], ["float32"])]
    assert {(case["voxels"].dtype.name, path_of(case["to_voxel"][0], case["shape"])) for case in cases} == {use}
    linear = [case for case in cases if case["window"] in parity.WINDOWS[:2] and case["edge"] == "constant"]
    assert {case["padding"] for case in linear} == {None, (3, 3)}


def test_uses_that_there_are_not_are_refused():
    for uses, results in (
        ([("int64", "stack")], ["float32"]),
        ([("int16", "spiral")], ["float32"]),
        (parity.USES, ["int8"]),
    ):
        with pytest.raises(ValueError, match="stored types are"):
            parity.certificate(twin, uses, results)


def test_the_suite_covers_types_grids_edges_windows_and_results():
    cases = [case for _, case in parity.resample_cases()]
    assert {case["voxels"].dtype.name for case in cases} == set(arguments.NATIVE)
    assert {path_of(case["to_voxel"][0], case["shape"]) for case in cases} == {"stack", "rows", "turned", "oblique"}
    assert {case["edge"] for case in cases} == {"border", "constant"}
    assert {case["dtype"] for case in cases} == set(arguments.LARGEST)
    assert {case["window"] for case in cases} == set(parity.WINDOWS)
    assert {case["padding"] for case in cases} == {None, (3, 3)}
