from __future__ import annotations

from fedmed.report.record import Report
from fedmed.report.verdict import verdict
from tests.report import sample


def said(made):
    tone, sentences = verdict(Report.model_validate(made))
    return tone, " ".join(sentences)


def test_a_whole_federation_is_said_to_be_whole():
    assert said(sample.report()) == ("good", "All 4 sites took part in every one of the 15 rounds.")


def test_each_missing_site_is_named_with_its_rounds():
    tone, text = said(sample.troubled())
    assert tone == "warn"
    assert text.startswith("Not every site took part in every round.")
    assert "va missed rounds 3, 7 (2 of 15)" in text
    assert "switzerland missed round 9 (1 of 15)" in text
    assert text.endswith("The run was interrupted and resumed at round 7.")


def test_a_status_that_hides_an_absence_is_not_believed():
    made = sample.report()
    sample.absent(made["rounds"][4], "va", "missing", "died")
    made["status"], made["sites_missing"] = "complete", {}
    assert said(made) == ("warn", "Not every site took part in every round. va missed round 5 (1 of 15).")


def test_a_site_that_never_joined_or_was_never_asked_is_named():
    made = sample.report()
    for each in made["rounds"]:
        sample.absent(each, "va", "missing", "died")
        each["cohort"].remove("cleveland")
        each["joined"].remove("cleveland")
    tone, text = said(made)
    assert tone == "warn"
    assert "va never took part." in text
    assert "cleveland was never asked." in text


def test_a_run_that_stopped_says_so_first():
    made = sample.report()
    made["rounds"] = made["rounds"][:6]
    made["status"] = "stopped"
    tone, text = said(made)
    assert tone == "bad"
    assert text.startswith("The run stopped after 6 of 15 rounds.")
    assert said({}) == ("bad", "No round was completed.")


def test_a_sampled_cohort_is_not_called_the_whole_federation():
    tone, text = said(sample.sampled())
    assert tone == "good"
    assert (
        text == "Every site that was asked took part, in every one of the 8 rounds; 2 of the 6 sites were asked per round."
    )


def test_many_absences_are_counted_and_the_worst_named():
    tone, text = said(sample.crowd(100, 40))
    assert tone == "warn"
    assert "of 100 sites missed at least one round; most of all: hospital_" in text
    assert len(text) < 400
