"""A site's cases held back for validation and test; one patient is never on two sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import generator
from fedmed.config.scenario import Split
from fedmed.errors import DataError
from fedmed.sites.cases import Cases, Site, case_labels, patient_rows

Rows = NDArray[np.int64]


def split(name: str, cases: Cases, how: Split, seed: int) -> Site:
    """Site `name` with `cases` split, rows in their order.

    The set's own split is kept; where it holds no validation rows, `how.validation` of its training patients become
    them. Otherwise patients are drawn, by class as well as they allow. At least one patient stays to train on, so that
    validation and test of a very small site are empty; a site whose cases are all of one class is as real as another.

    Raises DataError, naming the site, where it has no cases, none to train on, or a split that divides a patient.
    """
    if len(cases) == 0:
        raise DataError(f"site {name!r} has no cases; leave it out or give it some")
    rng = generator(seed if how.seed is None else how.seed, "split", name)
    if cases.split is None:
        train, test = _hold_back(cases, np.arange(len(cases)), how.test, rng)
        # A share of the whole, taken from what the test left.
        train, validation = _hold_back(cases, train, how.validation / (1 - how.test), rng)
    else:
        _refuse_divided_patients(name, cases)
        train, validation, test = (np.flatnonzero(cases.split == part) for part in ("train", "validation", "test"))
        if len(train) == 0:
            raise DataError(f"site {name!r} has no cases to train on; its own split puts all into validation or test")
        if len(validation) == 0:
            train, validation = _hold_back(cases, train, how.validation, rng)
    return Site(name, cases.take(train), cases.take(validation), cases.take(test))


def _refuse_divided_patients(name: str, cases: Cases) -> None:
    if cases.patient is None or cases.split is None:
        return
    for rows in patient_rows(cases):
        if len(parts := np.unique(cases.split[rows])) > 1:
            raise DataError(
                f"site {name!r}: its own split puts patient {str(cases.patient[rows[0]])!r} into {' and '.join(parts)}; "
                "a patient belongs to one of them, or the test is not one"
            )


def _hold_back(cases: Cases, rows: Rows, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """`rows` without, and those of, the `share` of patients drawn by class; both in ascending order."""
    part = cases.take(rows)
    patients = patient_rows(part)
    of_case = case_labels(part)
    labels = np.array([np.bincount(of_case[own]).argmax() for own in patients])
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    counts = _held_per_class([len(units) for units in classes], share, rng)
    held = np.zeros(len(part), dtype=bool)
    for units, count in zip(classes, counts, strict=True):
        for patient in rng.permutation(units)[:count]:
            held[patients[patient]] = True
    return rows[~held], rows[held]


def _held_per_class(counts: Sequence[int], share: float, rng: np.random.Generator) -> list[int]:
    """Patients to hold back of each class: largest remainders, ties at random, one of each class left to train on."""
    exact = [count * share for count in counts]
    held = [min(math.floor(value), count - 1) for value, count in zip(exact, counts, strict=True)]
    left = round(sum(counts) * share) - sum(held)
    order = rng.permutation(len(counts))
    for index in sorted(order, key=lambda at: held[at] - exact[at]):
        if left > 0 and held[index] < counts[index] - 1:
            held[index] += 1
            left -= 1
    return held
