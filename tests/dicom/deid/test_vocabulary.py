from __future__ import annotations

import pytest

from fedmed.dicom.deid.vocabulary import known_word, protocol_word, words


def test_words_come_from_coding_schemes_attributes_and_protocols():
    assert {"hepatic", "calcification", "flair", "mprage", "acquisition"} <= words()
    assert len(words()) > 5000


@pytest.mark.parametrize(
    "token", ["T2", "5mm", "1.5T", "256x256", "L4", "b1000", "TSE", "ax", "Liver", "平扫", "胸部平扫", "3.0", "120kV"]
)
def test_words_of_imaging(token):
    assert known_word(token)


@pytest.mark.parametrize(
    "token", ["Kowalczyk", "Zhang", "QX-77", "12345", "0815471", "王小东", "胸部王小东", "Kim", "A1234567"]
)
def test_words_that_may_be_anybody(token):
    assert not known_word(token)


def test_the_shortest_list():
    assert protocol_word(" Siemens ")
    assert not protocol_word("hepatic")
