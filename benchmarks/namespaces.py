"""The guides followed on hosts that are network namespaces: how long, how many commands; then cuts, kills, a revocation.

    python benchmarks/namespaces.py [--first | --only-cut] [--cut 40 [--needed]] [--hidden 1200] [--megabits 10] [--json]

Needs root, iproute2 and tinyproxy. One center, three clinics on a switch, a fourth whose only way out is tinyproxy. The demo
of four hospitals from empty folders to its first commit, each clinic's staff typing beside the others'; then an mlp of 1.5M
parameters, 32-bit lanes, masked, for what happens to rounds. No peer: stock Flower has no join, no approval and no proxy.
A clinic that is away for longer than its grace is not waited for, unless no round closes without it (`--needed`). How much
is sent again after a cut is seen only where an answer has many chunks: `--hidden 3600 --megabits 40` makes it ten.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from form import Row, make_row, show

sys.path.insert(0, str(Path(__file__).parents[1]))

from fedmed.federation.pace import GRACE_S
from fedmed.flower.calls import CHUNK
from tests.system.doors import IN_THE_LOG, absent, listeners, logged, member_call, refused
from tests.system.houses import House, Houses, until
from tests.system.network import CENTER, PROXY

SITES = {"north": "north-university", "east": "east-city", "south": "south-childrens", "far": "west-mobile"}
DEMO = ("--dataset", "cases", "--reader", "phantom", "--set", "split.test=0.3", "--set", "split.validation=0.1")
HIDDEN, SLOW, KILLED = "far", "north", "south"
SCENARIO = """\
name: line
title: Numbers of four clinics, and a model that takes seconds on a slow line
rounds: 1000
data:
  reader: csv
task: {name: tabular-mlp, model_options: {hidden: HIDDEN}}
federation: {quorum: {required: [REQUIRED]}}
training: {learning_rate: 0.01, batch_size: 16, epochs: 1}
evaluation: {baselines: false}
"""
GROUPS = ("members", "data")
"""Of which the third word is what is done."""
RUN, CASES = "line", 60
CUT_AT = 0.75
"""Of an answer's bytes, what has left when the line is cut: in the eighth of ten chunks."""
AT_MOST_S, CENTER_COMMANDS, CLINIC_COMMANDS = 180.0, 5, 3
INTO_S = 0.2
"""A kill comes this long after a round began."""


def write_cases(folder: Path, seed: int) -> None:
    """Sixty patients, three numbers each, of which the label follows roughly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(CASES, 3))
    labels = np.where(x.sum(axis=1) + rng.normal(size=CASES) > 0, "ill", "well")
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{label}" for (a, b, c), label in zip(x, labels, strict=True)]
    folder.mkdir()
    (folder / "cases.csv").write_text("\n".join(["a,b,c,label", *lines]) + "\n")


def kinds(house: House) -> int:
    """Commands that differ in more than the name of a clinic or member."""
    words = [each.split() for each in house.typed]
    return len({tuple(each[: 3 if each[1] in GROUPS else 2]) for each in words})


def typed_s() -> float:
    """Processor seconds of all commands that have ended; the services, which go on, are not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_commit(houses: Houses) -> list[Row]:
    """From empty folders to the first committed round of the demo."""
    began = time.monotonic()
    houses.found()
    houses.join()
    joined = time.monotonic() - began
    houses.run("demo", "rounds=2")

    def staff(name: str) -> None:
        houses.approve(name, "demo", *DEMO, "--site", SITES[name])
        houses.clinics[name].up("clinic")

    houses.staffs_do(staff)
    up = time.monotonic() - began
    until(lambda: houses.committed("demo"), "the first commit")
    took = time.monotonic() - began
    center, clinic = kinds(houses.center), kinds(houses.clinics[SLOW])
    rows = [
        make_row("four clinics, empty folders to first commit", took, "s", f"<= {AT_MOST_S:.0f}", took <= AT_MOST_S),
        make_row("  load of the machine then", os.getloadavg()[0], ""),
        make_row("  processor time of the commands so far", typed_s(), "s"),
        make_row("  until all have joined", joined, "s"),
        make_row("  until all are up", up, "s"),
        make_row("different commands at the center", center, "commands", f"<= {CENTER_COMMANDS}", center <= CENTER_COMMANDS),
        make_row("different commands at a clinic", clinic, "commands", f"<= {CLINIC_COMMANDS}", clinic <= CLINIC_COMMANDS),
        make_row("typed at the center", len(houses.center.typed), "commands"),
        make_row("typed at a clinic", len(houses.clinics[SLOW].typed), "commands"),
    ]
    until(lambda: houses.state("demo")["stage"] == "done", "the demo is done")
    return rows


