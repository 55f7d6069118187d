"""SimOTA and the losses: worked out by hand, and against the reference."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from motrail.errors import DataError
from motrail.train.assign import Assignment, assign, decode_boxes, iou_cxcywh
from motrail.train.loss import Losses, yolox_loss
from motrail.train.network import make_anchors, make_yolox
from motrail.train.targets import Targets
from yolox_reference import make_reference, one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["one_thread"]

LN2 = math.log(2)
SIDE = 64  # 64 + 16 + 4 anchors
CELLS = 84
LAST = range(80, 84)  # the anchors of stride 32


def truth(
    *pictures: Sequence[tuple[float, ...]], regions: Sequence[Sequence[tuple[float, ...]]] = ()
) -> Targets:
    """Targets of pictures, each a list of (class, cx, cy, w, h)."""
    count = max((len(objects) for objects in pictures), default=0)
    boxes = torch.zeros(len(pictures), count, 4)
    class_ids = torch.full((len(pictures), count), -1, dtype=torch.int64)
    for picture, objects in enumerate(pictures):
        for index, (class_id, *box) in enumerate(objects):
            boxes[picture, index] = torch.tensor(box)
            class_ids[picture, index] = int(class_id)
    most = max((len(some) for some in regions), default=0)
    ignore = torch.zeros(len(pictures), most, 4)
    for picture, some in enumerate(regions):
        for index, region in enumerate(some):
            ignore[picture, index] = torch.tensor(region)
    return Targets(boxes, class_ids, ignore)


def cells_as_boxes(pictures: int = 1, classes: int = 1) -> Tensor:
    """Every anchor says its own cell, and knows nothing of objects and classes."""
    raw = torch.zeros(pictures, CELLS, 5 + classes)
    raw[..., :2] = 0.5
    return raw


def losses(raw: Tensor, targets: Targets, *, use_l1: bool = True, **options: Any) -> Losses:
    return yolox_loss(raw, targets, SIDE, SIDE, use_l1=use_l1, **options)


def numbers(found: Losses) -> dict[str, float]:
    names = [field.name for field in dataclasses.fields(found)]
    return {name: float(getattr(found, name).detach()) for name in names}


def matched(raw: Tensor, targets: Targets, **options: Any) -> Assignment:
    return assign(raw, targets, make_anchors(SIDE, SIDE), SIDE, SIDE, **options)


# One object of 4 × 4 in the middle of a cell of stride 8, column 4, row 4. Of the 22 anchors near
# it that cell says 8 × 8: IoU 16 / 64. No other comes near that, so k is 1.
SMALL = (0, 36, 36, 4, 4)


def test_one_object_by_hand() -> None:
    raw, targets = cells_as_boxes(), truth([SMALL])
    match = matched(raw, targets)
    assert [column.tolist() for column in match] == [[0], [4 * 8 + 4], [0], [0.25]]
    found = numbers(losses(raw, targets))
    assert found == pytest.approx(
        {
            "iou": 5 * (1 - 0.25**2),
            "objectness": CELLS * LN2,  # a logit of 0 costs ln 2, whatever is right
            "classes": LN2,
            "l1": 2 * LN2,  # the middle is right; log(4 / 8) is wanted and 0 said, twice
            "foreground": 1,
            "total": 5 * (1 - 0.25**2) + (CELLS + 3) * LN2,
        }
    )


def test_without_l1_it_is_0() -> None:
    found = losses(cells_as_boxes(), truth([SMALL]), use_l1=False)
    assert float(found.l1) == 0
    assert float(found.total) == pytest.approx(5 * (1 - 0.25**2) + (CELLS + 1) * LN2)


def test_the_right_class_is_to_reach_the_overlap() -> None:
    raw = cells_as_boxes(classes=2)
    raw[..., 5:] = torch.tensor([1.0, -3.0])
    found = losses(raw, truth([SMALL]))
    right, wrong = math.log(1 + math.exp(1)) - 0.25, math.log(1 + math.exp(-3))
    assert float(found.classes) == pytest.approx(right + wrong)


def test_an_object_gets_as_many_anchors_as_its_overlaps_sum_up_to() -> None:
    # All anchors say the very box, so the best ten overlaps sum up to ten.
    raw, targets = cells_as_boxes(), truth([SMALL])
    anchors = make_anchors(SIDE, SIDE)
    strides = anchors.strides[:, None]
    raw[..., :2] = torch.tensor([36.0, 36.0]) / strides - anchors.corners
    raw[..., 2:4] = (torch.tensor([4.0, 4.0]) / strides).log()
    # Logits rise with the index of the anchor, and the cost falls: of the 22 near it the last ten.
    raw[..., 4] = raw[..., 5] = torch.linspace(-1, 1, CELLS)
    match = matched(raw, targets)
    # All four of stride 32; of stride 16 the last 6 of columns and rows 1 to 3.
    assert match.anchors.tolist() == [64 + 9, 64 + 10, 64 + 11, 64 + 13, 64 + 14, 64 + 15, *LAST]
    assert match.ious.tolist() == pytest.approx([1] * 10)
    assert float(losses(raw, targets).foreground) == 10


def test_an_anchor_that_two_want_goes_to_the_cheaper() -> None:
    large = (0, 36, 36, 8, 8)  # IoU 1 with what the cell says
    for objects in ([SMALL, large], [large, SMALL]):
        match = matched(cells_as_boxes(), truth(objects))
        assert match.anchors.tolist() == [4 * 8 + 4]
        assert match.objects.tolist() == [objects.index(large)]
        assert float(losses(cells_as_boxes(), truth(objects)).foreground) == 0.5


def test_anchors_count_that_are_closer_than_one_and_a_half_cells() -> None:
    # No box overlaps anything, so that costs differ by the class alone. For an object exactly on a
    # corner of cells, those whose middle is 1.5 cells away are out.
    raw = cells_as_boxes()
    raw[..., 0] = 100
    raw[..., 4] = raw[..., 5] = -5.0
    raw[0, 8 * 2 + 5, 4:] = 5.0  # column 5, row 2: its middle is at 44, 20
    assert matched(raw, truth([(0, 32, 32, 9, 9)])).anchors.tolist() != [21]
    assert matched(raw, truth([(0, 32.1, 31.9, 9, 9)])).anchors.tolist() == [21]


def test_padding_may_stand_anywhere() -> None:
    raw = cells_as_boxes(2)
    plain = truth([SMALL, (0, 12, 12, 8, 8)], [(0, 20, 52, 16, 16)])
    order = torch.tensor([4, 0, 2, 1, 3])
    wide = Targets(
        torch.nn.functional.pad(plain.boxes, (0, 0, 0, 3), value=7)[:, order],
        torch.nn.functional.pad(plain.class_ids, (0, 3), value=-1)[:, order],
        plain.ignore,
    )
    expected, found = matched(raw, plain), matched(raw, wide)
    assert torch.equal(expected.anchors, found.anchors)
    assert torch.equal(order[found.objects], expected.objects)
    assert numbers(losses(raw, wide)) == pytest.approx(numbers(losses(raw, plain)))


@pytest.mark.parametrize("slots", [0, 3])
def test_a_batch_without_any_object(slots: int) -> None:
    raw = cells_as_boxes(2).requires_grad_()
    targets = Targets(torch.zeros(2, slots, 4), torch.full((2, slots), -1), torch.zeros(2, 0, 4))
    found = losses(raw, targets)
    assert numbers(found) == pytest.approx(
        {
            "iou": 0,
            "objectness": 2 * CELLS * LN2,
            "classes": 0,
            "l1": 0,
            "foreground": 0,
            "total": 2 * CELLS * LN2,
        }
    )
    found.total.backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert float(raw.grad[..., 4].min()) > 0
    assert not raw.grad[..., :4].any()
    assert not raw.grad[..., 5:].any()


def test_an_object_far_outside_gets_nothing_and_harms_nothing() -> None:
    found = losses(cells_as_boxes(), truth([(0, -500, 9000, 20, 20)]))
    assert numbers(found)["foreground"] == 0
    assert float(found.total) == pytest.approx(CELLS * LN2)


@pytest.mark.parametrize(
    ("region", "excused"),
    [
        ((0, 0, 32, 32), 16 + 4 + 1),
        ((4, 4, 12, 12), 1 + 1),  # 4 is in and 12 is not; stride 16 has its middle at 8
        ((-100, -100, 900, 900), CELLS),
        ((5, 5, 7, 7), 0),  # between the middles
        ((20, 20, 20, 20), 0),  # padding
        ((30, 30, 10, 10), 0),  # upside down
    ],
)
def test_anchors_in_an_ignore_region_are_excused(region: tuple[float, ...], excused: int) -> None:
    targets = truth([], [], regions=[[region], []])
    found = losses(cells_as_boxes(2), targets)
    assert float(found.objectness) == pytest.approx((2 * CELLS - excused) * LN2)


def test_foreground_counts_inside_an_ignore_region_too() -> None:
    targets = truth([SMALL], regions=[[(0, 0, 64, 64), (1, 1, 3, 3)]])
    raw = cells_as_boxes()
    raw[0, 4 * 8 + 4, 4] = 2.0
    assert float(losses(raw, targets).objectness) == pytest.approx(math.log(1 + math.exp(-2)))


def test_only_the_anchor_that_is_to_find_something_learns_a_box() -> None:
    raw = cells_as_boxes().requires_grad_()
    losses(raw, truth([SMALL])).total.backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    rows = raw.grad[0, :, :4].abs().sum(dim=1).nonzero().flatten().tolist()
    assert rows == [36]
    assert raw.grad[0, 36, 2] > 0  # the box is too wide
    assert raw.grad[0, 36, 4] < 0  # and there is something
    assert bool((raw.grad[0, :36, 4] > 0).all())


def test_processes_divide_by_their_average() -> None:
    raw, targets = cells_as_boxes(), truth([SMALL])
    asked: list[float] = []

    def reduce(count: Tensor) -> Tensor:
        asked.append(float(count))
        return count * 4

    alone, together = losses(raw, targets), losses(raw, targets, reduce=reduce)
    assert asked == [1]
    assert float(together.total) == pytest.approx(float(alone.total) / 4)
    assert float(together.foreground) == 1


def test_a_process_without_objects_still_divides_by_the_average() -> None:
    found = losses(cells_as_boxes(), truth([]), reduce=lambda count: count + 3)
    assert float(found.objectness) == pytest.approx(CELLS * LN2 / 3)


@pytest.mark.parametrize("size", [1e-3, 1.0, 64.0, 1e4])
def test_extreme_numbers_stay_numbers(size: float) -> None:
    torch.manual_seed(0)
    targets = truth([(0, 30, 30, size, size), (1, 1, 63, size, 1e-3)], [(2, 64, 0, 0, 0)], [])
    for extreme in (50.0, 88.0, 1e4, 1e30):
        raw = torch.randint(-1, 2, (3, CELLS, 8)) * extreme
        raw.requires_grad_()
        found = losses(raw, targets)
        found.total.backward()  # type: ignore[no-untyped-call]
        assert all(math.isfinite(value) for value in numbers(found).values()), (extreme, found)
        assert raw.grad is not None
        assert bool(raw.grad.isfinite().all()), extreme


def test_an_answer_that_is_no_number_makes_the_total_none() -> None:
    for value in (math.nan, math.inf):
        raw = torch.full((1, CELLS, 6), value)
        assert not math.isfinite(numbers(losses(raw, truth([SMALL])))["total"])


def test_half_precision_is_computed_in_full() -> None:
    torch.manual_seed(1)
    raw = (torch.randn(2, CELLS, 7) * 2).bfloat16()
    targets = truth([SMALL, (1, 20, 20, 30, 30)], [(0, 50, 10, 20, 9)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(raw.requires_grad_(), targets)
    assert found.total.dtype == torch.float32
    assert numbers(found) == pytest.approx(numbers(losses(raw.float(), targets)))
    found.total.backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert bool(raw.grad.isfinite().all())


def test_nothing_that_comes_in_is_changed() -> None:
    raw, targets = cells_as_boxes(), truth([SMALL], regions=[[(0, 0, 9, 9)]])
    copies = [tensor.clone() for tensor in (raw, targets.boxes, targets.class_ids, targets.ignore)]
    losses(raw, targets)
    after = (raw, targets.boxes, targets.class_ids, targets.ignore)
    assert all(torch.equal(a, b) for a, b in zip(copies, after, strict=True))


def test_what_does_not_fit_is_refused() -> None:
    targets = truth([SMALL])
    with pytest.raises(
        DataError,
        match=r"^raw: expected shape \(batch, 84, 5 \+ classes\) for an input of 64 × 64, "
        r"found \(1, 83, 6\)$",
    ):
        losses(cells_as_boxes()[:, 1:], targets)
    with pytest.raises(
        DataError,
        match=r"^targets: expected boxes \(2, t, 4\), class ids \(2, t\) and regions \(2, k, 4\), "
        r"found \(1, 1, 4\), \(1, 1\), \(1, 0, 4\)$",
    ):
        losses(cells_as_boxes(2), targets)
    with pytest.raises(DataError, match=r"^targets: expected class ids below 1, found 3$"):
        losses(cells_as_boxes(), truth([(3, 36, 36, 4, 4)]))


def test_overlap_by_hand() -> None:
    a = torch.tensor([[10.0, 10, 4, 4], [0, 0, 2, 2], [0, 0, 0, 0]])
    b = torch.tensor([[12.0, 10, 4, 4], [9, 9, 2, 2], [0, 0, 0, 0]])
    assert iou_cxcywh(a, b).tolist() == pytest.approx([8 / 24, 0, 0])


def test_boxes_in_pixels() -> None:
    raw = torch.tensor([[0.25, -0.5, 0.0, math.log(3)]])
    box = decode_boxes(raw, torch.tensor([[2.0, 5.0]]), torch.tensor([16.0]))
    assert box.flatten().tolist() == pytest.approx([36, 72, 16, 48])


# Against the reference, which uses a name that PyTorch is about to drop.

outdated = pytest.mark.filterwarnings("ignore:.*autocast.*:FutureWarning")


def crowd(
    batch: int, objects: int, classes: int, height: int, width: int, *, dense: bool
) -> Targets:
    """Pictures with boxes at random: the first full, the second empty, the others in between."""
    room = torch.tensor([float(width), float(height)])
    middles = torch.rand(batch, objects, 2) * (room * 0.3 if dense else room)
    boxes = torch.cat((middles, torch.rand(batch, objects, 2) * 90 + 4), dim=2)
    class_ids = torch.randint(0, classes, (batch, objects))
    class_ids[1] = -1
    for picture in range(2, batch):
        class_ids[picture, 1 + objects // picture :] = -1
    boxes[class_ids < 0] = 0
    return Targets(boxes, class_ids, torch.zeros(batch, 0, 4))


def labels_of(targets: Targets) -> Tensor:
    """Rows of class and box as the reference takes them."""
    labels = torch.cat((targets.class_ids[..., None].float(), targets.boxes), dim=2)
    labels[targets.class_ids < 0] = 0
    return labels


@outdated
@pytest.mark.parametrize("size", ["nano", "s"])
@pytest.mark.parametrize("use_l1", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_losses_are_those_of_the_reference(size: Any, *, use_l1: bool, dense: bool) -> None:
    torch.manual_seed(5)
    reference, net = make_reference(size, 5), make_yolox(size, 5)
    net.load_state_dict(reference.state_dict())
    reference.head.use_l1 = use_l1
    targets = crowd(3, 12, 5, 128, 160, dense=dense)
    images = torch.rand(3, 3, 128, 160) * 255
    theirs = reference(images, labels_of(targets))
    ours = yolox_loss(net(images), targets, 128, 160, use_l1=use_l1)
    names = ("total_loss", "iou_loss", "conf_loss", "cls_loss", "l1_loss", "num_fg")
    found = numbers(ours)
    assert [
        found[name] for name in ("total", "iou", "objectness", "classes", "l1", "foreground")
    ] == pytest.approx([float(torch.as_tensor(theirs[name]).detach()) for name in names], abs=1e-4)


@outdated
@pytest.mark.parametrize("size", ["nano", "s"])
def test_gradients_are_those_of_the_reference(size: Any) -> None:
    torch.manual_seed(5)
    # In double precision: gradients at the stem have gone through so many sums that in single
    # precision another order of summation changes them by a hundredth.
    reference, net = make_reference(size, 5).double(), make_yolox(size, 5).double()
    net.load_state_dict(reference.state_dict())
    reference.head.use_l1 = True
    targets = crowd(3, 12, 5, 128, 160, dense=True)
    images = torch.rand(3, 3, 128, 160, dtype=torch.float64) * 255
    reference(images, labels_of(targets).double())["total_loss"].backward()
    found = yolox_loss(net(images), targets, 128, 160, use_l1=True)
    found.total.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in net.named_parameters():
        expected = gradients[name]
        assert parameter.grad is not None
        if expected is None:  # no anchor of this level is to find anything
            assert not parameter.grad.any(), name
            continue
        scale = max(float(expected.abs().max()), 1e-3)
        assert float((parameter.grad - expected).abs().max()) <= 1e-5 * scale, name


def knowing(targets: Targets, height: int, width: int, classes: int) -> Tensor:
    """Answers of a network that has learned something: anchors near an object say about its box."""
    anchors = make_anchors(height, width)
    raw = torch.randn(len(targets.boxes), len(anchors.strides), 5 + classes)
    distance = (anchors.centres[None, :, None] - targets.boxes[:, None, :, :2]).norm(dim=3)
    distance[(targets.class_ids < 0)[:, None].expand_as(distance)] = torch.inf
    closest = distance.argmin(dim=2)
    boxes = targets.boxes.gather(1, closest[..., None].expand(-1, -1, 4)).clamp(min=1)
    strides = anchors.strides[:, None]
    noise = torch.randn(len(boxes), len(anchors.strides), 4) * 0.3
    raw[..., :2] = boxes[..., :2] / strides - anchors.corners
    raw[..., 2:4] = (boxes[..., 2:] / strides).log()
    raw[..., :4] += noise
    return raw


@outdated
@pytest.mark.parametrize("seed", range(6))
def test_anchors_are_matched_as_in_the_reference(seed: int) -> None:
    torch.manual_seed(seed)
    height, width, classes = 256, 320, (1, 3, 80)[seed % 3]
    targets = crowd(4, 30, classes, height, width, dense=seed % 2 == 1)
    raw = knowing(targets, height, width, classes)
    anchors = make_anchors(height, width)
    match = assign(raw, targets, anchors, height, width)
    head = make_reference("nano", classes).head
    boxes = decode_boxes(raw[..., :4], anchors.corners, anchors.strides)
    shared = 0
    for picture in range(4):
        mine = match.pictures == picture
        count = int((targets.class_ids[picture] >= 0).sum())
        if not count:
            assert not mine.any()
            continue
        _, foreground, ious, objects, _ = head.get_assignments(
            picture,
            count,
            targets.boxes[picture, :count],
            targets.class_ids[picture, :count].float(),
            boxes[picture],
            anchors.strides[None],
            anchors.corners[None, :, 0],
            anchors.corners[None, :, 1],
            raw[..., 5:],
            raw[..., 4:5],
        )
        assert torch.equal(match.anchors[mine], foreground.nonzero().flatten())
        assert torch.equal(match.objects[mine], objects)
        assert torch.allclose(match.ious[mine], ious, atol=1e-5)
        shared = max(shared, int(torch.bincount(objects).max()))
    assert shared > 2  # some object has several anchors


def test_how_many_are_weighed_at_a_time_does_not_matter() -> None:
    torch.manual_seed(9)
    targets = crowd(5, 20, 2, SIDE, SIDE, dense=False)
    raw = knowing(targets, SIDE, SIDE, 2)
    expected = matched(raw, targets)
    for pairs in (1, 2000, 1 << 30):
        found = matched(raw, targets, pairs=pairs)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_a_network_learns_two_pictures() -> None:
    torch.manual_seed(0)
    net = make_yolox("nano", 1)
    images = torch.full((2, 3, SIDE, SIDE), 114.0)
    images[0, :, 16:40, 20:52] = 255
    images[1, :, 30:54, 8:40] = 0
    targets = truth([(0, 36, 28, 32, 24)], [(0, 24, 42, 32, 24)])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.002, momentum=0.9)
    totals = []
    for _ in range(60):
        found = losses(net(images), targets)
        optimizer.zero_grad()
        found.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        totals.append(numbers(found)["total"])
    assert sum(totals[-5:]) / 5 < totals[0] / 2
