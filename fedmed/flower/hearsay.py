"""What an app's process says, judged as the bytes of an enemy: every value has one of the kinds that records may hold."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import RecordDict

from fedmed.errors import UpdateRefused
from fedmed.flower import packing
from fedmed.wire import asides as asides_of
from fedmed.wire.asides import Aside
from fedmed.wire.checkpoints import Checkpoint
from fedmed.wire.tensors import Tensors
from fedmed.wire.visible import visible

ANSWER, STATE, CHECKPOINT, ASIDES = "answer", "state", "checkpoint", "asides"
"""The groups of records that travel, and the first part of their tensors' names; and what is for the clinic alone."""
MAX_RECORDS, MAX_REASON = 1000, 2000
"""Records of a group, and characters of a reason."""
WHOLE = range(-(2**63), 2**63)
Description = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """An answer of the right form; whether it may leave, the gate decides."""

    number: int
    """Of the question."""
    content: RecordDict | None
    """None: the app failed."""
    reason: str
    """Why it failed."""
    state: Description | None
    """What the app keeps; None: as it was."""
    state_tensors: Tensors
    asides: tuple[Aside, ...] = ()
    """For the clinic's own report, and for nobody else."""


def grouped(group: str, content: RecordDict) -> Tensors:
    """The tensors of a group under the names by which they travel."""
    return {f"{group}{packing.SEPARATOR}{name}": value for name, value in packing.flatten(content).items()}


def of_group(group: str, tensors: Tensors) -> Tensors:
    """Those of one group, under the names that `packing.restore` knows."""
    start = f"{group}{packing.SEPARATOR}"
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def judged(head: bytes, tensors: Tensors) -> Said:
    """What was said. Raises UpdateRefused for whatever our own child would not have said."""
    try:
        told = json.loads(head)
        number, reason, answer, state = (told[name] for name in ("number", "reason", ANSWER, STATE))
        asides = tuple(asides_of.read(each) for each in told[ASIDES][: asides_of.MOST])
        whole = {*_names(answer or {}, ANSWER), *_names(state or {}, STATE)}
        fine = type(number) is int and isinstance(reason, str)
        fine = (
            fine and all(each is None or described(each) for each in (answer, state)) and (answer is None) == (reason != "")
        )
        fine = fine and all(_record_of(name) in whole for name in tensors)
        if not fine:
            raise UpdateRefused("the app's process said what no app of ours says: values of other kinds than records hold")
        content = None if answer is None else packing.restore(answer, of_group(ANSWER, tensors))
        if state is not None:
            packing.restore(state, of_group(STATE, tensors))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UpdateRefused(f"the app's process said what no app of ours says ({type(error).__name__})") from error
    return Said(number, content, visible(reason[:MAX_REASON])[:MAX_REASON], state, of_group(STATE, tensors), asides)


def checkpoint_in(head: bytes, tensors: Tensors, number: int) -> Checkpoint:
    """What the app offers to keep while it works on a question. Raises UpdateRefused as `judged`."""
    try:
        told = json.loads(head)
        if told["number"] != number or not isinstance(told["text"], str):
            raise UpdateRefused(f"the app's process offered a checkpoint of question {told['number']!r} at {number}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UpdateRefused(f"the app's process offered no checkpoint of ours ({type(error).__name__})") from error
    return Checkpoint(told["text"], tensors)


def _record_of(name: str) -> str:
    return packing.SEPARATOR.join(name.split(packing.SEPARATOR, 2)[:2])


def _names(description: Mapping[str, Any], group: str) -> set[str]:
    return {f"{group}{packing.SEPARATOR}{name}" for name in description.get("arrays", ())}


def described(value: Any) -> bool:
    """Whether it is what `packing.describe` makes, each record by a name of its own."""
    if not isinstance(value, dict) or set(value) != {"arrays", "metrics", "configs"}:
        return False
    arrays, metrics, configs = value["arrays"], value["metrics"], value["configs"]
    if not (isinstance(arrays, list) and all(isinstance(name, str) for name in arrays)):
        return False
    if not all(
        isinstance(each, dict) and all(isinstance(one, dict) for one in each.values()) for each in (metrics, configs)
    ):
        return False
    names = [*arrays, *metrics, *configs]
    return (
        len(names) == len(set(names)) <= MAX_RECORDS
        and all(_is_number(one) for record in metrics.values() for value in record.values() for one in _each(value))
        and all(_is_plain(one) for record in configs.values() for value in record.values() for one in _each(value))
    )


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and value in WHOLE)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) == {"base64"} and isinstance(value["base64"], str) and _is_base64(value["base64"])
    return isinstance(value, (str, bool)) or _is_number(value)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
