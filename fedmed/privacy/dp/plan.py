"""This epsilon, these clinics, these rounds: what noise, and how it stands to the updates, in the three modes side by side.

What a plan cannot say is an accuracy: that depends on the task. It says what the noise is, how large it is beside the
largest update that clipping lets through, and what others reached and published.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fedmed.errors import ConfigError
from fedmed.privacy.dp.accountant import MOST_RELEASES, RELATION, epsilon, noise_for
from fedmed.privacy.dp.gaussian import rounded_sensitivity
from fedmed.privacy.dp.mechanisms import (
    BETA,
    CLINIC,
    MODES,
    RECORD_DISTRIBUTED,
    RECORD_LOCAL,
    UPDATE,
    Mechanism,
    Opened,
)

LEAST_CLINICS = 3
MOST_CLINICS, MOST_CASES, MOST_DIMENSIONS = 2**16, 10**9, 2**40
LANES = (16, 32)
COARSE = 0.05
"""Part by which rounding may add to the noise before a plan says so."""
REFERENCES = (
    "Noise at each clinic (as record-local), 36 clients, CheXpert and Mendeley chest X-rays: AUC .94 without privacy; at "
    "epsilon 6, DenseNet121 .94 and ResNet50 .76 (Ziegler et al., Sensors 2022, arXiv 2205.03168)",
    "Noise at one place, CIFAR-10: accuracy 81.4 % at epsilon 8, delta 1e-5, with a 40-layer Wide-ResNet (De et al., 2022, "
    "arXiv 2204.13650)",
)
"""Published by others for their own data; nothing here is predicted from them."""


@dataclass(frozen=True)
class Question:
    """What is planned. Raises ConfigError, naming all faults."""

    epsilon: float
    delta: float
    clinics: int
    rounds: int
    """Noisy releases of the model; in mode record-local, all steps of local training together."""
    cases: int = 5000
    """Cases of one clinic."""
    rate: float = 0.01
    """Part of a clinic's cases that takes part in one step, by Poisson sampling; of the two record modes."""
    clip: float = 1.0
    """L2 norm to which a case's gradient, or in mode clinic a clinic's update, is clipped."""
    dimensions: int = 1_000_000
    """Numbers in an update."""
    lost: int | None = None
    """Clinics that may be missing from a sum; a tenth where None."""
    colluders: int | None = None
    """Clinics that may add no noise and help the center; a tenth where None, at least one from four clinics on."""
    lanes: int = 32
    mode: str | None = None
    """One of the three modes; all where None."""

    def __post_init__(self) -> None:
        rules = {
            f"epsilon {self.epsilon} (above 0 and finite)": 0 < self.epsilon < math.inf,
            f"delta {self.delta} (above 0, below 1; 1e-5, or 1 / number of patients)": 0 < self.delta < 1,
            f"{self.clinics} clinics ({LEAST_CLINICS} to {MOST_CLINICS})": LEAST_CLINICS <= self.clinics <= MOST_CLINICS,
            f"{self.rounds} rounds (1 to {MOST_RELEASES:,})": 1 <= self.rounds <= MOST_RELEASES,
            f"{self.cases} cases a clinic (1 to {MOST_CASES:,})": 1 <= self.cases <= MOST_CASES,
            f"rate {self.rate} (above 0, at most 1)": 0 < self.rate <= 1,
            f"clip {self.clip} (above 0 and finite)": 0 < self.clip < math.inf,
            f"{self.dimensions} dimensions (1 to 2^40)": 1 <= self.dimensions <= MOST_DIMENSIONS,
            f"lanes of {self.lanes} bits (16 or 32)": self.lanes in LANES,
            f"mode {self.mode!r} (known: {', '.join(MODES)})": self.mode in (None, *MODES),
            f"{self.lost} clinics lost (0 or more)": self.lost is None or self.lost >= 0,
            f"{self.colluders} colluders (0 or more)": self.colluders is None or self.colluders >= 0,
        }
        faults = [text for text, kept in rules.items() if not kept]
        if not faults and self.fewest < self.quorum:
            faults = [
                f"{self.missing} of {self.clinics} clinics lost with {self.against} colluders: a sum of {self.fewest} is "
                f"never opened (at least {self.quorum} clinics must be in it; lose fewer, or invite more)"
            ]
        if faults:
            raise ConfigError(f"no such plan: {'; '.join(faults)}")

    @property
    def missing(self) -> int:
        """Clinics that may be missing from a sum."""
        return self.clinics // 10 if self.lost is None else self.lost

    @property
    def against(self) -> int:
        """Clinics that may collude."""
        if self.colluders is not None:
            return self.colluders
        return 0 if self.clinics == LEAST_CLINICS else max(1, self.clinics // 10)

    @property
    def fewest(self) -> int:
        """Clinics in the smallest sum that is opened."""
        return self.clinics - self.missing

    @property
    def quorum(self) -> int:
        """Any two sets of so many clinics share an honest one, and a sum of fewer than 3 is nobody's secret."""
        return max((self.clinics + self.against) // 2 + 1, LEAST_CLINICS, self.against + 1)


@dataclass(frozen=True)
class Answer:
    """What one mode needs and does. Norms and deviations are in the model's own unit."""

    mode: str
    unit: str
    """Whom the epsilon protects."""
    epsilon: float
    noise_multiplier: float
    sampling_rate: float
    share: float
    """Deviation of what one clinic adds to each number of its sum."""
    share_lattice: float | None
    """The same in lattice units; None where it is not added on the lattice."""
    rounding: float
    """Part by which stochastic rounding adds to the sensitivity, hence to the noise."""
    mean_std: float
    """Deviation of the noise on one number of the opened mean, all clinics being there."""
    mean_norm: float
    """L2 norm that the noise on the opened mean has, about: mean_std * sqrt(dimensions)."""
    signal_to_noise: float
    """The clip norm over that: the most a mean update can be beside its noise. Updates shorter than the clip stand worse."""
    patient_epsilon: float
    """Epsilon for one patient (or record) more or less; of mode clinic, whose own unit is the clinic."""


def plan(question: Question, tried: Callable[[], None] | None = None) -> list[Answer]:
    """One answer a mode. `tried` is called after every evaluation that takes time. Raises ConfigError and MissingPart."""
    modes = MODES if question.mode is None else (question.mode,)
    left = question.delta - BETA * question.rounds
    rates = {mode: 1.0 if mode == CLINIC else question.rate for mode in modes}
    noises = {
        rate: noise_for(question.epsilon, left, rate, question.rounds, tried) for rate in dict.fromkeys(rates.values())
    }
    return [_answer(question, mode, rates[mode], noises[rates[mode]]) for mode in modes]


def _answer(question: Question, mode: str, rate: float, noise: float) -> Answer:
    opened = Opened(UPDATE, question.clip, question.dimensions, noise, rate)
    made = Mechanism(mode, question.fewest - question.against, (opened,))
    batch = 1.0 if mode == CLINIC else question.rate * question.cases
    lattice = None
    share, rounding = noise * question.clip, 0.0
    if mode != RECORD_LOCAL:
        share, lattice, rounding = _on_lattice(question, made, batch)
    std = share / (batch * math.sqrt(question.clinics))
    norm = std * math.sqrt(question.dimensions)
    per_round = {unit: made.releases(unit) for unit in (CLINIC, "patient")}
    costs = {unit: epsilon(releases * question.rounds, question.delta) for unit, releases in per_round.items()}
    unit = CLINIC if mode == CLINIC else "patient"
    return Answer(
        mode, unit, costs[unit], noise, rate, share, lattice, rounding, std, norm, question.clip / norm, costs["patient"]
    )


def _on_lattice(question: Question, made: Mechanism, batch: float) -> tuple[float, float, float]:
    """A clinic's share in the model's unit and on the lattice, and what rounding adds to the sensitivity (a part)."""
    drawn = 1.0 if made.mode == CLINIC else batch + 6 * math.sqrt(batch) + 6  # cases; Poisson sampling draws no more
    reach = question.clip * drawn
    scale, lattice = made.fitted(UPDATE, question.lanes, question.clinics, reach)
    bound = question.clip * scale
    return lattice / scale, lattice, rounded_sensitivity(bound, question.dimensions, made.beta) / bound - 1


def facts(question: Question, answers: list[Answer]) -> dict[str, Any]:
    """Question, answers, and what they do not say, for machines."""
    return {
        "question": {**asdict(question), "lost": question.missing, "colluders": question.against},
        "least_honest": question.fewest - question.against,
        "neighbours": RELATION,
        "modes": [asdict(answer) for answer in answers],
        "notes": notes(question, answers),
        "published": list(REFERENCES),
    }


def notes(question: Question, answers: list[Answer]) -> list[str]:
    """What to bear in mind, in words."""
    found = {answer.mode: answer for answer in answers}
    said = ["no accuracy is predicted: how much noise a task bears is found by training it, for instance in a simulation"]
    if found.keys() - {CLINIC}:
        said.append("per patient holds where a patient's cases are clipped together; where ids are missing it is per record")
    if {RECORD_LOCAL, RECORD_DISTRIBUTED} <= found.keys():
        ratio = found[RECORD_LOCAL].mean_std / found[RECORD_DISTRIBUTED].mean_std
        said.append(f"noise of every clinic's own ({RECORD_LOCAL}) is {ratio:.2f} times that of shares, at the same epsilon")
    if CLINIC in found:
        said.append(
            f"{CLINIC} protects a clinic's taking part; one patient there is protected at epsilon "
            f"{found[CLINIC].patient_epsilon:.3g}, for a patient can move the clipped update by two clips"
        )
    if (rounding := max(answer.rounding for answer in answers)) > COARSE:
        said.append(f"rounding to lanes of {question.lanes} bits adds {rounding:.0%} to the noise: take 32 bits")
    if question.delta > 1 / question.cases:
        said.append(
            f"delta {question.delta:g} is above 1 / {question.cases} cases: a mechanism that publishes one case keeps it"
        )
    said.append("every further number that is opened (metrics, histograms) needs noise of its own and is charged on top")
    return said
