from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.store.archive import plan
from fedmed.store.archive.holding import Kept
from fedmed.store.archive.plan import Group, Rule, due, groups_of

KEPT = st.lists(
    st.builds(Kept, st.text("abc", min_size=1, max_size=4), st.sampled_from("xyz"), st.integers(0, 50), st.floats(0, 100)),
    max_size=12,
    unique_by=lambda each: each.name,
)


@given(KEPT, st.none() | st.floats(1, 90), st.none() | st.integers(0, 300), st.sampled_from(["", "x", "xy"]))
def test_what_goes_is_old_or_too_much_the_oldest_first_and_never_in_use(kept, after, keep, used):
    groups = groups_of(kept)
    assert sorted(each.name for group in groups for each in group.objects) == sorted(each.name for each in kept)
    found = due(groups, Rule(after, keep), lambda each: each.study in used, 100.0)
    assert not {group.study for group in found.go} & set(used)
    assert [group.came for group in found.go] == sorted(group.came for group in found.go)
    stays = [group for group in groups if group not in found.go]
    if after is not None:
        assert all(group.study in used for group in stays if 100.0 - group.came > after)
    if keep is not None:
        assert sum(group.size for group in stays) <= keep or all(group.study in used for group in stays)
    if after is None and keep is None:
        assert not found.go


def test_a_large_study_goes_in_packs_that_are_the_same_again(monkeypatch):
    monkeypatch.setattr(plan, "MOST_OBJECTS", 3)
    monkeypatch.setattr(plan, "MOST_BYTES", 100)
    group = Group("x", tuple(Kept(f"{number}", "x", size, 1.0) for number, size in enumerate((10, 90, 5, 200, 1, 1, 1, 1))))
    packs = [[each.size for each in pack] for pack in group.packs()]
    assert packs == [[10, 90], [5], [200], [1, 1, 1], [1]]
    assert list(group.packs()) == list(group.packs())
