"""Fuzzes the intake of DICOM files: whatever the bytes, one record comes out, in time and within the limits.

    scripts/bench fuzz_intake [--seconds 600] [--json]

Coverage-guided by atheris where that is installed (it is no dependency), else random mutations of the same files. Ends
with exit code 1 and the input written to `crash-*` in the work folder where anything else than a record comes out.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from form import Row, data_root, make_row, show

from fedmed.clock import generator
from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Status
from fedmed.dicom.sources import of_bytes

LIMITS = Limits(
    file_bytes=4 * 1024**2,
    header_bytes=2 * 1024**2,
    pixels_per_frame=1024**2,
    frames=200,
    decoded_bytes=8 * 1024**2,
    elements=20_000,
)
LARGEST_SEED = 150_000
"""Bytes of the files that inputs are made from; libFuzzer is slow on large ones."""
SLOWEST = 20
"""Seconds that one input may take."""
MEMORY_MB = 1024
"""Of the process, at most: an input's own caps are far below."""
ENDS = "ends.json"
SAVE_EVERY = 1000


def check(data: bytes) -> FileRecord:
    """Inspects `data`; raises whatever intake lets through, and AssertionError for a record that is none."""
    record = inspect_file(of_bytes("input", data), LIMITS)
    assert (record.status is Status.QUARANTINED) == (record.reason is not None), record
    assert (record.status is Status.OK) == (record.shape is not None) == bool(record.pixel_sha256), record
    return record


def seeds() -> list[Path]:
    """Small files of the zoo."""
    zoo = data_root() / "dicom_zoo"
    return [path for path in sorted(zoo.rglob("*")) if path.is_file() and 0 < path.stat().st_size <= LARGEST_SEED]


def guided(folder: Path, seconds: float) -> list[str]:
    """Runs libFuzzer in a process of its own; its last lines."""
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, path in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(path.read_bytes())
    tokens = folder / "tokens"
    tokens.write_text("".join(f'"{word}"\n' for word in WORDS), encoding="ascii")
    command = [sys.executable, __file__, "--child", str(folder / ENDS), "-print_final_stats=1", f"-dict={tokens}"]
    command += [f"-max_total_time={seconds:.0f}", f"-timeout={SLOWEST}", f"-max_len={LARGEST_SEED}"]
    command += [f"-artifact_prefix={folder}/crash-", f"-rss_limit_mb={MEMORY_MB}", str(corpus)]
    log = folder / "log"
    with log.open("wb") as stream:
        done = subprocess.run(command, stdout=stream, stderr=stream, check=False)
    return [*log.read_text(errors="replace").splitlines()[-400:], f"exit {done.returncode}"]


# VRs, delimiters and markers, so that mutations do not have to find them.
WORDS = ["OB", "OW", "SQ", "UN", "US", "DS", "UI", "UT"]
WORDS += [r"\xfe\xff\x00\xe0", r"\xfe\xff\x0d\xe0", r"\xfe\xff\xdd\xe0", r"\xff\xff\xff\xff", r"\xe0\x7f\x10\x00"]
WORDS += [r"\xff\x4f\xff\x51", r"\xff\xd8\xff", r"\xff\xd9", r"\xff\xda", r"\xff\xc0", r"\xff\xf7"]
WORDS += [f"1.2.840.10008.1.2.{end}" for end in ("1", "2", "5", "1.99", "4.50", "4.70", "4.80", "4.90", "4.201", "8.1")]


