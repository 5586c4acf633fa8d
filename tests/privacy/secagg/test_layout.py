from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, ProtocolRefused, UpdateRefused
from fedmed.privacy.secagg.layout import Fixed, Layout, Tensor, Whole
from fedmed.privacy.secagg.quantise import error_bound, quantise

SEED = bytes(range(24))
VECTORS = json.loads((Path(__file__).parent / "layout_vectors.json").read_text())
MODEL = (Tensor("weight", (3, 4)), Tensor("bias", (4,)), Tensor("scale", ()))
FIELDS = (Whole("weight", 65535), Whole("histogram", 300_000, 8), Fixed("loss", 1e6, 1e-6), Fixed("moments", 1e20, 1e-9, 2))


def layout(bits=32, clients=10, tensors=MODEL, fields=FIELDS, bound=0.5, most_weight=65535) -> Layout:
    return Layout(tensors, fields, bits, clients, bound, most_weight)


def clinic(seed: int, bound=0.5):
    """A clinic's tensors, weight and fields."""
    random = np.random.default_rng(seed)
    weight = int(random.integers(1, 65536))
    tensors = {tensor.name: random.uniform(-bound, bound, tensor.shape).astype(np.float32) for tensor in MODEL}
    fields = {
        "weight": weight,
        "histogram": random.integers(0, 300_001, (2, 4)),
        "loss": float(random.uniform(-1e6, 1e6)),
        "moments": random.uniform(-1e20, 1e20, 2),
    }
    return {name: np.asarray(value) for name, value in tensors.items()}, weight, fields


def total_of(agreed, clinics):
    vectors = [agreed.write(*each, np.random.default_rng(i).bytes(24)) for i, each in enumerate(clinics)]
    return np.sum(vectors, axis=0, dtype=vectors[0].dtype)


@given(st.sampled_from([16, 32]), st.lists(st.integers(0, 2**32), min_size=1, max_size=10))
@settings(max_examples=30, deadline=None)
def test_a_sum_says_what_the_clinics_said_together(bits, seeds):
    agreed, clinics = layout(bits), [clinic(seed) for seed in seeds]
    found = agreed.read(total_of(agreed, clinics), len(clinics))
    weight = sum(weight for _, weight, _ in clinics)
    assert found.count("weight") == weight
    assert found.clients == len(clinics)
    assert (found.array("histogram") == sum(fields["histogram"].ravel() for _, _, fields in clinics)).all()
    assert found.array("histogram").dtype == np.int64
    assert found.number("loss") == pytest.approx(sum(fields["loss"] for _, _, fields in clinics), abs=5.1e-6)
    assert np.allclose(found.array("moments"), sum(fields["moments"] for _, _, fields in clinics), rtol=1e-13, atol=1e5)
    means, bound = found.mean(weight), error_bound(agreed.scale, len(clinics), weight)
    assert list(means) == ["weight", "bias", "scale"]
    for tensor in MODEL:
        exact = sum(np.float64(tensors[tensor.name]) * each for tensors, each, _ in clinics) / weight
        assert means[tensor.name].shape == tensor.shape
        assert means[tensor.name].dtype == np.float32
        assert (np.abs(means[tensor.name] - exact) <= bound + np.abs(exact) * 2.0**-23).all()


@pytest.mark.parametrize("bits", [16, 32])
def test_every_clinic_at_every_limit_overflows_nothing(bits):
    agreed = layout(bits)
    for sign in (1, -1):
        tensors = {tensor.name: np.full(tensor.shape, sign * 0.5, np.float32) for tensor in MODEL}
        fields = {"weight": 65535, "histogram": np.full(8, 300_000), "loss": sign * 1e6, "moments": [sign * 1e20] * 2}
        found = agreed.read(total_of(agreed, [(tensors, 65535, fields)] * 10), 10)
        assert found.count("weight") == 655350
        assert found.array("histogram").tolist() == [3_000_000] * 8
        assert found.number("loss") == sign * 1e7
        assert found.array("moments").tolist() == [sign * 1e21] * 2
        for mean in found.mean(655350).values():
            assert np.allclose(mean, sign * 0.5, rtol=0, atol=error_bound(agreed.scale, 10, 655350))


def test_the_tensors_stand_first_as_quantise_writes_them():
    tensors, weight, fields = clinic(1)
    agreed = layout()
    alone = np.empty(17, np.uint32)
    quantise(list(tensors.values()), weight, agreed.scale, SEED, alone)
    lanes = agreed.write(dict(reversed(tensors.items())), weight, fields, SEED)
    assert agreed.parameters == 17
    assert lanes.shape == (agreed.size,)
    assert (lanes[:17] == alone).all()
    assert (lanes[17:18] == weight).all()
    assert (lanes[18:26] == fields["histogram"].ravel()).all()
    assert lanes[-2:].tolist() == [1, 1]


