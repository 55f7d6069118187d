"""What a search leaves behind: settings to go on with, the record, and a model that has them."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import motrail
from motrail.config import RefineSettings, TrackerSettings
from motrail.errors import ModelError, OutputError
from motrail.outputs import WholeFile, writing

if TYPE_CHECKING:
    from pathlib import Path

    from motrail.detect.bundle import Bundle
    from motrail.evaluate.run import Score
    from motrail.tune.search import Trial
    from motrail.tune.tracker import Tuning

SETTINGS, RECORD, MODEL = "settings.toml", "tune.json", "model.tar.gz"
_SHOWN = ("HOTA", "IDF1", "MOTA", "IDSW")


def write_results(tuning: Tuning, output: Path, bundle: Bundle | None = None) -> dict[str, Path]:
    """Write `settings.toml` and `tune.json`, and `model.tar.gz` where there is a model.

    Args:
        tuning: What was found.
        output: A folder that is there; files of the same names are replaced.
        bundle: The model that is to have the settings.

    Returns:
        What was written, by what it is.

    Raises:
        ModelError: The model is no bundle.
        OutputError: A file cannot be written.
    """
    written = {"settings": output / SETTINGS, "record": output / RECORD}
    if bundle is not None:
        written["model"] = output / MODEL
        _write_bundle(tuning, bundle, written["model"])
    _write(written["settings"], settings_toml(tuning).encode())
    record = json.dumps(as_dict(tuning), indent=1, ensure_ascii=False)
    # A name that is no proper text becomes an escape, which JSON reads as the same name.
    _write(written["record"], (record + "\n").encode(errors="backslashreplace"))
    return written


def check_bundle(bundle: Bundle, output: Path) -> None:
    """See that a model can take settings, before an hour's work.

    Raises:
        ModelError: It is a bare `.onnx`.
        OutputError: It lies where its copy would come to lie.
    """
    if bundle.spec is None:
        raise ModelError(
            f"{bundle.path}: has no model.json to write settings into; expected a bundle (a folder "
            "or model.tar.gz)"
        )
    if bundle.path.resolve() == (output / MODEL).resolve():
        raise OutputError(
            f"{bundle.path}: would be overwritten by its copy; choose another folder with -o"
        )


def as_dict(tuning: Tuning) -> dict[str, Any]:
    """Everything, for `tune.json` and `--json`."""
    return {
        "version": motrail.__version__,
        "detections": str(tuning.origin.detections),
        "truth": str(tuning.origin.truth),
        "sequences": list(tuning.names),
        "protocol": tuning.protocol.as_dict(),
        "options": {
            # The number of workers changes nothing that stands here.
            key: value
            for key, value in dataclasses.asdict(tuning.options).items()
            if key != "workers"
        },
        "base": _trial(tuning.base) | {"scores": tuning.base.score.as_dict()},
        "tuned": _trial(tuning.best) | {"scores": tuning.best.score.as_dict()},
        "highest": _trial(tuning.highest),
        "changes": {name: {"from": old, "to": new} for name, (old, new) in tuning.changes.items()},
        "held_out": tuning.check.as_dict(),
        "importances": dict(tuning.importances),
        "notes": dict(tuning.notes),
        "trials": [_trial(trial) for trial in tuning.trials],
    }


def _trial(trial: Trial) -> dict[str, Any]:
    shown = _figures(trial.score)
    sure = {"sure_gain": trial.sure}
    return {"number": trial.number, **shown, **sure, "settings": trial.settings}


def _figures(score: Score) -> dict[str, float]:
    values = score.as_dict()
    return {key: values[key] for key in _SHOWN}


def settings_toml(tuning: Tuning) -> str:
    """The settings as `--config` takes them, with a comment that says what they are worth."""
    goal, check = tuning.options.goal, tuning.check
    base, best = tuning.base.value, tuning.best.value
    trials, seed = tuning.options.trials, tuning.options.seed
    lines = [
        f"# Tracker settings found by motrail {motrail.__version__}: motrail tune tracker",
        f"# detections {_line(tuning.origin.detections)}, truth {_line(tuning.origin.truth)}",
        f"# {len(tuning.names)} sequences: {_line(', '.join(tuning.names))}",
        f"# goal {goal}, protocol {tuning.protocol.name}, {trials} trials, seed {seed}",
        f"# {goal} on these sequences: {base:.2f} before, {best:.2f} now ({best - base:+.2f})",
        f"# {'' if check.verdict == 'holds' else 'WARNING: '}{check.explain()}",
    ]
    for section, values in _to_write(tuning).items():
        lines += ["", f"[{section}]"]
        for key, value in values.items():
            old = tuning.changes.get(f"{section}.{key}")
            was = "" if old is None else f"  # was {_toml(old[0])}"
            lines.append(f"{key} = {_toml(value)}{was}")
    return "\n".join(lines) + "\n"


def _to_write(tuning: Tuning) -> dict[str, dict[str, Any]]:
    """What was searched, and what else differs from the defaults, as scores hang on that too."""
    searched = {dimension.name for dimension in tuning.space.dimensions}
    defaults = {
        "tracker": dataclasses.asdict(TrackerSettings()),
        "refine": dataclasses.asdict(RefineSettings()),
    }
    return {
        section: {
            key: value
            for key, value in values.items()
            if value is not None
            and (f"{section}.{key}" in searched or value != defaults[section][key])
        }
        for section, values in tuning.best.settings.items()
    }


def _toml(value: Any) -> str:
    # Numbers, truth values and plain words look in JSON as they do in TOML.
    return "none" if value is None else json.dumps(value)


def _line(text: object) -> str:
    """Text that stays within its comment: TOML allows no control characters in there."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def _write_bundle(tuning: Tuning, bundle: Bundle, path: Path) -> None:
    check_bundle(bundle, path.parent)
    spec = bundle.spec
    if spec is None:  # which `check_bundle` has refused
        return
    about = {
        "detections": str(tuning.origin.detections),
        "truth": str(tuning.origin.truth),
        "sequences": list(tuning.names),
        "goal": tuning.options.goal,
        "base": _figures(tuning.base.score),
        "tuned": _figures(tuning.best.score),
        "held_out": tuning.check.explain(),
        "version": motrail.__version__,
    }
    changed = spec.model_copy(
        update={
            "tracker": _to_write(tuning)["tracker"],
            "provenance": {**spec.provenance, "tracker": about},
        }
    )
    content = changed.model_dump_json(exclude_unset=True, indent=2).encode()
    with writing(path):
        network = bundle.onnx if isinstance(bundle.onnx, bytes) else bundle.onnx.read_bytes()
        with WholeFile(path) as file, tarfile.open(file.temporary, "w:gz") as archive:
            for name, part in (("model.onnx", network), ("model.json", content)):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(part), 0o644
                archive.addfile(member, io.BytesIO(part))


def _write(path: Path, content: bytes) -> None:
    with writing(path), WholeFile(path) as file:
        file.temporary.write_bytes(content)