def child(ends_file: Path, arguments: list[str]) -> None:
    """Within the process that libFuzzer owns, and which it ends as it likes: how inputs end is written now and then."""
    import atheris

    with atheris.instrument_imports(include=["fedmed.dicom"]):
        for name in [name for name in sys.modules if name.startswith("fedmed.dicom")]:
            del sys.modules[name]
        inspection = importlib.import_module("fedmed.dicom.inspection")
        sources = importlib.import_module("fedmed.dicom.sources")
        limits = importlib.import_module("fedmed.dicom.limits").Limits(**vars(LIMITS))

    ends: dict[str, int] = {}

    def one(data: bytes) -> None:
        record = inspection.inspect_file(sources.of_bytes("input", data), limits)
        end = record.reason.value if record.reason else record.status.value
        ends[end] = ends.get(end, 0) + 1
        if sum(ends.values()) % SAVE_EVERY == 0:
            ends_file.write_text(json.dumps(ends), encoding="ascii")

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def mutated(data: bytes, rng: object) -> bytes:
    """A copy with a few faults: bits, lengths, cuts, doubled or exchanged pieces."""
    draw = rng.integers  # type: ignore[attr-defined]
    out = bytearray(data)
    for _ in range(int(draw(1, 6))):
        within = min(len(out), 4096) if draw(2) else len(out)  # half of them in the header
        kind, at = int(draw(6)), int(draw(max(within, 1)))
        if kind == 0 and out:
            out[at] ^= 1 << int(draw(8))
        elif kind == 1:
            out[at : at + 4] = int(draw(1 << 32)).to_bytes(4, "little")
        elif kind == 2:
            out[at : at + 2] = int(draw(300)).to_bytes(2, "little")
        elif kind == 3:
            del out[at : at + int(draw(1, 64))]
        elif kind == 4:
            out[at:at] = out[at : at + int(draw(1, 64))]
        elif int(draw(8)) == 0:
            del out[at:]
    return bytes(out)


def unguided(folder: Path, seconds: float) -> tuple[int, dict[str, int], float]:
    """Random mutations until the time is over: how many, how they ended, and the slowest in seconds."""
    files = [path.read_bytes() for path in seeds()]
    rng = generator(20261125, "fuzz")
    ends: dict[str, int] = {}
    count, slowest, began = 0, 0.0, time.monotonic()
    while time.monotonic() - began < seconds:
        data = mutated(files[int(rng.integers(len(files)))], rng)
        (folder / "crash-last").write_bytes(data)  # what a crash of the process leaves behind
        faulthandler.dump_traceback_later(SLOWEST, exit=True)
        start = time.monotonic()
        record = check(data)
        slowest = max(slowest, time.monotonic() - start)
        faulthandler.cancel_dump_traceback_later()
        end = record.reason.value if record.reason else record.status.value
        ends[end] = ends.get(end, 0) + 1
        count += 1
    return count, ends, slowest


def rows_of(folder: Path, seconds: float, random_only: bool) -> list[Row]:
    """What the report says."""
    if importlib.util.find_spec("atheris") and not random_only:
        lines = guided(folder, seconds)
        stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", "\n".join(lines)))
        crashes = sorted(path.name for path in folder.glob("crash-*"))
        covered = re.findall(r"cov: (\d+)", "\n".join(lines))
        ends: dict[str, int] = json.loads((folder / ENDS).read_text(encoding="ascii")) if (folder / ENDS).exists() else {}
        for line in lines if crashes or lines[-1] != "exit 0" else []:
            print(line, file=sys.stderr)
        return [
            make_row("inputs, coverage-guided (atheris)", int(stats.get("number_of_executed_units", 0)), "inputs"),
            make_row("branches of fedmed.dicom reached", int(covered[-1]) if covered else 0, "edges"),
            make_row("slowest input", int(stats.get("slowest_unit_time_sec", 0)), "s", f"<= {SLOWEST}"),
            make_row("peak memory of the process", int(stats.get("peak_rss_mb", 0)), "MB"),
            make_row("crashes, hangs, other exceptions", len(crashes), "", "0", not crashes and lines[-1] == "exit 0"),
            *[make_row(f"ended as {end}", number, "inputs") for end, number in sorted(ends.items())],
        ]
    count, ends, slowest = unguided(folder, seconds)
    rows = [make_row("inputs, random mutations", count, "inputs"), make_row("slowest input", slowest, "s", f"<= {SLOWEST}")]
    return rows + [make_row(f"ended as {end}", number, "inputs") for end, number in sorted(ends.items())]


def main() -> None:
    """Read the options, fuzz, print."""
    warnings.simplefilter("error")
    if "--child" in sys.argv:
        child(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--random", action="store_true", help="mutate at random though atheris is installed")
    parser.add_argument("--work", type=Path, help="folder for corpus and crashes; a temporary one by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work = options.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    work.mkdir(exist_ok=True)
    rows = rows_of(work, options.seconds, options.random)
    show("fuzz_intake", rows, options.json)
    raise SystemExit(any(row["holds"] is False for row in rows))


if __name__ == "__main__":
    main()
