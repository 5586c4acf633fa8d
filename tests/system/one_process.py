"""The in-process engine in the place of a real federation: the same sites, rounding as its clinics do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedmed.clinic.folder import KEYS_FILE
from fedmed.clock import SystemClock
from fedmed.config.scenario import Scenario
from fedmed.federation.journal import Journal
from fedmed.identity.member import ROUNDING, MemberKeys
from fedmed.simulate import engines, members
from fedmed.simulate.folder import RunFolder
from fedmed.sites import prepared
from fedmed.sites.cases import Site
from fedmed.store.commits import Commit, Commits


def in_process(scenario: Scenario, sites: list[Site], clinics: Mapping[str, Path], place: Path) -> Commit:
    """The last commit of a run with one site process, for sites in the order of their names.

    `clinics`: the folders of the clinics that are called as the sites are. Beside its scenario and data, a run hangs on
    nothing but their secrets of rounding.
    """
    folder = RunFolder(place)
    with folder.held():
        folder.claim(scenario, False)
        prepared.lay_out(sites, folder.sites)
        if scenario.privacy.is_masked:
            members.enrol(folder.sites, [site.name for site in sites], scenario)
            for number, site in enumerate(sites):
                secret = MemberKeys.load(clinics[site.name] / KEYS_FILE).secret_for(ROUNDING)
                (folder.sites / members.MEMBERS / f"{number:05d}{members.ROUNDING}").write_bytes(secret)
        journal = Journal(folder.path, SystemClock())
        engines.run(scenario, 1, folder.path, folder.sites, [float(len(site.train)) for site in sites], journal)
        journal.close()
    return last(folder.path)


def last(folder: Path) -> Commit:
    """The last commit of a run that is over."""
    commit, faults = Commits(folder).latest()
    assert commit is not None, f"{folder} holds no commit"
    assert faults == []
    return commit
