from __future__ import annotations

import json
import math
import os

import pytest

from fedmed.errors import CourseLost, FederationError, StoreError
from fedmed.federation.begun import Begun, begin, begun_in
from fedmed.federation.course import NAME, Asked, Course, Drawn, read
from fedmed.flower.lasting import Letter
from fedmed.flower.transport import Transport
from fedmed.store.departures import verify
from fedmed.store.disk import Disk
from tests.federation.lasting import Strikes, federation
from tests.federation.peers import FakeClock, FakeGrid, Peer

LETTERS = [Letter("one", 2, "c"), Letter("two", 3, "c")]
SHARED = ("train", "evaluate", "query.census", "query.describe", "query.protocol", "query.member")
POINTS = 12


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def opened(folder, clock, after: int = 0) -> Course:
    course = Course(folder, clock)
    course.take_up(after)
    return course


def test_the_next_process_draws_asks_and_hears_the_same(tmp_path, clock):
    first = opened(tmp_path, clock)
    assert first.draw("epoch", lambda: 7) == 7
    assert first.asks(LETTERS) == (LETTERS, False)
    for each in ("two", "one"):
        first.hear(each)
    first.close(is_urgent=False)
    first.draw("nodes", lambda: [1])  # what was closed without haste is on the disk before anything later is

    second = opened(tmp_path, clock)
    assert second.steps_left == 3
    assert second.draw("epoch", lambda: 8) == 7
    renewed = [Letter("three", 2, "c"), Letter("four", 3, "c")]
    assert second.asks(renewed) == (LETTERS, True)
    assert second.waited_s == math.inf
    assert second.to_hear() == ["two", "one"]
    second.hear("two")
    assert second.to_hear() == ["one"]
    second.hear("one")
    second.close(is_urgent=True)
    assert second.draw("nodes", lambda: [2]) == [1]
    assert second.steps_left == 0


def test_a_wait_that_was_ended_is_on_the_disk_at_once_where_somebody_was_missing(tmp_path, clock):
    first = opened(tmp_path, clock)
    first.asks(LETTERS)
    first.hear("two")
    first.close(is_urgent=True)
    second = opened(tmp_path, clock)
    second.asks(LETTERS)
    assert second.to_hear() == ["two"]


def test_time_that_the_center_was_down_is_not_waited(tmp_path, clock):
    first = opened(tmp_path, clock)
    first.asks(LETTERS)
    clock.sleep(20)
    first.show_life()
    clock.sleep(5000)
    second = opened(tmp_path, clock)
    second.asks(LETTERS)
    assert second.to_hear() is None
    assert second.waited_s == pytest.approx(20, abs=0.01)
    clock.sleep(10)
    second.show_life()
    clock.sleep(7000)
    third = opened(tmp_path, clock)
    third.asks(LETTERS)
    assert third.waited_s == pytest.approx(30, abs=0.01)
    third.close(is_urgent=True)
    third.asks(LETTERS)
    assert third.waited_s == 0


def test_what_never_went_out_is_known_by_its_new_name(tmp_path, clock):
    opened(tmp_path, clock).asks(LETTERS)
    second = opened(tmp_path, clock)
    second.asks(LETTERS)
    second.instead({"two": "three"})
    assert second.named == {"one", "three"}
    assert opened(tmp_path, clock).named == {"one", "three"}


@pytest.mark.parametrize("others", [[Letter("one", 2, "d"), LETTERS[1]], LETTERS[:1], [LETTERS[1], LETTERS[0]]])
def test_asking_something_else_than_was_asked_is_refused(tmp_path, clock, others):
    opened(tmp_path, clock).asks(LETTERS)
    with pytest.raises(CourseLost, match="round 1 cannot be gone on with: something else would be asked"):
        opened(tmp_path, clock).asks(others)


def test_drawing_where_something_was_asked_is_refused(tmp_path, clock):
    opened(tmp_path, clock).asks(LETTERS)
    with pytest.raises(CourseLost, match="epoch is drawn where something else was done"):
        opened(tmp_path, clock).draw("epoch", lambda: 1)


def test_a_course_of_another_commit_is_not_gone_on_with(tmp_path, clock):
    first = opened(tmp_path, clock)
    first.begin(4)
    first.asks(LETTERS)
    assert Course(tmp_path, clock).take_up(5), "the commit came after all of it: same sites, same epoch"
    first.begin(4)
    assert not Course(tmp_path, clock).take_up(3), "the newest commit is damaged: its rounds of the epoch were used"
    assert not Course(tmp_path, clock).take_up(3), "nor once more"
    course = Course(tmp_path, clock)
    course.begin(3)
    course.give_up()
    assert not (tmp_path / NAME).exists()
    assert not course.take_up(3)


