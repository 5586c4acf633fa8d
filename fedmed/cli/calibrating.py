"""`fedmed calibrate`: measures this machine and writes an entry of `topology.machines` that replaces a profile."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmed.clock import SystemClock
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Training
from fedmed.errors import ConfigError, StoreError
from fedmed.twin.calibration import Calibration, entry, quantity
from fedmed.twin.profiles import names

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
MODEL, INPUTS, CLASSES = "small-cnn", (1, 64, 64), 2
"""What is trained where no scenario is given."""
TRAINING = Training(epochs=1, batch_size=32)


def run(scenario: str | None, data: Path | None, name: str, each_s: float, out: Path | None, as_json: bool) -> None:
    """Measure, and write to `out` or to standard output."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"--name: got {name[:70]!r}; allowed: up to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        )
    if out is not None and out.exists():
        raise ConfigError(f"--out: {out} is there already; give another file, or take it away")
    found = _measure(scenario, data, each_s)
    text = entry(found, name, scenario is not None)
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"--out: {out} cannot be written: {error.strerror or error}; give another file") from error
        sys.stderr.write(f"written to {out}; put it below topology: in a scenario\n")
    if as_json:
        sys.stdout.write(json.dumps(facts(found), ensure_ascii=False) + "\n")
    elif out is None:
        sys.stdout.write(text)


def _measure(scenario: str | None, data: Path | None, each_s: float) -> Calibration:
    from fedmed.learning.order import ModelSpec
    from fedmed.twin import calibrating, counting

    if scenario is None:
        spec = ModelSpec(name=MODEL, inputs=INPUTS, classes=CLASSES)
        return calibrating.calibrate(spec, TRAINING, SystemClock(), _say, each_s)
    loaded = load(find(scenario), (), names())
    spec, _ = counting.spec_of(loaded, data)
    return calibrating.calibrate(spec, loaded.training, SystemClock(), _say, each_s)


def _say(what: str, number: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{number}/{total} {what} ..." + ("\r\x1b[K" if number == total else ""))
    else:
        sys.stderr.write(f"{number}/{total} {what}\n")
    sys.stderr.flush()


def facts(found: Calibration) -> dict[str, Any]:
    """For machines; numbers in operations, bytes, bytes a second, seconds and parts."""
    told = asdict(found)
    for each, one in zip(told["measured"], found.measured, strict=True):
        each |= {"best": one.best, "median": one.median, "written": quantity(one.key, one.value)}
    return told
