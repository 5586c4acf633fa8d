"""What exactly was run: all that it takes to run it again and to tell whether the result is the same."""

from __future__ import annotations

import yaml

from fedmed.report import protection
from fedmed.report.markup import Markup, tag
from fedmed.report.record import Report


def section(report: Report) -> Markup:
    """Fingerprints, versions, machine and the whole configuration."""
    written = yaml.safe_dump(report.scenario, sort_keys=False, allow_unicode=True, width=100)
    return tag(
        "section",
        tag("h2", "What exactly was run?"),
        tag("dl", *(_fact(name, text) for name, text in _facts(report)), class_="facts"),
        tag("details", tag("summary", "Configuration (YAML)"), tag("pre", written, tabindex=0), open=""),
        tag("footer", f"Written by fedmed {report.fedmed}. This page is one file and loads nothing."),
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items() if version)
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items() if value is not None)
    return [
        ("Status", report.status),
        ("Scenario", str(report.scenario.get("name", ""))),
        ("Seed", "" if report.seed is None else str(report.seed)),
        ("Engine", report.engine),
        *protection.facts(report),
        ("Versions", versions),
        ("Machine", machine),
        ("Data fingerprint (SHA-256)", report.data_sha256 or ""),
        ("Model (SHA-256)", report.model_sha256 or ""),
    ]


def _fact(name: str, text: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", text or "–"))