def test_a_line_cut_off_counts_as_not_written_and_a_changed_file_as_none(tmp_path, clock):
    course = opened(tmp_path, clock)
    course.begin(2)
    course.draw("epoch", lambda: 5)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"drawn":"nodes","val')
    again = opened(tmp_path, clock, 2)
    assert again.draw("epoch", lambda: 6) == 5
    assert again.draw("nodes", lambda: [4]) == [4]
    assert opened(tmp_path, clock, 2).steps_left == 2
    (tmp_path / NAME).write_bytes(b'{"after":2,"anew":false}\n{"heard":[]}\n')
    assert not Course(tmp_path, clock).take_up(2)


def test_lines_are_read_as_they_were_meant(tmp_path):
    told = read(
        json.dumps(each).encode()
        for each in (
            {"after": 3, "anew": False},
            {"drawn": "epoch", "value": 9},
            {"asked": [["a", 1, "x"], ["b", 2, "x"]], "unix": 10},
            {"again": 50, "waited": 4, "instead": {"b": "c"}},
            {"heard": ["c"]},
        )
    )
    letters = (Letter("a", 1, "x"), Letter("c", 2, "x"))
    assert (told.after, told.steps) == (3, (Drawn("epoch", 9), Asked(letters, 50.0, 4.0, ("c",))))


def test_a_full_disk_says_what_stays(tmp_path, clock):
    class Full(Disk):
        def sync(self, handle):
            raise OSError(28, os.strerror(28))

    opened(tmp_path, clock)
    course = Course(tmp_path, clock, Full())
    assert not course.take_up(0)
    with pytest.raises(StoreError, match=r"No space left on device\). What is committed stays"):
        course.draw("epoch", lambda: 1)


def test_only_a_grid_that_lasts_has_a_course(tmp_path, clock):
    with pytest.raises(FederationError, match="a FakeGrid ends with its process"):
        Transport(FakeGrid([Peer("a")], clock), clock, Course(tmp_path, clock))


def test_a_run_is_begun_once_and_keeps_its_name(tmp_path):
    here = federation(tmp_path / "here")
    link = here.link()
    begun = begin(here.run_folder, link, "app", "peers", here.scenario, here.parties.clock)
    assert begun_in(here.run_folder) == begun
    assert begun.name.startswith("tiny 2023-")
    with pytest.raises(StoreError, match="holds the run"):
        begin(here.run_folder, link, "app", "peers", here.scenario, here.parties.clock)
    (here.run_folder / "begun.json").write_text("{}")
    with pytest.raises(StoreError, match="put the copy of it back"):
        begun_in(here.run_folder)
    assert Begun("f", "n", "app", 3).names.run == "n"


@pytest.fixture(scope="module", params=["masked", "plain"])
def undisturbed(request, tmp_path_factory):
    overrides = () if request.param == "masked" else ("privacy.secure_aggregation=off",)
    folder, strikes = tmp_path_factory.mktemp("whole"), Strikes()
    whole = federation(folder / "f", *overrides)
    assert whole.goes(strikes)
    return overrides, whole, len(strikes.steps)


def struck(undisturbed, folder, *moments: int):
    """A run whose center ends at each of these steps of its own."""
    overrides, whole, _ = undisturbed
    found = federation(folder, *overrides)
    for at in moments:
        assert not found.goes(Strikes(at)), "it ended before the step came"
    assert found.goes()
    assert found.final() == whole.final()
    for kind in SHARED:
        assert found.worked(kind) == whole.worked(kind), kind
    for clinic in found.clinics:
        assert len({each for _, each in clinic.worked}) == len(clinic.worked)
    assert len({event["epoch"] for event in found.events("epoch")}) == whole.scenario.privacy.is_masked
    assert found.events("begun-again") == []
    if whole.scenario.privacy.is_masked:
        sent = [verify(folder / f"{peer.name}.departures.jsonl") for peer in found.parties.peers]
        assert [len(each) for each in sent] == [5, 5, 5], "a census, two updates, two evaluations"
    return found


@pytest.mark.parametrize("tenth", range(POINTS))
def test_a_center_struck_at_any_step_goes_on_and_nobody_works_twice(undisturbed, tmp_path, tenth):
    count = undisturbed[2]
    struck(undisturbed, tmp_path / "f", tenth * count // POINTS)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(40))
def test_a_center_struck_at_every_step_goes_on(undisturbed, tmp_path, part):
    for at in range(part, undisturbed[2], 40):
        struck(undisturbed, tmp_path / f"{at}", at)


def test_a_center_struck_again_and_again_goes_on(undisturbed, tmp_path):
    struck(undisturbed, tmp_path / "f", *[undisturbed[2] // 15] * 6)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_who_answers_first_changes_no_bit_struck_or_not(undisturbed, tmp_path, order):
    overrides, whole, count = undisturbed
    found = federation(tmp_path / "f", *overrides)
    found.order = order
    assert not found.goes(Strikes(count // 2))
    assert found.goes()
    assert found.final() == whole.final()
    heard = [event["site"] for event in found.events("answered") if event["kind"] == "train"]
    assert heard[-3:] == ["abc"[place] for place in order]
