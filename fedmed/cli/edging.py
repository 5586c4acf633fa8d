"""The work of `fedmed edge`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fedmed.cli import listing
from fedmed.cli.bars import Item, counted
from fedmed.cli.waiting import Waiting
from fedmed.clock import SystemClock
from fedmed.config.edge import EDGE_FILE
from fedmed.config.roles import CLINIC_FILE
from fedmed.edge.aside import SET_ASIDE, Aside
from fedmed.edge.folder import EdgeFolder, make_edge, open_edge
from fedmed.edge.rejoining import is_begun, join_again
from fedmed.edge.standing import PAUSED, results_of
from fedmed.errors import ConfigError, DataError, StoreError
from fedmed.health.readings import measured
from fedmed.hub.joining import ENROLMENT_PORT, open_device
from fedmed.hub.joining import join as enrol
from fedmed.identity.authority import day
from fedmed.report.formats import data_size, duration
from fedmed.store.standing import is_serving, read_status
from fedmed.wire.visible import visible

WAITING = {
    "instance": "images",
    "series": "images of series",
    "result": "results for the PACS",
    "study": "copies for the clinic",
    "update": "updates of the model",
}
"""What kinds of entries are called."""
MANY = 1000


def join_hub(code: str, hub: str, at: Path, again: bool, as_json: bool) -> None:
    """Enrol this device. Raises ConfigError, JoinRefused, Unreachable, StoreError."""
    host, port = host_and_port(hub)
    with Waiting() as waits:
        if again or is_begun(at):
            join_again(code, host, port or ENROLMENT_PORT, at, SystemClock(), waits)
        else:
            enrol(code, host, port or ENROLMENT_PORT, at, SystemClock(), waits)
    folder = make_edge(open_device(at, SystemClock()))
    joined = folder.device.hub
    facts = {"name": joined.name, "clinic": joined.clinic, "hub": joined.host, "port": joined.port}
    _say(
        {**facts, "folder": str(at.resolve()), "until": int(folder.device.member().not_after)},
        f"{at}: {joined.name} is a device of {joined.clinic}, at its hub {joined.host}:{joined.port}\n"
        f"say in {at / EDGE_FILE} who may send and where results go; then: fedmed edge up --at {at}",
        as_json,
    )


def host_and_port(text: str) -> tuple[str, int | None]:
    """HOST or HOST:PORT. Raises ConfigError."""
    host, colon, port = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
    if not host or (colon and not (port.isdecimal() and 0 < int(port) < 1 << 16)):
        raise ConfigError(f"--hub {text[:80]!r}; it is a host, or HOST:PORT with a port of 1 to 65535")
    return (host, int(port)) if colon else (text, None)


def show_status(at: Path, as_json: bool) -> None:
    """Of a device, or of all devices of a clinic."""
    if (at / CLINIC_FILE).is_file() and not (at / EDGE_FILE).is_file():
        from fedmed.cli.whereabouts import show_clinic

        show_clinic(at, as_json)
        return
    folder = open_edge(at, SystemClock())
    facts = {**read_status(at), "up": is_serving(at), "paused": (at / PAUSED).exists()}
    facts["certificate_until"] = int(folder.device.member().not_after)
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write("\n  ".join(_lines(folder, facts)) + "\n")


def _lines(folder: EdgeFolder, facts: Mapping[str, Any]) -> list[str]:
    name = f"{folder.config.name} of {folder.device.hub.clinic}"
    if not facts["up"]:
        return [f"{name}: the agent is not up; fedmed edge up --at {folder.path}"]
    if "spool" not in facts:
        return [f"{name}: the agent is starting; ask again in a moment"]
    spool, models = facts["spool"], facts["models"]
    waits = ", ".join(f"{WAITING.get(kind, kind)} {count}" for kind, count in spool["entries"].items() if count) or "nothing"
    lines = [
        f"{name}: up since {day(facts['since'])}{', paused' if facts['paused'] else ''}, version {facts['version']}",
        f"waits: {waits} ({data_size(spool['bytes'])}){_gone(spool['dropped'])}",
        _looks(folder, models),
        *_rungs(models.get("ladder", {}) if models.get("active") else {}),
        _leaves(facts["hub_heard"], facts.get("leaving", {})),
        _well(facts["health"]),
        *_elsewhere(facts.get("elsewhere", {})),
        f"certificate until {day(facts['certificate_until'])}",
    ]
    return lines + [f"{day(each['unix'])} {visible(each['text'])}" for each in facts["said"][-5:]]


def _leaves(is_heard: bool, leaving: Mapping[str, Any]) -> str:
    """Whether the hub is heard, and how long what waits for it takes on the line, quiet hours aside."""
    said = "the hub is heard" if is_heard else "the hub is not heard: studies wait, results go to the PACS"
    if not leaving.get("entries") or leaving.get("left_s") is None:
        return said
    at = f"{duration(leaving['left_s'])} at {data_size(leaving['bytes_per_s'])}/s"
    return f"{said}; {data_size(leaving['bytes'])} for it take {at}{'' if is_heard else ', once it is'}"


def _gone(dropped: Mapping[str, int]) -> str:
    """What left the spool unused: set aside for people, or given up by its quota."""
    aside = f"; set aside: {dropped[SET_ASIDE]} (fedmed edge aside list)" if dropped.get(SET_ASIDE) else ""
    others = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if reason != SET_ASIDE)
    return f"{aside}; dropped so far: {others}" if others else aside


def _elsewhere(told: Mapping[str, Any]) -> list[str]:
    """What others look at for this device, and it for others."""
    lines = [f"others are asked to look at its images: {visible(told['why'])}"] if told.get("why") else []
    if told.get("by"):
        places = ", ".join(f"{count} at {visible(name)}" for name, count in told["by"].items())
        lines.append(f"images that were looked at elsewhere since it is up: {places}")
    if told.get("for_others"):
        lines.append(f"images of others that it looked at since it is up: {told['for_others']}")
    return lines


def _well(health: Mapping[str, Any]) -> str:
    if health["isolated"]:
        return f"takes no work: {visible(health['isolated'])}"
    past = f"past its limit: {', '.join(health['past'])}" if health["past"] else "no limit is passed"
    shown = [each for each in health["readings"] if each["name"].endswith(("_temperature", "_busy"))]
    return "; ".join([past, *(_reading(each) for each in shown)])


def _reading(row: Mapping[str, Any]) -> str:
    """`gpu0 gpu temperature 61 celsius`, `cpu busy 87 %`, or that it is unsupported."""
    value = row["value"]
    told = str(value) if isinstance(value, str) else measured(value, row["unit"])
    return " ".join(filter(None, (row["device"], row["name"].replace("_", " "), told)))


def _looks(folder: EdgeFolder, models: Mapping[str, Any]) -> str:
    active, beside = models.get("active"), models.get("beside")
    if not active:
        copied = "" if folder.config.deidentify is None else ", and copies of them go to the clinic"
        return f"no model runs here yet: images wait for the first release{copied}"
    said = f"looks with {active['name']} {active['version']}, {active['precision']}"
    return f"{said}; {beside['name']} {beside['version']} runs beside it" if beside else said


def _rungs(ladder: Mapping[str, Any]) -> list[str]:
    """Why it runs in that precision, and of each rung how fast it is and why it was left out."""
    if ladder.get("wanted") != "auto":
        return []
    why = f"its precision: {visible(str(ladder['why']))}"
    lines = [f"{why}; by {visible(ladder['basis'])}" if ladder.get("basis") else why]
    for row in ladder.get("rungs", ()):
        took = "" if row["median_ms"] is None else f" {row['median_ms']:.3g} ms"
        lost = "" if row["loss_points"] is None else f", {row['loss_points']:.2f} points lost"
        lines.append(f"  {row['precision']} on {row['backend']}{took}{lost}: {visible(row['reason'])}")
    return lines


def pause(at: Path, is_paused: bool, as_json: bool) -> None:
    """Look at no more images, or again."""
    folder = open_edge(at, SystemClock())
    if is_paused:
        (at / PAUSED).touch(mode=0o600)
    else:
        (at / PAUSED).unlink(missing_ok=True)
    said = "looks at no more images; what comes in is kept" if is_paused else "looks at images again"
    _say({"paused": is_paused}, f"{folder.config.name} {said}", as_json)


def show_results(at: Path, last: int, as_json: bool) -> None:
    """The newest results. Raises StoreError for a file that was changed."""
    open_edge(at, SystemClock())
    found = [_read(path) for path in _shown("reading results", results_of(at)[-last:])]
    if as_json:
        sys.stdout.write(json.dumps([result for result, _ in found]) + "\n")
    elif not found:
        sys.stdout.write("no image was looked at yet\n")
    else:
        listing.show([row for _, row in found], False)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A result, and as a row."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found, _row(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StoreError(
            f"{path} is no result ({type(error).__name__}); it was changed, or the disk damaged it; move it away"
        ) from error


def _row(result: Mapping[str, Any]) -> dict[str, str]:
    model = result["model"] or {"name": "no model", "version": ""}
    if "reason" in result:
        said = visible(f"no result, {result['reason']}: {result['sentence']}")
    elif "mask" in result:
        said = ", ".join(f"{name} {pixels} pixels" for name, pixels in result["mask"]["pixels"].items())
    else:
        best = sorted(zip(result["probabilities"], result["classes"], strict=True), reverse=True)[:3]
        said = ", ".join(f"{name} {chance:.0%}" for chance, name in best)
    return {
        "when": day(result["unix"]),
        "image": _about(result),
        "model": f"{model['name']} {model['version']}".strip(),
        "said": said,
    }


def _about(result: Mapping[str, Any]) -> str:
    """Which image, or which series and how many of its images."""
    if "series" not in result:
        return ", ".join(each["sop_instance"] for each in result["sources"])
    series, told = result.get("series_instance") or result["sources"][0]["series"], result["series"]
    late = ", in place of an earlier result" if "replaces" in result else ""
    return f"series {visible(series)}, {told['used']} of {told['came']} images{late}"


def _shown(what: str, items: Sequence[Item]) -> Iterable[Item]:
    """With a bar where there are so many that it takes a while."""
    return counted(what, items, len(items)) if len(items) >= MANY else items


def list_aside(at: Path, as_json: bool) -> None:
    """What the agent took out of the way."""
    found = _aside(at).listed(partial(_shown, "reading what was set aside"))
    if as_json:
        sys.stdout.write(json.dumps([{"address": address, **facts} for address, facts in found.items()]) + "\n")
    elif not found:
        sys.stdout.write("nothing was set aside\n")
    else:
        rows = [{"address": key[:16], "kind": str(each["kind"]), "why": str(each["why"])} for key, each in found.items()]
        listing.show(rows, False)


def export_aside(at: Path, address: str, out: Path, as_json: bool) -> None:
    """Write an object that was set aside. Raises ConfigError where none or several are called so, DataError, StoreError."""
    store = _aside(at)
    found = [each for each in store.listed() if each.startswith(address)]
    if len(found) != 1:
        raise ConfigError(f"{len(found)} objects begin with {address[:64]!r}; fedmed edge aside list shows them")
    try:
        with out.open("xb") as file:
            file.write(store.content(found[0]))
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); name a new file") from error
    _say({"address": found[0], "file": str(out.resolve())}, f"{out}: as it came, with all that names the patient", as_json)


def _aside(at: Path) -> Aside:
    folder = open_edge(at, SystemClock())
    return Aside(at / "aside", folder.key(), folder.clock)


def _say(facts: dict[str, Any], text: str, as_json: bool) -> None:
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else f"{text}\n")
