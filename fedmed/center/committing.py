"""A committed round's model on its way into the registry: the tensors, and what is said of where they come from."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.federation.run import MODEL, part
from fedmed.identity.authority import PublicMember
from fedmed.learning import control
from fedmed.learning.kinds import KINDS
from fedmed.learning.order import ModelSpec
from fedmed.store.commits import Commit
from fedmed.store.models.lineage import Committed
from fedmed.store.models.registry import Registry, Told


def keep(registry: Registry, run: str, commit: Commit, members: Sequence[PublicMember], rounds: int) -> Told:
    """Keep the model of a committed round where one is due; that of the last of `rounds` always is. Raises StoreError."""
    before = registry.index().newest(run)
    said = lineage(run, commit, members, None if before is None else before.sha256)
    return registry.commit(said, control.split(part(commit.tensors, MODEL))[0], final=commit.round == rounds)


def lineage(run: str, commit: Commit, members: Sequence[PublicMember], parent: str | None) -> Committed:
    """What is said of a committed round's model."""
    state, last = commit.state, commit.state["history"][-1]
    spec, found = state["spec"], last.get("validation") or {}
    private = state.get("privacy") or {}
    return Committed(
        run=run,
        round=commit.round,
        scenario_sha256=state["scenario_sha256"],
        spec=spec,
        cohort=tuple(last["joined"]),
        measures={name: float(value) for name, value in found.items() if isinstance(value, (int, float))},
        metric=KINDS[ModelSpec.model_validate(spec).kind].leading,
        epsilon=private.get("epsilon"),
        delta=private.get("delta"),
        members={member.name: member.fingerprint.hex() for member in members if member.name in last["joined"]},
        parent=parent,
    )