@pytest.mark.parametrize(("bits", "most"), [(32, 4.01), (16, 2.01)])
def test_an_upload_is_hardly_longer_than_its_tensors(bits, most):
    fields = (Whole("weight", 65535), Whole("scores", 100_000, 2 * 1024), *FIELDS[2:])
    big = layout(bits, tensors=(Tensor("a", (1000, 1000)),), fields=fields)
    small = layout(bits, tensors=(Tensor("a", (100, 1000)),), fields=(Whole("weight", 65535), FIELDS[2]))
    assert big.size * bits / 8 <= most * 1_000_000
    assert small.size * bits / 8 <= most * 100_000


def test_a_layout_may_hold_fields_alone():
    agreed = layout(16, 5000, tensors=(), fields=(Whole("correct", 10**6, 3),))
    found = agreed.read(agreed.write({}, 0, {"correct": [1, 2, 10**6]}, SEED), 1)
    assert found.fields["correct"].tolist() == [1, 2, 10**6]
    assert found.mean(1) == {}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_known_answers_for_other_implementations(vector):
    given = vector["layout"]
    agreed = Layout(
        tuple(Tensor(name, tuple(shape)) for name, shape in given["tensors"]),
        tuple(
            Whole(one["name"], int(one["most"]), one["count"])
            if "most" in one
            else Fixed(one["name"], one["bound"], one["resolution"], one["count"])
            for one in given["fields"]
        ),
        given["bits"],
        given["clients"],
        given["bound"],
        given["most_weight"],
    )
    assert agreed.canonical().hex() == vector["canonical"]
    assert agreed.digest().hex() == vector["digest"] == hashlib.sha256(agreed.canonical()).hexdigest()
    tensors = {name: np.array(value, np.float32) for name, value in vector["tensors"].items()}
    lanes = agreed.write(tensors, vector["weight"], vector["fields"], bytes.fromhex(vector["dither"]))
    assert lanes.tolist() == vector["lanes"]


def test_whatever_differs_gives_another_digest():
    base = layout()
    others = [
        layout(16),
        layout(clients=11),
        layout(bound=0.25),
        layout(most_weight=65534),
        layout(tensors=MODEL[::-1]),
        layout(tensors=MODEL[:2]),
        layout(tensors=(replace(MODEL[0], shape=(4, 3)), *MODEL[1:])),
        layout(tensors=(replace(MODEL[0], name="weights"), *MODEL[1:])),
        layout(fields=FIELDS[::-1]),
        layout(fields=(replace(FIELDS[0], most=65534), *FIELDS[1:])),
        layout(fields=(replace(FIELDS[0], count=2), *FIELDS[1:])),
        layout(fields=(*FIELDS[:2], replace(FIELDS[2], resolution=2e-6), FIELDS[3])),
        layout(fields=(*FIELDS[:2], replace(FIELDS[2], bound=2e6), FIELDS[3])),
        layout(tensors=(), fields=(Whole("1", 2),)),
        layout(tensors=(), fields=(Fixed("1", 1.0, 1.0),)),
    ]
    assert len({each.digest() for each in [base, *others]}) == len(others) + 1
    assert base.digest() == layout().digest()


def test_a_mask_that_stayed_or_another_count_of_clinics_is_refused():
    agreed = layout(fields=(Whole("weight", 2**30),))
    total = total_of(agreed, [({**clinic(i)[0]}, 1, {"weight": 1}) for i in range(3)])
    assert agreed.read(total, 3).count("weight") == 3
    mask = np.random.default_rng(3).integers(0, 1 << 32, agreed.size, dtype=np.uint32)
    for wrong, clients in ((total + mask, 3), (total, 2), (total, 4)):
        with pytest.raises(ProtocolRefused, match=f"not that of {clients} clinics: a mask was left in it"):
            agreed.read(wrong, clients)


def test_more_than_the_clinics_may_say_is_refused():
    agreed = layout(fields=(Whole("weight", 10), Fixed("moments", 1e20, 1e-9)))
    for place in (17, 18, -3):
        total = total_of(agreed, [(clinic(1)[0], 1, {"weight": 1, "moments": 0.0})])
        total[place] = 2**32 - 1
        if place == 18:  # a low digit: honest clinics could have carried it
            agreed.read(total, 1)
        else:
            with pytest.raises(ProtocolRefused, match=r"field '(weight|moments)' sums up to more than 1 clinics may say"):
                agreed.read(total, 1)


