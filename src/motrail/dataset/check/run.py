"""Find all that is wrong in a dataset at once, and what will hurt training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motrail.dataset.check.findings import Findings, Report
from motrail.dataset.check.fix import mend
from motrail.dataset.check.hints import ClassTally, hint_labels
from motrail.dataset.check.inspection import CheckOptions, Inspection
from motrail.dataset.folder import is_dataset
from motrail.dataset.footage import silent
from motrail.errors import ConfigError, FormatError
from motrail.formats.recognize import open_labels

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.dataset.footage import Progress
    from motrail.formats.labels import ReadOptions


def check(
    path: Path,
    *,
    training_size: tuple[int, int] = (640, 640),
    fix: bool = False,
    pictures: bool = True,
    decode: bool = False,
    options: ReadOptions | None = None,
    progress: Progress = silent,
) -> Report:
    """Find faults, and hints at what will hurt training.

    Of a dataset or one of its splits the COCO record, the MOT files, their agreement and the images
    are looked at; of labels in any other format, the labels.

    Args:
        path: A dataset, one split of it, or labels in any format.
        training_size: Width and height of the network's input in pixels, for hints about boxes
            that become too small.
        fix: Mend what can be mended without loss, and check again.
        pictures: Look at images too.
        decode: Decode every image wholly, not only its header.
        options: What labels in other formats may not say.
        progress: Told what is looked at.

    Raises:
        ConfigError: `fix` for something that is no dataset; a training size below 1.
        FormatError: It is neither a dataset nor labels in any format.
        OutputError: With `fix`: a file cannot be written.
        MissingExtraError: There are images, and what reads them is not installed.
    """
    how = CheckOptions(training_size, pictures, decode)
    if not is_dataset(path):
        if fix:
            raise ConfigError(
                f"{path}: is no dataset, and only datasets can be mended; make one with "
                "`motrail dataset import`"
            )
        return _check_labels(path, how, options, progress)
    inspection = Inspection(path, how, progress)
    inspection.run()
    report = inspection.report()
    if not fix:
        return report
    fixed, mended = mend(inspection.dataset, inspection.repairs, progress)
    if not mended:
        return report
    again = Inspection(path, how, progress)
    again.run()
    again.findings.add_fixed(fixed, report.groups)
    left = again.report()
    left.mended = mended
    return left


def _check_labels(
    path: Path, how: CheckOptions, options: ReadOptions | None, progress: Progress
) -> Report:
    findings, tally, report = Findings(), ClassTally(), Report(str(path))
    source = open_labels(path, options, findings.found)
    names = source.classes if source.format != "mot" else ()
    try:
        for labels in source:
            report.sequences += 1
            report.frames += labels.length
            report.boxes += len(labels)
            progress("checking labels", report.sequences, source.count)
            hint_labels(labels, f"{path}: {labels.name}", how.training_size, findings)
            tally.add(labels)
    except FormatError as error:
        findings.error(error)
    if report.boxes:
        tally.hint(names, path, findings)
    report.groups = findings.groups()
    return report
