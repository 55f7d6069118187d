"""Whether tuned settings hold on sequences that they were not tuned on."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from motrail.errors import ConfigError
from motrail.evaluate.intervals import Difference, compare
from motrail.evaluate.run import Evaluation, Score
from motrail.tune.search import value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.evaluate.protocol import Protocol
    from motrail.tune.search import Goal
    from motrail.tune.space import Sections

Verdict = Literal["holds", "not known", "does not hold", "not checked"]

_MANY_SPLITS = 10_000


@dataclass(frozen=True, slots=True)
class Split:
    """Sequences to tune on and sequences held out, by index."""

    tuned_on: tuple[int, ...]
    held_out: tuple[int, ...]


def make_folds(count: int, folds: int, seed: int) -> list[Split]:
    """Divide sequences so that each is held out once.

    Args:
        count: Number of sequences.
        folds: In how many parts; no more than there are sequences. 0 for none.
        seed: Of the division.

    Returns:
        A split for each part; none where there are fewer than two sequences.

    Raises:
        ConfigError: One part leaves nothing to tune on.
    """
    if folds < 0 or folds == 1:
        raise ConfigError(f"folds: expected 2 or more, or 0 for no check, found {folds}")
    parts = min(folds, count)
    if parts < 2:
        return []
    order = list(range(count))
    random.Random(seed).shuffle(order)  # noqa: S311
    return [_split(count, order[part::parts]) for part in range(parts)]


def make_splits(count: int, hold_out: int, splits: int | None, seed: int) -> list[Split]:
    """Hold out some sequences in all ways, or in some of them.

    Args:
        count: Number of sequences.
        hold_out: How many are held out each time.
        splits: In how many ways; None for all there are.
        seed: Of the choice.

    Raises:
        ConfigError: Nothing is left to tune on, nothing is held out, or there are too many ways.
    """
    if not 1 <= hold_out < count:
        raise ConfigError(
            f"hold_out: expected 1 to {count - 1} of {count} sequences, found {hold_out}"
            if count > 1
            else "hold_out: expected two sequences or more, found one"
        )
    if splits is not None and splits < 1:
        raise ConfigError(f"splits: expected 1 or more, or all, found {splits}")
    ways = math.comb(count, hold_out)
    if min(ways, splits or ways) > _MANY_SPLITS:
        raise ConfigError(f"splits: expected at most {_MANY_SPLITS}, found {splits or ways}")
    draw = random.Random(seed)  # noqa: S311
    if splits is None or splits >= ways:
        chosen = set(itertools.combinations(range(count), hold_out))
    else:
        chosen = set[tuple[int, ...]]()
        while len(chosen) < splits:
            chosen.add(tuple(sorted(draw.sample(range(count), hold_out))))
    return [_split(count, held) for held in sorted(chosen)]


def _split(count: int, held_out: Sequence[int]) -> Split:
    held = tuple(sorted(held_out))
    return Split(tuple(n for n in range(count) if n not in held), held)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a split.

    Attributes:
        split: Which sequences were tuned on and held out.
        settings: The best on those that were tuned on.
        tuned_on_base: What the base settings score on these, in per cent.
        tuned_on: What the best ones score on them.
        base: Scores of the base settings on those held out, in their order.
        tuned: Scores of the tuned settings on them.
    """

    split: Split
    settings: Sections
    tuned_on_base: float
    tuned_on: float
    base: tuple[Score, ...]
    tuned: tuple[Score, ...]

    def held_out(self, goal: Goal) -> tuple[float, float]:
        """Base and tuned on the sequences held out, as one."""
        return value_of(self.base, goal), value_of(self.tuned, goal)