@given(st.lists(st.integers(0, 130) | st.integers(0, 65535), min_size=3, max_size=4), st.integers(-1, 12))
@settings(max_examples=500)
def test_any_lanes_end_in_a_refusal_or_in_a_sum_within_bounds(data, clients):
    agreed = layout(16, tensors=(), fields=(Whole("a", 10), Fixed("b", 5.0, 0.1, 2)))
    lanes = np.array([*data, *[max(0, clients)] * 4], np.uint16)
    try:
        found = agreed.read(lanes, clients)
    except ProtocolRefused:
        return
    assert 0 <= found.count("a") <= 10 * clients
    assert (np.abs(found.array("b")) <= 5.0001 * clients).all()


def test_a_sum_in_other_lanes_or_over_too_many_is_refused():
    agreed = layout()
    good = np.ones(agreed.size, np.uint32)
    for total, clients in ((good[1:], 1), (good.astype(np.uint16), 1), (good.astype(np.int32), 1), (good, 0), (good, 11)):
        with pytest.raises(ProtocolRefused, match="a sum "):
            agreed.read(total, clients)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda tensors, fields: tensors.pop("bias"), r"tensors missing: \['bias'\]"),
        (lambda tensors, fields: tensors.update(more=np.ones(2)), r"not agreed on: \['more'\]"),
        (lambda tensors, fields: tensors.update(bias=np.ones(5)), r"'bias' has shape \(5,\); \(4,\) was agreed on"),
        (lambda tensors, fields: tensors.update(bias=np.ones(4, int)), "'bias' holds int64"),
        (lambda tensors, fields: tensors.update(bias=np.full(4, 0.6)), "'bias': 0 not finite, 4 beyond ±0.5"),
        (lambda tensors, fields: fields.pop("loss"), r"fields missing: \['loss'\]"),
        (lambda tensors, fields: fields.update(more=1), r"not agreed on: \['more'\]"),
        (lambda tensors, fields: fields.update(loss=2e6), "'loss' holds 2000000.0; allowed is"),
        (lambda tensors, fields: fields.update(weight=65536), "'weight' holds 65536; allowed is 0 to 65535"),
        (lambda tensors, fields: fields.update(histogram=[1]), "'histogram' has 1 numbers; 8 were agreed on"),
    ],
)
def test_what_was_not_agreed_on_is_refused_by_name(change, text):
    tensors, weight, fields = clinic(1)
    change(tensors, fields)
    with pytest.raises(UpdateRefused, match=text):
        layout().write(tensors, weight, fields, SEED)


@pytest.mark.parametrize(
    ("faulty", "text"),
    [
        ({"bits": 8}, "8 bits"),
        ({"clients": 0}, "0 clinics"),
        ({"bits": 16, "clients": 65536}, "65536 clinics"),
        ({"most_weight": 0}, "most weight 0"),
        ({"bound": float("inf")}, "bound inf"),
        ({"bound": 0.0}, "bound 0.0 of the values"),
        ({"bits": 16, "clients": 1000}, "use 32-bit lanes"),
        ({"tensors": (Tensor("a", (1,)), Tensor("a", (2,)))}, "2 tensors with 1 names"),
        ({"fields": (Whole("a", 1), Fixed("a", 1, 1))}, "2 fields with 1 names"),
        ({"fields": (Whole("", 1),)}, "printable name"),
        ({"fields": (Whole("a\n", 1),)}, "printable name"),
        ({"fields": (Whole("\ud800", 1),)}, "printable name"),
        ({"fields": (Whole("é" * 128, 1),)}, "printable name of 1 to 255 bytes"),
        ({"tensors": (Tensor("a", (-1,)),)}, "impossible shape"),
        ({"tensors": (Tensor("a", (1 << 16, 1 << 16)),)}, "lanes; at most"),
        ({"fields": (Whole("a", -1), Fixed("b", 1, 2))}, "goes to -1.*'b' has bound"),
    ],
)
def test_layouts_that_cannot_work_are_refused(faulty, text):
    with pytest.raises(ConfigError, match=text):
        layout(**faulty)


def test_a_sum_is_read_as_what_it_is():
    agreed = layout()
    found = agreed.read(total_of(agreed, [clinic(1)]), 1)
    with pytest.raises(TypeError, match="'histogram' is not one whole number"):
        found.count("histogram")
    with pytest.raises(TypeError, match="'loss' is not one whole number"):
        found.count("loss")
    with pytest.raises(TypeError, match="'moments' is not one number"):
        found.number("moments")
    assert found.array("weight").tolist() == [found.count("weight")]
