"""`fedmed privacy`: what differential privacy costs, before anybody pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedmed.privacy.dp.plan import Answer, Question

privacy = typer.Typer(help="Plan how much noise hides a patient.", no_args_is_help=True)


@privacy.command()
def plan(
    epsilon: Annotated[float, typer.Option(help="The most that all rounds together may cost.")],
    delta: Annotated[float, typer.Option(help="Probability that the guarantee fails: 1e-5, or 1 / number of patients.")],
    clinics: Annotated[int, typer.Option(help="Clinics that take part.")],
    rounds: Annotated[int, typer.Option(help="Rounds; in mode record-local, steps of local training in all.")],
    cases: Annotated[int, typer.Option(help="Cases of one clinic.")] = 5000,
    rate: Annotated[float, typer.Option(help="Part of its cases that a clinic draws for a step.")] = 0.01,
    clip: Annotated[float, typer.Option(help="L2 norm of one case's gradient, or of a clinic's update.")] = 1.0,
    dimensions: Annotated[int, typer.Option(help="Numbers in an update.")] = 1_000_000,
    lost: Annotated[int | None, typer.Option(help="Clinics that may be missing from a sum; a tenth.")] = None,
    colluders: Annotated[int | None, typer.Option(help="Clinics that may help the center; a tenth.")] = None,
    lanes: Annotated[int, typer.Option(help="Bits of a masked number: 16 or 32.")] = 32,
    mode: Annotated[str | None, typer.Option(help="record-local, record-distributed or clinic; all when absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
) -> None:
    """Say what noise this epsilon needs with these clinics and rounds, and how it stands to the updates."""
    from fedmed.privacy.dp.plan import Question

    asked = Question(epsilon, delta, clinics, rounds, cases, rate, clip, dimensions, lost, colluders, lanes, mode)
    _show(asked, _answered(asked), as_json)


def _answered(question: Question) -> list[Answer]:
    from fedmed.cli.bars import Bar
    from fedmed.privacy.dp.plan import plan

    done = 0
    with Bar("evaluations") as bar:

        def tried() -> None:
            nonlocal done
            done += 1
            bar("searching for the least noise", done, None)

        answers = plan(question, tried)
        bar("searching for the least noise", done, done)
    return answers


def _show(question: Question, answers: list[Answer], as_json: bool) -> None:
    import json
    import sys

    from fedmed.cli.listing import show
    from fedmed.privacy.dp.plan import facts

    told = facts(question, answers)
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        return
    sys.stdout.write(
        f"{question.clinics} clinics, {question.rounds} rounds, at most epsilon {question.epsilon:g} at delta "
        f"{question.delta:g}; sums of at least {question.fewest}, of whom {question.against} may collude\n\n"
    )
    columns = [_column(answer) for answer in answers]
    show([{"": name} | {c["mode"]: c[name] for c in columns} for name in columns[0] if name != "mode"], as_json=False)
    sys.stdout.write("\n" + "".join(f"- {note}\n" for note in told["notes"]))
    sys.stdout.write("\nPublished elsewhere, on other data:\n" + "".join(f"- {text}\n" for text in told["published"]))


def _column(answer: Answer) -> dict[str, str]:
    lattice = "" if answer.share_lattice is None else f" ({answer.share_lattice:.2g} units)"
    return {
        "mode": answer.mode,
        "epsilon": f"{answer.epsilon:.3f} per {answer.unit}",
        "noise multiplier": f"{answer.noise_multiplier:.4g}",
        "sampling rate": f"{answer.sampling_rate:g}",
        "noise a clinic adds": f"{answer.share:.3g}{lattice}",
        "rounding adds": f"{answer.rounding:.2%}",
        "noise on the mean": f"{answer.mean_std:.3g}",
        "its L2 norm": f"{answer.mean_norm:.3g}",
        "clip norm / that": f"{answer.signal_to_noise:.3g}",
    }
