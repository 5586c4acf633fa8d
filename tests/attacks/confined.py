"""A clinic's daemon with the hostile app, as a program: tries come in as JSON on stdin, what came of them goes out.

`how`: `cell` for the product's own cell, `bare` for one that finds no namespaces, `none` for the tries in this process.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fedmed.confinement import seccomp, syscalls
from fedmed.confinement.cell import Cell
from tests.flower.resting import REST

APPS = Path(__file__).parent / "apps"
SECRET = ctypes.create_string_buffer(b"a key in memory")


def without_namespaces() -> None:
    """From here on unshare is refused, to this process and those that it starts: as in many containers."""
    refused = syscalls.processor().calls["unshare"]
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, refused), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.put(steps)


def replies(given: dict[str, Any]) -> list[str]:
    from flwr.app import ConfigRecord, Context, Message, RecordDict

    from fedmed.flower import identity
    from fedmed.flower.apphost import AppHost
    from fedmed.flower.apps import AppRef

    identity.assume(identity.SERVER_NODE)
    chosen = {"policy": "as-available" if given["how"] == "bare" else "strict", **given.get("cell", {})}
    if "devices" in chosen:
        chosen["devices"] = tuple(map(Path, chosen["devices"]))
    cell = Cell(tuple(map(Path, given["readable"])), **chosen)
    host = AppHost(
        AppRef(APPS, "hostile:app"),
        {},
        cell,
        lambda text: print(text, file=sys.stderr),
        Path(given["states"]),
        REST,
        given.get("limit_s", 100),
    )
    found = []
    for number, (name, told) in enumerate(given["tries"]):
        order = json.dumps({"name": name, "given": told})
        asked = Message(RecordDict({"config": ConfigRecord({"order": order})}), 2, "train")
        identity.set_message_id(asked, f"m{number}")
        reply = host(asked, Context(1, 2, {}, RecordDict(), {}))
        found.append(f"refused {reply.error.reason}" if reply.has_error() else str(reply.content["said"]["said"]))
        if given.get("keep_running"):
            print(json.dumps(found), flush=True)
    host.close()
    return found


def put_in(tries: list[Any], number_of: int = 1) -> list[tuple[str, dict[str, Any]]]:
    """The tries with what is known here alone: this process, a place in its memory, the number of the question."""
    known = {"ME": os.getpid(), "HERE": ctypes.addressof(SECRET)}
    return [
        (name, {key: number if value == "NUMBER" else known.get(value, value) if isinstance(value, str) else value
                for key, value in told.items()})
        for number, (name, told) in enumerate(tries, number_of)
    ]  # fmt: skip


def uncaged(tries: list[Any]) -> list[str]:
    """The controls; to be traced and signalled, there is a process of its own."""
    sys.path.insert(0, str(APPS))
    import hostile

    with subprocess.Popen(["sleep", "100"]) as other:
        found = [hostile.attempt(name, {**told, "pid": other.pid} if name == "traces" else told) for name, told in tries]
        other.kill()
    return found


def main() -> None:
    given = json.load(sys.stdin)
    given["tries"] = put_in(given["tries"])
    if given["how"] == "bare":
        without_namespaces()
    print(json.dumps(uncaged(given["tries"]) if given["how"] == "none" else replies(given)))


if __name__ == "__main__":
    main()
