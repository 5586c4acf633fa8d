"""The gate as a run goes through it: judged before round one, written down, remembered by every commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedmed.config.scenario import Rounds as Rules
from fedmed.errors import GateRefused
from fedmed.federation.gate import Finding, judge
from fedmed.federation.journal import Journal
from fedmed.learning.plan import Described

Entry = dict[str, Any]
"""`gate` (mode and findings) and `fingerprints` by site; empty where there was nothing to compare."""


def enter(rules: Rules, sites: Sequence[Described], journal: Journal) -> Entry:
    """What the gate found among `sites`, in the journal too. Raises GateRefused where the rules say so."""
    if rules.gate == "off" or all(site.fingerprint is None for site in sites):
        return {}
    findings = judge(sites)
    records = [finding.record() for finding in findings]
    journal.say("gate", mode=rules.gate, sites=len(sites), findings=records)
    refusing = [finding for finding in findings if finding.weight == "refuses"]
    if refusing and rules.gate == "refuse":
        raise GateRefused(
            f"{_in_words(refusing)}\nMend that at the site or leave the site out; federation.gate: warn starts nevertheless"
        )
    told = {site.name: site.fingerprint.record() for site in sites if site.fingerprint is not None}
    return {"gate": {"mode": rules.gate, "findings": records}, "fingerprints": told}


def enter_again(before: Entry, rules: Rules, sites: Sequence[Described], journal: Journal) -> Entry:
    """On resuming: what was found before round one holds; a site that tells something else now is named in the journal."""
    known = before.get("fingerprints", {})
    changed = [
        Finding(site.name, "changed", "warns", "it tells something else of its images than before round one")
        for site in sites
        if site.fingerprint is not None and site.name in known and known[site.name] != site.fingerprint.record()
    ]
    if changed:
        journal.say("gate", mode=rules.gate, sites=len(sites), findings=[finding.record() for finding in changed])
    return before


def _in_words(findings: Sequence[Finding]) -> str:
    return "before round one: " + "; ".join(f"site {finding.site}: {finding.sentence}" for finding in findings)
