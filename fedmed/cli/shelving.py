"""What the commands of `fedmed center models` do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.center.callers import LocalCallers
from fedmed.center.folder import open_center
from fedmed.center.models import FOLDER, open_copy, open_registry
from fedmed.cli import listing
from fedmed.cli.keeping import opened_log
from fedmed.clock import SystemClock
from fedmed.identity.authority import day
from fedmed.identity.roles import Action
from fedmed.operation.backup import CENTER
from fedmed.report.formats import data_size
from fedmed.store.audit.event import event
from fedmed.store.models.copying import Backlog, state_of
from fedmed.store.models.index import MODEL, SIGNATURE, Entry
from fedmed.store.models.shelf import PUBLIC, Shelf

if TYPE_CHECKING:
    from fedmed.center.folder import CenterFolder


def list_models(at: Path, copy: bool, as_json: bool) -> None:
    """List them. Raises ModelAltered, StoreError."""
    folder, shelf = _opened(at, copy)
    index, backlog = shelf.index(), state_of(folder.path / FOLDER)
    if as_json:
        told = [_facts(entry) for entry in index.entries]
        _write({"models": told, "held": dict(index.held), "backlog": asdict(backlog) if backlog else None})
        return
    if index.entries:
        held = set(index.held.values())
        listing.show([_row(entry, held) for entry in reversed(index.entries)], as_json)
    else:
        sys.stdout.write("no model was committed yet; the first round of a run makes one\n")
    if backlog is not None:
        sys.stdout.write(_copied(backlog))


def show_model(at: Path, which: str, copy: bool, as_json: bool) -> None:
    """Show a lineage. Raises ConfigError, ModelAltered, StoreError."""
    _, shelf = _opened(at, copy)
    said = shelf.lineage(shelf.find(which))
    if as_json:
        _write(said)
        return
    for key, value in said.items():
        sys.stdout.write(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n")


def export_model(at: Path, which: str, out: Path, copy: bool, as_json: bool) -> None:
    """Write a model. Raises ConfigError, ModelAltered, StoreError."""
    folder, shelf = _opened(at, copy)
    entry = shelf.find(which)
    _record(folder, "model.export", str(entry), f"weights {entry.sha256}, to {out}")
    model = shelf.export(entry, out)
    check = f"model_signing verify key {model} --signature {out / SIGNATURE} --public_key {out / PUBLIC}"
    facts = {**_facts(entry), "folder": str(out.resolve()), "verify": check}
    if as_json:
        _write(facts)
    else:
        sys.stdout.write(f"{entry}: written to {out}, verified; others verify it with\n  {check}\n")


def verify_models(at: Path, which: str | None, copy: bool, as_json: bool) -> None:
    """Verify one or all. Raises ConfigError, ModelAltered, StoreError."""
    _, shelf = _opened(at, copy)
    entries = shelf.index().entries if which is None else (shelf.find(which),)
    for entry in entries:
        shelf.verify(entry)
    size = sum(file.bytes for entry in entries for file in entry.files.values())
    if as_json:
        _write({"verified": [_facts(entry) for entry in entries], "bytes": size})
    else:
        sys.stdout.write(f"{len(entries)} model{'s' * (len(entries) != 1)} verified: weights, lineage, signature, index\n")


def prune_models(at: Path, last: int | None, best: int | None, as_json: bool) -> None:
    """Let models go. Raises ModelAltered, StoreError."""
    folder = _center(at, Action.RUN)
    registry = open_registry(folder)
    kept = registry.retention
    kept = replace(kept, last=kept.last if last is None else last, best=kept.best if best is None else best)
    _record(folder, "model.prune", "all runs", f"the last {kept.last} and the best {kept.best} stay")
    gone = registry.prune(kept)
    if as_json:
        _write({"pruned": [_facts(entry) for entry in gone]})
    else:
        named = ", ".join(map(str, gone)) or "nothing was to go"
        sys.stdout.write(f"of each run the last {kept.last} and the best {kept.best} stay; gone: {named}\n")


def _opened(at: Path, copy: bool) -> tuple[CenterFolder, Shelf]:
    folder = _center(at, Action.SEE_RUNS)
    return folder, open_copy(folder) if copy else open_registry(folder)


def _center(at: Path, action: Action) -> CenterFolder:
    folder = open_center(at, SystemClock())
    LocalCallers(folder).identify(b"").require(action)
    return folder


def _record(folder: CenterFolder, action: str, what: str, how: str) -> None:
    """Who did it, in the center's audit log, before it is done. Raises StoreError."""
    who = LocalCallers(folder).identify(b"").name
    _, log = opened_log(CENTER.role, folder.path)
    log.append(event(folder.clock.unix(), who, "operator", action, what, reason=how))


def _facts(entry: Entry) -> dict[str, Any]:
    plain = {key: getattr(entry, key) for key in ("run", "round", "unix", "sha256", "metric", "score")}
    return plain | {"bytes": entry.files[MODEL].bytes}


def _row(entry: Entry, held: set[str]) -> dict[str, str]:
    return {
        "name": str(entry),
        "when": day(entry.unix),
        "score": "" if entry.score is None else f"{entry.metric} {entry.score:.4f}",
        "size": data_size(entry.files[MODEL].bytes),
        "sha256": entry.sha256[:16],
        "held": "a run goes on from it" if entry.sha256 in held else "",
    }


def _copied(backlog: Backlog) -> str:
    when = "never yet" if backlog.copied_unix is None else day(backlog.copied_unix)
    left = f"{backlog.blobs} files ({data_size(backlog.bytes)}) wait; " if backlog.blobs else ""
    return f"copied: {when}; {left}{backlog.error or 'all is well'}\n"


def _write(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