@dataclass(frozen=True)
class Check:
    """What tuning is worth on sequences that were not tuned on.

    Attributes:
        goal: The metric.
        names: Of all sequences.
        outcomes: Of the splits; none where nothing could be held out.
        difference: Tuned and base settings on the sequences held out, all of them as one, with an
            interval from drawing sequences anew; None without splits.
    """

    goal: Goal
    names: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    difference: Difference | None

    @classmethod
    def of(
        cls, outcomes: Sequence[Outcome], names: Sequence[str], goal: Goal, protocol: Protocol
    ) -> Check:
        """Put the splits together.

        Args:
            outcomes: Of the splits.
            names: Of all sequences.
            goal: The metric.
            protocol: By which was scored.
        """
        if not outcomes:
            return cls(goal, tuple(names), (), None)
        base, tuned = (
            Evaluation(protocol, {name: {"": s} for name, s in _by_name(outcomes, names, side)})
            for side in ("base", "tuned")
        )
        (found,) = (d for d in compare(tuned, base) if d.metric == goal)
        return cls(goal, tuple(names), tuple(outcomes), found)

    @property
    def verdict(self) -> Verdict:
        """Whether the gain is there on other sequences too."""
        found = self.difference
        if found is None:
            return "not checked"
        if found.difference <= 0:
            return "does not hold"
        return "holds" if found.low is not None and found.low > 0 else "not known"

    def explain(self) -> str:
        """The verdict in a sentence."""
        found = self.difference
        if found is None:
            return (
                "The gain is not checked on other sequences: it is what the settings bring on "
                "those they were tuned on, and may be less on any other."
            )
        if found.difference == found.low == found.high == 0:
            return "There is no gain: no settings were surely better than those before."
        span = "" if found.low is None else f" (95 %: {found.low:+.2f} to {found.high:+.2f})"
        gain = f"on sequences held out, tuning changes {self.goal} by {found.difference:+.2f}{span}"
        match self.verdict:
            case "holds":
                return f"The gain holds: {gain}."
            case "not known":
                return f"Whether the gain holds is not known: {gain}. More sequences would tell."
            case _:
                return f"The gain does not hold: {gain}. Keep the settings you had."

    def per_sequence(self) -> list[tuple[str, float, float]]:
        """Name, base and tuned score of each sequence when it was held out."""
        if not self.outcomes:
            return []
        sides = [
            {
                name: value_of([score], self.goal)
                for name, score in _by_name(self.outcomes, self.names, side)
            }
            for side in ("base", "tuned")
        ]
        return [(name, value, sides[1][name]) for name, value in sides[0].items()]

    def gains(self) -> list[tuple[float, float]]:
        """Gain on the sequences tuned on and on those held out, for each split."""
        found = []
        for outcome in self.outcomes:
            base, tuned = outcome.held_out(self.goal)
            found.append((outcome.tuned_on - outcome.tuned_on_base, tuned - base))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For `tune.json`."""
        return {
            "verdict": self.verdict,
            "difference": None if self.difference is None else self.difference.as_dict(),
            "sequences": {
                name: {"base": base, "tuned": tuned} for name, base, tuned in self.per_sequence()
            },
            "splits": [self._outcome(outcome) for outcome in self.outcomes],
        }

    def _outcome(self, outcome: Outcome) -> dict[str, Any]:
        base, tuned = outcome.held_out(self.goal)
        return {
            "tuned_on": {
                "sequences": [self.names[n] for n in outcome.split.tuned_on],
                "base": outcome.tuned_on_base,
                "tuned": outcome.tuned_on,
            },
            "held_out": {
                "sequences": [self.names[n] for n in outcome.split.held_out],
                "base": base,
                "tuned": tuned,
            },
            "settings": outcome.settings,
        }


def _by_name(
    outcomes: Sequence[Outcome], names: Sequence[str], side: Literal["base", "tuned"]
) -> list[tuple[str, Score]]:
    """The score of each sequence; of one that was held out several times, of all these as one."""
    scores: dict[int, list[Score]] = {}
    for outcome in outcomes:
        held: tuple[Score, ...] = getattr(outcome, side)
        for case, score in zip(outcome.split.held_out, held, strict=True):
            scores.setdefault(case, []).append(score)
    return [(names[case], Score.combined(scores[case])) for case in sorted(scores)]
