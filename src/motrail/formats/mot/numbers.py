"""Tables of decimal numbers, read a block at a time.

Reading numbers is most of the work of reading a track file. The digits of all numbers are turned
into values together: eight digits stand in one 64-bit word and become a value in three
multiplications (Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and
Experience 2021, arXiv 2101.11408). Digits as a whole number and a power of ten are both exact in a
float64 here, so their quotient is the nearest float64, as from `float`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMMA, _MINUS, _POINT, _ZERO, _NINE = (ord(c) for c in ",-.09")
_NEWLINE = ord("\n")
_WORD = 8
_MOST_DIGITS = 15  # below 2**53, up to where float64 has every whole number
_POWERS = np.array([float(10**n) for n in range(_MOST_DIGITS + 1)])


def parse_table(block: bytes) -> NDArray[np.float64] | None:
    """Read lines of plain decimal numbers, separated by commas, the same number in each line.

    Args:
        block: Whole lines; the last may lack its line break.

    Returns:
        The numbers, float64, shape (lines, columns); None where something else than digits, a
        minus in front and a point stands there, where a number has more than 15 digits, or lines
        have different numbers of columns. `float` may still be able to read it.
    """
    text = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", np.uint8)
    marks = np.flatnonzero(text < _ZERO)
    kinds = text[marks]
    after = np.flatnonzero(kinds < _MINUS)  # what ends a number, among the marks
    ends = marks[after]
    separators = kinds[after]
    lines = np.flatnonzero(separators == _NEWLINE)
    columns = int(lines[0]) + 1 if len(lines) else 0
    if (
        np.count_nonzero(separators == _COMMA) + len(lines) != len(ends)
        or len(lines) * columns != len(ends)
        or (np.diff(lines) != columns).any()
        or text.max() > _NINE
    ):
        return None
    if len(marks) == len(ends):
        numbers = _values(text, ends)
        return None if numbers is None else numbers.reshape(len(lines), columns)
    signs = _signs(marks, kinds, after)
    if signs is None:
        return None
    points, decimals, minus = signs
    digits = text[_all_but(len(text), marks[kinds >= _MINUS])]
    numbers = _values(digits, ends - (after - np.arange(len(after))))
    if numbers is None:
        return None
    numbers[points] /= _POWERS[decimals]
    numbers[minus] *= -1
    return numbers.reshape(len(lines), columns)


def _signs(
    marks: NDArray[np.intp], kinds: NDArray[np.uint8], after: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]] | None:
    """Numbers with a point, how many digits follow it, and numbers with a minus.

    None where these stand in places of their own making.
    """
    number = np.cumsum(kinds < _MINUS, dtype=np.intp)
    points, minus = np.flatnonzero(kinds == _POINT), np.flatnonzero(kinds == _MINUS)
    if len(points) + len(minus) + len(after) != len(kinds):
        return None
    with_point, with_minus = number[points], number[minus]
    decimals = marks[after][with_point] - marks[points] - 1
    begins = np.append(0, marks[after] + 1)[with_minus]
    if (
        (begins != marks[minus]).any()
        or (np.diff(with_point) == 0).any()
        or decimals.max(initial=0) > _MOST_DIGITS
    ):
        return None
    return with_point, decimals, with_minus


def _all_but(length: int, places: NDArray[np.intp]) -> NDArray[np.bool_]:
    kept = np.ones(length, np.bool_)
    kept[places] = False
    return kept


def _values(text: NDArray[np.uint8], ends: NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Values of whole numbers without sign; None where one has no digits, or too many."""
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > _MOST_DIGITS:
        return None
    padded = np.concatenate([np.zeros(2 * _WORD, np.uint8), text])
    words = np.ndarray((len(padded) - _WORD + 1,), "<u8", padded, strides=(1,))
    values = _digits(words[ends + _WORD], np.minimum(lengths, _WORD)).astype(np.float64)
    long = np.flatnonzero(lengths > _WORD)
    if len(long):
        upper = _digits(words[ends[long]], lengths[long] - _WORD)
        values[long] += upper.astype(np.float64) * 1e8
    return values


def _digits(words: NDArray[np.uint64], count: NDArray[np.intp]) -> NDArray[np.uint64]:
    """The value of the last `count` characters of each word, which are digits."""
    before = ((_WORD - count) * 8).astype(np.uint64)
    words >>= before
    words <<= before
    for mask, factor, shift in (
        (0x0F0F0F0F0F0F0F0F, 10 * 2**8 + 1, 8),
        (0x00FF00FF00FF00FF, 100 * 2**16 + 1, 16),
        (0x0000FFFF0000FFFF, 10000 * 2**32 + 1, 32),
    ):
        words &= np.uint64(mask)
        words *= np.uint64(factor)
        words >>= np.uint64(shift)
    return words
