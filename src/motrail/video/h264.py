"""Whether an H.264 key frame is whole by itself.

FFmpeg also marks recovery points as key frames. Where a stream is refreshed bit by bit (intra
refresh), the picture is whole only some frames later, and then not the same to the last bit.

Source: Rec. ITU-T H.264 (08/2021), 7.3.1 NAL units, 7.3.2.3 SEI, D.1.8 recovery point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.packet import Packet

_IDR, _SEI, _SLICES = 5, 6, frozenset({1, 2, 3, 4})
_RECOVERY_POINT = 6
_START = b"\x00\x00\x01"


def starts_afresh(packet: Packet[Any]) -> bool:
    """Whether nothing before this key packet is needed to decode what follows in time.

    True for all other codecs, whose key frames are that.
    """
    context = packet.stream.codec_context
    if context is None or context.name != "h264":
        return True
    for unit in _units(bytes(packet), bytes(context.extradata or b"")):
        kind = unit[0] & 31
        if kind == _IDR:
            return True
        if kind in _SLICES:
            return False
        if kind == _SEI and _recovers_at_once(unit):
            return True
    return False


def _units(data: bytes, extradata: bytes) -> Iterator[bytes]:
    """The NAL units of a packet, between start codes (Annex B) or after their lengths (avcC)."""
    if extradata[:1] != b"\x01":
        for part in data.split(_START)[1:]:
            if part:
                yield part
        return
    width = (extradata[4] & 3) + 1 if len(extradata) > 4 else 4
    place = 0
    while place + width < len(data):
        length = int.from_bytes(data[place : place + width], "big")
        place += width
        if length:
            yield data[place : place + length]
        place += length


def _recovers_at_once(sei: bytes) -> bool:
    """Whether messages hold a recovery point with `recovery_frame_cnt` 0, whose code is one 1."""
    place = 1
    while place + 2 <= len(sei):
        kind, place = _sum_of_bytes(sei, place)
        size, place = _sum_of_bytes(sei, place)
        if kind == _RECOVERY_POINT:
            return place < len(sei) and sei[place] >= 128
        place += size
    return False


def _sum_of_bytes(data: bytes, place: int) -> tuple[int, int]:
    """A number written as 255s and a last byte; the place behind it."""
    total = 0
    while place < len(data):
        total += data[place]
        place += 1
        if data[place - 1] != 255:
            break
    return total, place
