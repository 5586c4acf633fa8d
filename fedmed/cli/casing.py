"""The data set of a run that is approved, where it is not registered yet: read as the run reads, unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmed.cli import asking, datasets
from fedmed.cli.requests import Cases
from fedmed.clinic import lacking
from fedmed.clinic.consenting import Considered
from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.registering import Found
from fedmed.config.dataset import DataSet
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError
from fedmed.identity.member import check_name
from fedmed.sites.own import SeveralSites, Source
from fedmed.sites.readers import reader_named

Consider = Callable[[DataSet], Considered]
Read = tuple[DataSet, Considered, Found | None]


class Finder:
    """Finds one data set; nothing is written."""

    def __init__(self, folder: ClinicFolder, scenario: Scenario, cases: Cases, known: Sequence[DataSet], asks: bool) -> None:
        """`known` are those that are registered; `asks`: somebody answers."""
        self._folder, self._scenario, self._known, self._asks = folder, scenario, known, asks
        self._cases = cases
        self._reader = cases.reader or scenario.data.reader

    def find(self, consider: Consider) -> Read:
        """The data set, what approving means for it, and what was read where it is a new one.

        Raises ConfigError, DataError, StoreError, NotApproved; where somebody answers, the first two lead to a question.
        """
        if self._reader != self._scenario.data.reader:
            raise ConfigError(f"--reader {self._reader}; the run reads {self._scenario.data.reader}: leave it out")
        if not self._asks:
            return self._read(consider)
        if not self._cases.are_told and self._cases.dataset is None:
            chosen = self._one_of_those()
            if chosen is not None:
                return chosen, consider(chosen), None
        while True:
            if self._cases.folder is None and reader_named(self._reader).needs_folder:
                self._cases = replace(self._cases, folder=asking.until_it_will_do(self._where))
            try:
                return self._read(consider)
            except SeveralSites as error:
                site = asking.line(f"The files hold several sites. Which is this clinic's: {' | '.join(error.sites)}")
                self._cases = replace(self._cases, site=site)
            except (ConfigError, DataError) as error:
                asking.say(f"{error}")
                self._ask_anew()

    def _one_of_those(self) -> DataSet | None:
        """One of several that fit; None for one that is to be registered."""
        asking.say("\n" + lacking.which(self._scenario, self._known, None))
        fitting = {each.name: each for each in lacking.fitting(self._scenario, self._known)}
        if not fitting:
            return None
        name = asking.line("Which of them (Enter alone registers another)", empty=True)
        while name and name not in fitting:
            name = asking.line(f"Which of {', '.join(fitting)} (Enter alone registers another)", empty=True)
        return fitting.get(name)

    def _where(self) -> Path:
        path = Path(asking.line(f"The folder (or file) with the cases, read as {self._reader}")).expanduser()
        if not path.exists():
            raise ConfigError(f"{path} is not there")
        return path

    def _ask_anew(self) -> None:
        said = asking.line("What differs from the run, as KEY=VALUE (Enter: nothing, but another folder)", empty=True)
        if said:
            self._cases = replace(self._cases, settings=(*self._cases.settings, said))
        else:
            self._cases = replace(self._cases, folder=None, site=None)

    def _read(self, consider: Consider) -> Read:
        cases = self._cases
        source = datasets.source_of(self._reader, cases.folder, cases.settings, cases.site, self._as_the_run())
        for each in self._known:
            if _source(each) == source and cases.dataset in (None, each.name):
                return each, consider(each), None
        found = datasets.read(self._folder, self._name(), source)
        return found.dataset, consider(found.dataset), found

    def _name(self) -> str:
        taken, named = [each.name for each in self._known], self._cases.dataset
        if named is None:
            return lacking.called_after(self._cases.folder or Path(self._scenario.name), taken)
        check_name(named)
        if named in taken:
            raise ConfigError(
                f"a data set is called {named!r} already, and is of other files or read otherwise; give another name with "
                "--dataset, or leave out --folder and --reader"
            )
        return named

    def _as_the_run(self) -> dict[str, Any]:
        """What holds where nothing else is said."""
        data, seed = self._scenario.data, self._scenario.seed
        return {**data.model_dump(mode="json")["options"], "split": data.split.model_dump(mode="json"), "seed": seed}


def _source(known: DataSet) -> Source:
    keys = ("reader", "folder", "options", "site", "split", "seed")
    return Source(**{key: getattr(known, key) for key in keys})
