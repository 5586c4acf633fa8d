"""From a folder of studies to volumes, with what cannot be trusted set aside by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedmed.dicom.case import Case
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Status, Untrusted
from fedmed.dicom.series import load
from fedmed.dicom.survey import Progress, Survey, series_case, silent, survey
from fedmed.dicom.volume import Volume
from fedmed.store.quarantine import Quarantine


def take_in(
    root: Path,
    quarantine: Quarantine,
    *,
    pixels: bool = False,
    workers: int = 2,
    limits: Limits = LIMITS,
    progress: Progress = silent,
) -> Survey:
    """Survey `root`, set aside in `quarantine` what cannot be trusted, and forget what is sound again.

    What a person released is let pass, as long as its bytes are those that were released. Without `pixels` only headers
    are judged, and `volumes` sets aside what then does not decode. Raises StoreError where the quarantine cannot be
    written, and nothing for what lies in the folder.
    """
    found = survey(root, pixels=pixels, workers=workers, limits=limits, allows=quarantine.allows, progress=progress)
    for file in found.files:
        if file.status is Status.OK:
            quarantine.lift("file", found.where(file))
    for stack in found.stacks:
        if stack.refusal is None:
            quarantine.lift("series", stack.subject)
    for case in found.cases:
        quarantine.set_aside(case)
    return found


def volumes(
    found: Survey,
    quarantine: Quarantine,
    *,
    workers: int = 1,
    limits: Limits = LIMITS,
    progress: Progress = silent,
) -> Iterator[Volume | Case]:
    """Every sound volume of a survey, one at a time; in the place of one whose pixels fail, the case that was set aside."""
    sound = [stack for stack in found.stacks if stack.refusal is None]
    for done, stack in enumerate(sound, start=1):
        try:
            result: Volume | Case = load(stack, found.instances, workers=workers, limits=limits)
        except Untrusted as error:
            result = series_case(found.root, stack, found.instances, error)
            quarantine.set_aside(result)
        progress("volumes", done, len(sound))
        yield result
