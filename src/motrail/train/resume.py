"""Go on with a run: what must be the same, and what may be another."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from motrail.errors import ModelError
from motrail.train.checkpoint import load_checkpoint
from motrail.train.loop import State
from motrail.train.prepare import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from motrail.config import TrainSettings
    from motrail.train.loop import Learner
    from motrail.train.network import Yolox
    from motrail.train.watch import Identity

_NEEDED = frozenset({"identity", "settings", "network", "average", "optimizer", "scaler", "state"})
_HARMLESS = frozenset({
    "bad_pictures", "best_by", "cache_gb", "checkpoint_minutes", "compile", "device", "log_every",
    "patience", "validate_every", "workers",
})  # fmt: skip
"""Settings that the weights do not depend on."""


def read_place(path: Path, identity: Identity) -> dict[str, Any]:
    """The checkpoint that a run goes on from.

    Raises:
        ModelError: It is broken, or of another model, dataset or classes.
    """
    content = load_checkpoint(path)
    missing = sorted(_NEEDED - content.keys())
    if missing:
        raise ModelError(
            f"{path}: expected a checkpoint to go on from, found one without {', '.join(missing)}; "
            "best.pt is none, but can be given with --weights to another run"
        )
    try:
        before = {**content["identity"], "classes": tuple(content["identity"]["classes"])}
    except (TypeError, KeyError) as error:
        raise ModelError(f"{path}: expected to find what was trained: {error!r}") from error
    for key in ("model", "classes", "height", "width"):
        found, expected = before.get(key), getattr(identity, key)
        if found != expected:
            advice = f"give --model {shown(found)}, or " if key == "model" else ""
            raise ModelError(
                f"{path}: is of another training: expected {key} {shown(expected)}, found "
                f"{shown(found)}; {advice}train into another folder with -o"
            )
    if before.get("dataset") != identity.dataset:
        raise ModelError(
            f"{path}: the labels or pictures of the split train are others than before (now "
            f"{identity.pictures} pictures with {identity.boxes} boxes, then "
            f"{before.get('pictures', '?')} with {before.get('boxes', '?')}); put them back as "
            "they were, or train into another folder with -o"
        )
    return content


def restore(content: Mapping[str, Any], path: Path, network: Yolox, learner: Learner) -> State:
    """Put everything where it was.

    Raises:
        ModelError: What the checkpoint holds does not fit.
    """
    try:
        network.load_state_dict(content["network"])
        learner.average.load(content["average"])
        learner.optimizer.load_state_dict(content["optimizer"])
        learner.scaler.load_state_dict(content["scaler"])
        return State(**content["state"])
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path}: does not fit its own training: {str(error).splitlines()[0]}"
        ) from error


def carry_on(
    state: State,
    content: Mapping[str, Any],
    settings: TrainSettings,
    *,
    steps_per_epoch: int,
    world: int,
) -> int:
    """Adapt the state to settings that are others than before.

    Args:
        state: Changed in place: the step, counted in batches, where these have another size; what
            was best, where it was the best in something else.
        content: The checkpoint.
        settings: Now.
        steps_per_epoch: Batches of an epoch, now.
        world: Processes, now.

    Returns:
        Steps of the optimizer that an uninterrupted run with these settings would have made more.
    """
    before = content["settings"]
    size = int(before.get("batch", settings.batch)) * int(content.get("world", 1))
    if size != settings.batch * world and state.step:
        if state.step >= content.get("steps_per_epoch", steps_per_epoch + 1):
            state.step = steps_per_epoch
        else:
            step = min(state.step * size // (settings.batch * world), steps_per_epoch - 1)
            state.step = step // settings.accumulate * settings.accumulate
    elif state.step % settings.accumulate and state.step < steps_per_epoch:
        state.step -= state.step % settings.accumulate
    if before.get("best_by", settings.best_by) != settings.best_by:
        state.best, state.best_epoch = None, -1
    late = state.epoch - 1 - state.best_epoch
    state.done = state.done and bool(settings.patience) and late >= settings.patience
    in_epoch = -(-steps_per_epoch // settings.accumulate)
    made = state.epoch * in_epoch + -(-state.step // settings.accumulate)
    return made - state.updates


def differences(before: Mapping[str, Any], settings: TrainSettings) -> Iterator[str]:
    """What is said of settings that are others than before."""
    changed = []
    for item in dataclasses.fields(settings):
        old, new = before.get(item.name), getattr(settings, item.name)
        old = tuple(old) if isinstance(old, list) else old
        if item.name not in _HARMLESS and item.name in before and old != new:
            changed.append(f"{item.name} was {old} and is {new}")
    if changed:
        yield f"note: {', '.join(changed)}: it does not end as it would have without the change"
    if before.get("best_by", settings.best_by) != settings.best_by:
        yield f"note: the best model is looked for anew, now by {settings.best_by}"