def begin(houses: Houses, place: Path, options: argparse.Namespace) -> None:
    """The run that all the rest happens to."""
    required = SLOW if options.needed else ""
    (place / "line.yaml").write_text(SCENARIO.replace("HIDDEN", str(options.hidden)).replace("REQUIRED", required))
    houses.run(str(place / "line.yaml"))

    def staff(name: str) -> None:
        write_cases(houses.clinics[name].folder / "numbers", list(SITES).index(name))
        houses.approve(name, RUN, "--dataset", "numbers", "--reader", "csv", "--folder", "numbers")

    houses.staffs_do(staff)
    until(lambda: houses.committed(RUN) >= 1, "its first commit")


class Rounds:
    """What the run's journal says of its rounds."""

    def __init__(self, houses: Houses) -> None:
        self._houses = houses

    def seconds(self, number: int) -> float:
        """From its first attempt to its commit."""
        starts = [each["unix"] for each in self._houses.events(RUN, "round") if each["round"] == number]
        ends = [each["unix"] for each in self._houses.events(RUN, "committed") if each["round"] == number]
        return float(ends[0] - starts[0])

    def attempts(self, number: int) -> int:
        """How often it was tried."""
        return max(int(each["attempt"]) for each in self._houses.events(RUN, "round") if each["round"] == number)

    def who(self, number: int) -> set[str]:
        """Whose trained answers came."""
        answers = self._houses.events(RUN, "answered")
        return {str(each["site"]) for each in answers if (each["round"], each["kind"]) == (number, "train")}

    def next(self) -> int:
        """Wait until a round begins; its number."""
        seen = self._houses.begun(RUN)
        until(lambda: self._houses.begun(RUN) > seen, "another round begins")
        return self._houses.begun(RUN)

    def wait(self, number: int) -> float:
        """Wait for its commit; its seconds."""
        until(lambda: self._houses.committed(RUN) >= number, f"round {number} is committed")
        return self.seconds(number)

    def typical(self, count: int) -> float:
        """Median seconds of the next rounds."""
        return statistics.median(self.wait(self.next()) for _ in range(count))

    def survived(self, what: str, number: int, usual: float, is_missed: bool = False) -> list[Row]:
        """A round that something happened to: nobody missing, no second attempt, and what it cost; `is_missed`: one is."""
        took, sites = self.wait(number), len(SITES) - is_missed
        clinics, attempts = len(self.who(number)), self.attempts(number)
        return [
            make_row(f"{what}: the round took", took, "s"),
            make_row(f"{what}: more than usual", took - usual, "s"),
            make_row(f"{what}: attempts", attempts, "attempts", "1", attempts == 1),
            make_row(f"{what}: clinics in it", clinics, "clinics", str(sites), clinics == sites),
        ]


def lines(houses: Houses, rounds: Rounds, options: argparse.Namespace) -> list[Row]:
    """A fast line, a slow one, a slow one that is cut in the middle of an upload."""
    network, fast = houses.network, rounds.typical(3)
    network.limit(SLOW, options.megabits)
    number = rounds.next()
    before, slow = network.sent(SLOW), rounds.wait(number)
    sent, parameters = network.sent(SLOW) - before, options.hidden * (options.hidden + 7) + 2
    rows = [
        make_row("a round, no limit on the lines", fast, "s"),
        make_row(f"a round, one clinic at {options.megabits:.0f} Mbit/s", slow, "s"),
        make_row("parameters", parameters, ""),
        make_row("bytes up of that clinic, a parameter", sent / parameters, "bytes"),
        *cut(houses, rounds, options, slow, sent),
    ]
    network.unlimit(SLOW)
    return rows


def cut(houses: Houses, rounds: Rounds, options: argparse.Namespace, usual: float, sent: int) -> list[Row]:
    """The slow line is cut in mid-upload; a round without a cut takes `usual` seconds and sends `sent` bytes."""
    network, seconds, is_missed = houses.network, options.cut, options.cut > GRACE_S and not options.needed
    number = rounds.next()
    before = network.sent(SLOW)
    until(lambda: network.sent(SLOW) - before > CUT_AT * sent, "most of an upload")
    network.cut(SLOW)
    owed = houses.owed(SLOW)
    time.sleep(seconds)
    alone = houses.committed(RUN) - number + 1
    network.mend(SLOW)
    mended = time.monotonic()
    until(lambda: not owed & houses.owed(SLOW), "the answer is sent")
    whole_s, again = time.monotonic() - mended, network.sent(SLOW) - before - sent
    rows = rounds.survived(f"a cut of {seconds:.0f} s in mid-upload", number, usual, is_missed)
    until(lambda: SLOW in rounds.who(houses.committed(RUN)), "the clinic takes part again")
    back_s, chunks = time.monotonic() - mended, again / CHUNK
    return [
        make_row("answers that were on their way", len(owed), "answers", "1", len(owed) == 1),
        *rows,
        make_row("the cut cost beyond its own length", rounds.seconds(number) - usual - seconds, "s"),
        make_row(
            "committed without the clinic that was cut",
            alone,
            "rounds",
            ">= 1" if is_missed else "0",
            is_missed == bool(alone),
        ),
        make_row("until the answer was whole, after the cut", whole_s, "s"),
        make_row("until a round with that clinic was committed", back_s, "s"),
        make_row("bytes up of that clinic without a cut", sent, "bytes"),
        make_row("sent again after the cut", again, "bytes"),
        make_row("  chunks", chunks, "chunks", "<= 1", chunks <= 1),
    ]


