"""UIDs of results: valid, repeatable, and different where the content may differ."""

from __future__ import annotations

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.dicom.results.identifiers import derived_uid, uid_of
from tests.dicom.results.samples import FINDING, found


@settings(max_examples=30)
@given(st.lists(st.text(max_size=20), max_size=4))
def test_every_uid_is_one_of_a_uuid(parts):
    uid = derived_uid(*parts)
    assert uid == derived_uid(*parts)
    assert len(uid) <= 64
    root, number = uid.rsplit(".", 1)
    assert (root, str(int(number))) == ("2.25", number)
    found_uuid = uuid.UUID(int=int(number))
    assert (found_uuid.version, found_uuid.variant) == (8, uuid.RFC_4122)


def test_whatever_may_change_the_content_changes_the_uid_and_the_moment_does_not():
    first = uid_of("SR", ["1.2"], FINDING)
    assert uid_of("SR", ["1.2"], found(unix=1.0)) == first
    others = [found(**{name: "other"}) for name in ("digest", "pipeline", "precision", "device", "computed_on")]
    different = {uid_of("SR", ["1.2"], other) for other in others}
    different |= {uid_of("SEG", ["1.2"], FINDING), uid_of("SR", ["1.3"], FINDING), uid_of("SR", ["1.2", "1.3"], FINDING)}
    assert len(different | {first}) == 9
