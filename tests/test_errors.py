from __future__ import annotations

import pytest

from fedmed.errors import first_line


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("one\ntwo"), "one"), (EOFError(), "EOFError"), (OSError("\n\n"), "OSError"), (KeyError("a"), "'a'")],
)
def test_an_error_says_one_line_or_at_least_its_kind(error, said):
    assert first_line(error) == said
