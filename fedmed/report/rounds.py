"""The rounds of a run as CSV, a line each."""

from __future__ import annotations

import csv
import io

from fedmed.report.record import Report, Round, Score

COUNTED = ("cohort", "joined", "missing", "late", "refused")
SCORES = ("loss", "auc", "dice")
COLUMNS = ("round", "attempt", "seconds", "ended", *COUNTED, "down_bytes", "up_bytes", "train_loss")


def table(report: Report) -> str:
    """Seconds are those of the report, virtual where it is in virtual time; `ended` is when the round was over, by them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*COLUMNS, *(f"validation_{name}" for name in SCORES), "missing_why"))
    ended = 0.0
    for each in report.rounds:
        ended += each.seconds or 0.0
        why = "; ".join(f"{site}: {reason}" for site, reason in each.missing.items())
        writer.writerow((*_numbers(each, ended), *_scores(each.validation), why))
    return out.getvalue()


def _numbers(each: Round, ended: float) -> tuple[object, ...]:
    counted = (len(getattr(each, name)) for name in COUNTED)
    loss = each.train.loss if each.train else None
    return each.round, each.attempt, each.seconds, ended, *counted, each.bytes.down, each.bytes.up, loss


def _scores(found: Score | None) -> tuple[float | None, ...]:
    return tuple(getattr(found, name) if found else None for name in SCORES)
