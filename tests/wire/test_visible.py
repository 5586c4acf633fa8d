from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fedmed.wire.visible import visible


def test_what_steers_a_terminal_is_spelled_out():
    assert visible("a\x1b[31mb\u202ec\n\u2028\ud800") == r"a\x1b[31mb\u202ec\n\u2028\ud800"


def test_letters_of_any_script_stay():
    assert visible("São Paulo, 北京, <b> & \U0001f600") == "São Paulo, 北京, <b> & \U0001f600"


@given(st.text())
def test_nothing_that_is_not_shown_is_left(text):
    shown = visible(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in shown)
    assert visible(shown) == shown
    shown.encode("utf-8")
