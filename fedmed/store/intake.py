"""From a folder of studies to volumes, with what cannot be trusted set aside by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fedmed.dicom.case import Case
from fedmed.dicom.inspection import FileRecord
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import Status, Untrusted
from fedmed.dicom.series import load
from fedmed.dicom.stacks import Stack
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
    """Survey `root` and set aside in `quarantine` what cannot be trusted; with `pixels`, forget what is sound again.

    What a person released is let pass, as long as its bytes are those that were released. Without `pixels` only headers
    are judged; `volumes` then sets aside what does not decode, and forgets what does. Raises StoreError where the
    quarantine cannot be written, and nothing for what lies in the folder.
    """
    found = survey(root, pixels=pixels, workers=workers, limits=limits, allows=quarantine.allows, progress=progress)
    if pixels:
        _lift(quarantine, found, found.files, found.stacks)
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
        else:
            names = {found.instances[index].source.name for index, _ in stack.frames}
            _lift(quarantine, found, [file for file in found.files if file.path in names], [stack])
        progress("volumes", done, len(sound))
        yield result


def _lift(quarantine: Quarantine, found: Survey, files: Iterable[FileRecord], stacks: Iterable[Stack]) -> None:
    """Forget those of them that are sound now."""
    for file in files:
        if file.status is Status.OK:
            quarantine.lift("file", found.where(file))
    for stack in stacks:
        if stack.refusal is None:
            quarantine.lift("series", stack.subject)
