"""The clinic's folder of approvals, one file a proposal; what was taken back stays to be read."""

from __future__ import annotations

from pathlib import Path

from fedmed.errors import ConfigError, StoreError
from fedmed.identity import files
from fedmed.identity.approval import MOST_BYTES, Signed, read_signed
from fedmed.identity.proposal import Offered
from fedmed.wire import bundle

FOLDER, SUFFIX = "approvals", ".json"
APPS, BUNDLE = "apps", ".fab"


class Approvals:
    """Approvals by `RUN@DIGEST`, and the apps that came with them by digest."""

    def __init__(self, clinic: Path) -> None:
        """`clinic` is the clinic's folder."""
        self.folder, self.apps = clinic / FOLDER, clinic / APPS

    def get(self, reference: str) -> Signed | None:
        """The approval, whether it is in force or not; None where there never was one. Raises StoreError, KeyRefused."""
        path = self.path(reference)
        try:
            found = read_signed(files.read(path, MOST_BYTES + 1, files.OTHERS_CHANGE), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); put a copy of it back") from error
        if found.approval.reference != reference:
            raise StoreError(f"{path} holds the approval of {found.approval.reference}; approve the run anew")
        return found

    def covering(self, offered: Offered) -> Signed | None:
        """The approval of this proposal or, where it has none, the newest one whose ranges it lies in.

        Raises StoreError, KeyRefused, ProtocolRefused.
        """
        kept = self.get(offered.reference)
        if kept is not None:
            return kept
        others = (each for each in reversed(self.of_run(offered.proposal.run)) if each.withdrawn is None)
        return next((each for each in others if each.approval.ranges and each.approval.covers(offered)), None)

    def all(self) -> list[Signed]:
        """Every approval, the oldest first. Raises StoreError, KeyRefused."""
        names = sorted(path.name.removesuffix(SUFFIX) for path in self.folder.glob(f"*@*{SUFFIX}"))
        found = [each for name in names if (each := self.get(name)) is not None]
        return sorted(found, key=lambda each: (each.approval.approved, each.approval.reference))

    def of_run(self, run: str) -> list[Signed]:
        """Those of a run's name, the oldest first."""
        return [each for each in self.all() if each.approval.run == run]

    def the_one(self, named: str) -> Signed:
        """The newest approval of a run's name, or that of `RUN@DIGEST` or the first digits of its digest.

        Raises ConfigError where there is none.
        """
        run, _, digits = named.partition("@")
        found = [each for each in self.of_run(run) if each.approval.digest.startswith(digits)]
        if not found:
            there = ", ".join(sorted({each.approval.run for each in self.all()})) or "none"
            raise ConfigError(f"no run {named[:80]!r} was approved here; there are: {there} (fedmed clinic approvals list)")
        return found[-1]

    def keep(self, signed: Signed) -> None:
        """Write an approval, on the disk before this returns. Raises StoreError."""
        self._write(self.path(signed.approval.reference), signed.encode())

    def keep_app(self, digest: str, content: bytes) -> None:
        """Keep the bundle that an approval names. Raises StoreError."""
        self._write(self.app_path(digest), content)

    def app(self, digest: str) -> tuple[bytes, Path]:
        """The bundle, not compared with its digest yet, and its file. Raises StoreError, KeyRefused."""
        path = self.app_path(digest)
        try:
            return files.read(path, bundle.MOST_BYTES + 1, files.OTHERS_CHANGE), path
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); approve the run anew") from error

    def path(self, reference: str) -> Path:
        """The file of an approval; a name cannot lead elsewhere."""
        return self.folder / f"{reference.replace('/', '_')}{SUFFIX}"

    def app_path(self, digest: str) -> Path:
        """The file of a bundle."""
        return self.apps / f"{digest}{BUNDLE}"

    def _write(self, path: Path, content: bytes) -> None:
        try:
            files.replace(path, content)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room, then try again") from error