def kills(houses: Houses, rounds: Rounds) -> list[Row]:
    """`kill -9` of the center and of a clinic, each started again at once."""
    rows, usual = [], rounds.typical(2)
    for what, house, role, options in (
        ("center killed", houses.center, "center", ("--at", "study")),
        ("clinic killed", houses.clinics[KILLED], "clinic", ()),
    ):
        number = rounds.next()
        time.sleep(INTO_S)
        house.kill()
        house.up(role, *options)
        rows += rounds.survived(what, number, usual)
    return rows


def revoked(houses: Houses, rounds: Rounds) -> list[Row]:
    """The clinic behind the proxy is shut out in mid-round."""
    before = member_call(houses.clinics[HIDDEN], is_hidden=True)
    rounds.next()
    began = time.monotonic()
    houses.center.says("center", "revoke", HIDDEN, "--at", "study")
    took = time.monotonic() - began
    after = member_call(houses.clinics[HIDDEN], is_hidden=True)
    seen = houses.committed(RUN)
    try:
        until(lambda: houses.committed(RUN) >= seen + 3, "three more rounds", 120)
    except TimeoutError:
        sys.stderr.write(f"after the revocation: {houses.state(RUN)}\n")
    newest = houses.committed(RUN)
    went_on = newest - seen
    names = rounds.who(newest)
    is_without = went_on > 0 and names == set(SITES) - {HIDDEN}
    return [
        make_row("a clinic's call before it is revoked", before, "HTTP status"),
        make_row("the same call after `revoke` returned", after, "HTTP status", "403", after == 403),
        make_row("`revoke` took", took, "s"),
        make_row("rounds with the others in the two minutes after", went_on, "rounds", ">= 3", went_on >= 3),
        make_row("clinics in the newest of them", len(names) if went_on else 0, "clinics", str(len(SITES) - 1), is_without),
    ]


def doors(houses: Houses) -> list[Row]:
    """What listens, and what the port answers to whom."""
    ports = {line.split()[4].rpartition(":")[2] for line in listeners(houses.network, CENTER)}
    rows = [make_row("ports that the center listens on, beside 443", len(ports - {"443"}), "ports", "0", ports == {"443"})]
    open_ = sum(len(listeners(houses.network, name)) for name in SITES)
    rows.append(make_row("listening sockets of all clinics", open_, "sockets", "0", open_ == 0))
    seen = [line.split()[4].rpartition(":")[0] for line in houses.network.sockets(CENTER, "-t")]
    through = seen.count(houses.network.hosts[PROXY])
    rows.append(make_row("lines to the center that come from the proxy", through, "lines", ">= 1", through >= 1))
    member = member_call(houses.clinics[SLOW])
    rows.append(make_row("a member's call", member, "HTTP status", "200", member == 200))
    for wanted, found in ((0, refused(houses.clinics[SLOW])), (404, absent(houses.clinics[SLOW]))):
        rows += [make_row(what, status, "HTTP status", str(wanted), status == wanted) for what, status in found.items()]
    told = len(logged(houses.center).keys() & IN_THE_LOG)
    rows.append(
        make_row("kinds of those in the center's audit log, which verifies", told, "kinds", "4", told == len(IN_THE_LOG))
    )
    return rows


class Told(list[Row]):
    """Rows that are shown on standard error as they come: what was measured before something failed is not lost."""

    def tell(self, rows: list[Row]) -> None:
        """A part's rows."""
        self += rows
        sys.stderr.write("".join(f"{row['name']}: {row['value']} {row['unit']}\n" for row in rows))


def main() -> None:
    """Read the options, run, print; whatever ends it, the namespaces go."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cut", type=float, default=40.0, help="seconds that the line is cut for")
    parser.add_argument("--needed", action="store_true", help="no round closes without the clinic that is cut")
    parser.add_argument("--hidden", type=int, default=1200, help="units in each of the model's two layers")
    parser.add_argument("--megabits", type=float, default=10.0, help="a second, of the slow line")
    parser.add_argument("--first", action="store_true", help="end with the first commit")
    parser.add_argument("--only-cut", action="store_true", help="end when the clinic that was cut takes part again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        place.chmod(0o755)  # the app has a user of its own
        houses = Houses(place, stack, SITES, [HIDDEN])
        rounds, rows = Rounds(houses), Told()
        rows.tell(first_commit(houses))
        if not options.first:
            begin(houses, place, options)
            rows.tell(doors(houses))
            rows.tell(lines(houses, rounds, options))
        if not (options.first or options.only_cut):
            rows.tell(kills(houses, rounds))
            rows.tell(revoked(houses, rounds))
        show("namespaces", rows, options.json)


if __name__ == "__main__":
    main()
