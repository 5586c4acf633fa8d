"""What a clinic's ledgers say in plain words; nothing is said that their lines do not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from fedmed.report import formats
from fedmed.store.departures import FEWEST, MASKED, Departure
from fedmed.store.ledgers import Clinic


@dataclass(frozen=True)
class Spent:
    """Privacy of one data set that was spent."""

    dataset: str
    epsilon: float
    delta: float | None
    limit: float | None

    @property
    def is_over(self) -> bool:
        """Whether more was spent than the clinic allows."""
        return self.limit is not None and self.epsilon > self.limit


def verdict(clinic: Clinic) -> list[tuple[str, list[str]]]:
    """Sentences for who has to answer for it, by tone.

    `bad` is what is wrong, `good` what left (`plain` where anything is wrong), `warn` what to know besides.
    """
    if not clinic.departures and not clinic.statements:
        return [("good", ["Nothing left this clinic."])]
    bad, warn = list(_bad(clinic)), list(_warn(clinic))
    left = [*_left(clinic), *_noise(clinic.departures)]
    found = [("bad", bad), ("plain" if bad else "good", left), ("warn", warn)]
    return [(tone, sentences) for tone, sentences in found if sentences]


def spent(sent: Sequence[Departure]) -> list[Spent]:
    """The last charge of every data set under differential privacy, in the order of their first."""
    found = {e.dataset: Spent(e.dataset, e.epsilon, e.delta, e.limit) for e in sent if e.epsilon is not None}
    return list(found.values())


def period(clinic: Clinic) -> str:
    """First and last time, UTC."""
    times = [each.unix for each in clinic.departures] + [each.unix for each in clinic.statements]
    return f"{when(min(times))} to {when(max(times))} UTC" if times else ""


def when(unix: float) -> str:
    """Date and time, UTC, to the minute."""
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _bad(clinic: Clinic) -> Iterator[str]:
    sent = clinic.departures
    plain = [each for each in sent if each.mode not in MASKED]
    if plain:
        yield (
            f"{len(plain)} of {formats.count(len(sent), 'sending')} left WITHOUT masks (mode "
            f"{formats.listed(sorted({each.mode for each in plain}))}): whoever received them could read "
            "this clinic's update, its counts of cases and its metrics."
        )
    if few := [each for each in sent if each.mode in MASKED and each.least < FEWEST]:
        least = min(each.least for each in few)
        yield (
            f"{len(few)} of {formats.count(len(sent), 'sending')} could be opened in a sum over fewer than {FEWEST} clinics "
            f"({least}): another clinic, or the center alone, could read this clinic's part."
        )
    for each in spent(sent):
        if each.is_over:
            yield (
                f"Data set {each.dataset}: epsilon {each.epsilon:.3g} was spent, more than the limit of {each.limit:.3g} "
                "that the clinic set."
            )


def _left(clinic: Clinic) -> Iterator[str]:
    sent, told = clinic.departures, clinic.statements
    if sent:
        size = sum(each.bytes for each in sent)
        yield f"{formats.count(len(sent), 'sending')} left, {formats.data_size(size)} in all."
        masked = all(each.is_masked for each in sent)
        if masked:
            yield from _masks(sent)
        if masked and not told:
            yield "By this record no image, no count of cases and no metric left in readable form."
    if told:
        what = formats.listed(sorted({each.what for each in told}))
        yield f"{formats.count(len(told), 'statement')} left in readable form ({what}), listed below with who approved it."
        if sent and all(each.is_masked for each in sent):
            yield "Apart from that, by this record, no image, no count of cases and no metric left in readable form."


def _masks(sent: Sequence[Departure]) -> Iterator[str]:
    least = min(each.least for each in sent)
    yield (
        f"Each left under masks: before anybody could read it, it had to be added to those of other clinics, at least "
        f"{least} with this one."
    )
    signed = [each for each in sent if each.mode == "malicious" and each.quorum > 0]
    if len(signed) == len(sent):
        quorum = min(each.quorum for each in sent)
        yield f"The masks come off only after at least {quorum} clinics have signed whom a sum is over."


def _warn(clinic: Clinic) -> Iterator[str]:
    sent = clinic.departures
    if weak := [each for each in sent if each.mode == "hbc"]:
        yield (
            f"{len(weak)} of {formats.count(len(sent), 'sending')} left in the weaker mode hbc: it holds as long as the "
            "center tells every clinic the truth about who takes part."
        )
    if unsigned := [each for each in sent if each.mode == "malicious" and each.quorum < 1]:
        yield f"{formats.count(len(unsigned), 'sending')} needed no other clinic's signature before the masks came off."
    charged = sum(each.epsilon is not None for each in sent)
    if 0 < charged < len(sent):
        free = sum(each.epsilon is None for each in sent)
        yield f"{formats.count(free, 'sending')} left without a charge to the privacy budget."


def _noise(sent: Sequence[Departure]) -> Iterator[str]:
    if not sent or any(each.epsilon is not None for each in sent):
        return
    yield "No differential privacy was in force."
    if all(each.is_masked for each in sent):
        yield "Masks hide which part of a sum is this clinic's, not what the sum itself may tell of a patient."
