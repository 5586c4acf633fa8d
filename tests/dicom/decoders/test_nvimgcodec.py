"""The GPU's decoder by its word, and by its lies: a stand-in module, since no GPU can be made to return zeros on demand."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import imagecodecs
import numpy as np
import pytest

from fedmed.dicom.decoders import codecs, compressed, nvimgcodec
from fedmed.dicom.pixels import decode
from tests.dicom import files
from tests.dicom.files import opened

SYNTAX = "1.2.840.10008.1.2.4.90"
IMAGE = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30)


class Decoder:
    """Decodes as `lie` says, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.lie = lambda samples, number: samples

    def decode(self, stream: bytes, params: object) -> SimpleNamespace | None:
        self.asked += 1
        samples = self.lie(imagecodecs.jpeg2k_decode(stream), self.asked)
        return None if samples is None else SimpleNamespace(cpu=lambda: samples[..., None])


@pytest.fixture
def decoder(monkeypatch) -> Decoder:
    """Installed, and asked for."""
    made = Decoder()
    module = ModuleType("nvidia.nvimgcodec")
    module.CodeStream = bytes
    module.ColorSpec = SimpleNamespace(UNCHANGED=0)
    module.DecodeParams = lambda **options: options
    module.Decoder = lambda: made
    package = ModuleType("nvidia")
    package.nvimgcodec = module
    monkeypatch.setitem(sys.modules, "nvidia", package)
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", module)
    monkeypatch.setattr(nvimgcodec, "why_not", lambda: None)
    monkeypatch.setenv(nvimgcodec.ASKED, "1")
    for state in (nvimgcodec._seen, nvimgcodec._refuted):
        state.clear()
    monkeypatch.setattr(nvimgcodec, "_own", SimpleNamespace())
    return made


@pytest.fixture
def instance():
    frame = imagecodecs.jpeg2k_encode(IMAGE, level=0, codecformat="j2k", reversible=True)
    return opened(files.compressed(files.dataset(IMAGE), [frame], SYNTAX))


def test_nobody_gets_it_without_asking(decoder, instance, monkeypatch):
    monkeypatch.delenv(nvimgcodec.ASKED)
    assert compressed.backend_for(SYNTAX) is codecs
    decode(instance)
    assert decoder.asked == 0


def test_lossy_streams_stay_with_the_cpu(decoder):
    assert compressed.backend_for(SYNTAX) is nvimgcodec
    assert compressed.backend_for("1.2.840.10008.1.2.4.91") is codecs


def test_what_agrees_is_used_and_checked_again_and_again(decoder, instance):
    for _ in range(nvimgcodec.EVERY + 2):
        np.testing.assert_array_equal(decode(instance), IMAGE)
    assert decoder.asked == nvimgcodec.EVERY + 2
    assert not nvimgcodec._refuted


LIES = {
    "zeros": lambda samples, number: np.zeros_like(samples),
    "nothing": lambda samples, number: None,
    "a row less": lambda samples, number: samples[1:],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_one_lie_ends_its_use_and_costs_no_frame(decoder, instance, lie, caplog):
    decoder.lie = lie
    for _ in range(nvimgcodec.FIRST + 3):
        np.testing.assert_array_equal(decode(instance), IMAGE)
    assert decoder.asked == 1
    assert "is not used for it any more" in caplog.text


def test_a_frame_that_it_gives_up_later_is_the_cpus(decoder, instance):
    decoder.lie = lambda samples, number: samples if number <= nvimgcodec.FIRST else None
    for _ in range(nvimgcodec.FIRST + 3):
        np.testing.assert_array_equal(decode(instance), IMAGE)
    assert decoder.asked == nvimgcodec.FIRST + 1


def test_without_the_package_it_says_so(monkeypatch):
    nvimgcodec.why_not.cache_clear()
    monkeypatch.setattr(nvimgcodec, "find_spec", lambda name: None)
    assert nvimgcodec.why_not() == "nvidia-nvimgcodec is not installed"
    nvimgcodec.why_not.cache_clear()
