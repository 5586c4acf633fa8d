from __future__ import annotations

import pytest

from fedmed.errors import VersionRefused
from fedmed.wire.skew import refuse_far


@pytest.mark.parametrize("other", ["0.1", "0.1.9", "0.2.0rc1", "0.2.0", "0.2.0.dev3+g12ab", "0.3.7"])
def test_one_minor_either_way_goes_on(other):
    refuse_far("0.2.4", other, "the clinic")
    refuse_far(other, "0.2.4", "the clinic")


@pytest.mark.parametrize(
    ("other", "older"),
    [("0.0.9", "the clinic"), ("0.4.0", "the other side"), ("1.2.4", "the other side"), ("1.3", "the other side")],
)
def test_further_apart_both_versions_are_told_and_who_updates(other, older):
    with pytest.raises(VersionRefused, match=rf"the clinic runs fedmed {other}, the other side 0\.2\.4; .* update {older}"):
        refuse_far("0.2.4", other, "the clinic")


@pytest.mark.parametrize("other", ["", "1", "new", "0.2\n", "0.2.\x1b[2J", "99999.1", "0.2" + ".1" * 40])
def test_what_is_no_version(other):
    with pytest.raises(VersionRefused, match=r"a version is MAJOR\.MINOR"):
        refuse_far("0.2.4", other, "the clinic")
