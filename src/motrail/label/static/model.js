/**
 * Boxes through time: the one rule of what stands between two points, and what follows from it.
 *
 * Pure functions; nothing here changes its arguments.
 *
 * @typedef {[number, number, number, number, number, number]} Point
 *   frame (from 1), left, top, width, height in pixels, flags
 * @typedef {{x: number, y: number, w: number, h: number}} Box
 * @typedef {{
 *   id: number, class: string, ignore: boolean, status: string,
 *   attributes: Record<string, string|number|boolean>, note: string,
 *   score: number|null, source: string, points: Point[],
 * }} LabelObject
 * @typedef {Box & {kind: "hand"|"machine"|"between", occluded: boolean, last: boolean}} Shown
 * @typedef {{first: number, last: number, machine: boolean, occluded: boolean}} Span
 */

/** A person set or confirmed the point: a keyframe. */
export const HAND = 1;
/** The object is not there after this point until the next one. */
export const GAP = 2;
/** Occluded from this point up to the next one. */
export const OCCLUDED = 4;

/** The smallest width and height a box may have, in pixels. */
export const SMALLEST = 1;

/** @param {number} value */
const rounded = (value) => Math.round(value * 100) / 100;

/**
 * The box in hundredths of a pixel and at least one pixel wide and high.
 * @param {Box} box
 * @returns {Box}
 */
export function tidy(box) {
  return {
    x: rounded(box.x),
    y: rounded(box.y),
    w: Math.max(SMALLEST, rounded(box.w)),
    h: Math.max(SMALLEST, rounded(box.h)),
  };
}

/**
 * @param {number} frame
 * @param {Box} box
 * @param {number} flags
 * @returns {Point}
 */
export function pointOf(frame, box, flags) {
  const { x, y, w, h } = tidy(box);
  return [frame, x, y, w, h, flags];
}

/**
 * The index of the last point at or before a frame; -1 before the first.
 * @param {readonly Point[]} points
 * @param {number} frame
 */
export function indexAt(points, frame) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= frame) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The box at a frame, or null where the object is not there.
 *
 * Between two points x, y, w and h are interpolated linearly, unless the first has GAP; before
 * the first and after the last point the object is not there.
 * @param {readonly Point[]} points
 * @param {number} frame
 * @returns {Shown|null}
 */
export function boxAt(points, frame) {
  const index = indexAt(points, frame);
  if (index < 0) return null;
  const a = points[index];
  const occluded = (a[5] & OCCLUDED) !== 0;
  if (a[0] === frame) {
    const kind = a[5] & HAND ? "hand" : "machine";
    const last = (a[5] & GAP) !== 0 || index === points.length - 1;
    return { x: a[1], y: a[2], w: a[3], h: a[4], kind, occluded, last };
  }
  if (index === points.length - 1 || a[5] & GAP) return null;
  const b = points[index + 1];
  const t = (frame - a[0]) / (b[0] - a[0]);
  /** @param {number} k */
  const mix = (k) => a[k] + (b[k] - a[k]) * t;
  const kind = "between";
  return { x: mix(1), y: mix(2), w: mix(3), h: mix(4), kind, occluded, last: false };
}

/**
 * Where a keyframe would go for an object that is not there: its nearest box in time.
 * @param {readonly Point[]} points
 * @param {number} frame
 * @returns {Box|null}
 */
export function ghostAt(points, frame) {
  if (points.length === 0) return null;
  const index = Math.max(0, indexAt(points, frame));
  const [, x, y, w, h] = points[index];
  return { x, y, w, h };
}

/**
 * The spans in which the object is there, neighbours of the same look joined.
 * @param {readonly Point[]} points
 * @returns {Span[]}
 */
export function spansOf(points) {
  /** @type {Span[]} */
  const spans = [];
  let joined = false;
  points.forEach((a, i) => {
    const b = points[i + 1];
    const open = b !== undefined && !(a[5] & GAP);
    const occluded = (a[5] & OCCLUDED) !== 0;
    const machine = !(a[5] & HAND) || (open && !(b[5] & HAND));
    const before = spans[spans.length - 1];
    if (open && joined && before.machine === machine && before.occluded === occluded) {
      before.last = b[0];
    } else if (open || !joined) {
      spans.push({ first: a[0], last: open ? b[0] : a[0], machine, occluded });
    }
    joined = open;
  });
  return spans;
}

/**
 * The hand-set frames next to a frame, for stepping from keyframe to keyframe.
 * @param {readonly Point[]} points
 * @param {number} frame
 * @param {1|-1} direction
 * @returns {number|null}
 */
export function nextKeyframe(points, frame, direction) {
  const keys = points.filter((p) => p[5] & (HAND | GAP)).map((p) => p[0]);
  const found =
    direction > 0 ? keys.find((f) => f > frame) : keys.filter((f) => f < frame).pop();
  return found ?? null;
}

/**
 * The machine's points around a corrected box, moved with it.
 *
 * The difference is full at the corrected frame and falls to nothing at the neighbouring
 * keyframes; beyond the first or the last keyframe all of it is kept. A gap ends the stretch:
 * what happens after the object has left says nothing about where it was.
 * @param {readonly Point[]} points
 * @param {number} frame
 * @param {Box} box
 * @returns {Point[]} all points, with the corrected one set by hand
 */
export function correct(points, frame, box) {
  const old = boxAt(points, frame);
  const index = indexAt(points, frame);
  const at = index >= 0 && points[index][0] === frame ? points[index] : null;
  const flags = at ? at[5] | HAND : HAND | (old?.occluded ? OCCLUDED : 0);
  const after = points.slice(index + 1);
  const before = points.slice(0, at ? index : index + 1);
  const put = pointOf(frame, box, flags);
  if (!old) return [...before, put, ...after];
  const difference = [box.x - old.x, box.y - old.y, box.w - old.w, box.h - old.h];
  const stop = put[5] & GAP ? frame : Infinity;
  return [
    ...shifted([...before].reverse(), frame, difference, -1, Infinity).reverse(),
    put,
    ...shifted(after, frame, difference, 1, stop),
  ];
}

/**
 * Points walking away from a corrected frame, moved by a difference that fades to a keyframe.
 * @param {Point[]} points nearest first
 * @param {number} frame
 * @param {number[]} difference
 * @param {1|-1} direction
 * @param {number} stop no point beyond this frame is moved
 * @returns {Point[]}
 */
function shifted(points, frame, difference, direction, stop) {
  if (stop === frame) return points;
  let end = points.findIndex((p) => p[5] & HAND || (direction < 0 && p[5] & GAP));
  const leaving = direction > 0 ? points.findIndex((p) => p[5] & GAP) : -1;
  if (leaving >= 0 && (end < 0 || leaving < end)) end = leaving + 1;
  if (end < 0) end = points.length;
  const key = points[end];
  const faded = key !== undefined && key[5] & HAND && !(leaving >= 0 && leaving < end);
  const broken = direction < 0 && key !== undefined && key[5] & GAP;
  return points.map((p, i) => {
    if (i >= end) return p;
    const weight = faded && !broken ? (p[0] - key[0]) / (frame - key[0]) : 1;
    const moved = {
      x: p[1] + difference[0] * weight,
      y: p[2] + difference[1] * weight,
      w: p[3] + difference[2] * weight,
      h: p[4] + difference[3] * weight,
    };
    return pointOf(p[0], moved, p[5]);
  });
}

/**
 * Boxes per frame, from presence alone: `counts[f]` belongs to frame f, `counts[0]` is unused.
 * @param {Iterable<LabelObject>} objects
 * @param {number} length frames
 * @param {(object: LabelObject) => Span[]} spans
 * @returns {Uint32Array}
 */
export function density(objects, length, spans) {
  const change = new Int32Array(length + 3);
  for (const object of objects) {
    if (object.ignore) continue;
    let covered = 0;
    for (const span of spans(object)) {
      const first = Math.max(span.first, covered + 1);
      if (span.last < first) continue;
      change[Math.min(first, length + 1)] += 1;
      change[Math.min(span.last + 1, length + 2)] -= 1;
      covered = span.last;
    }
  }
  const counts = new Uint32Array(length + 1);
  let sum = 0;
  for (let frame = 1; frame <= length; frame += 1) {
    sum += change[frame];
    counts[frame] = sum;
  }
  return counts;
}

/**
 * Intersection over union of two boxes.
 * @param {Box} a
 * @param {Box} b
 */
export function iou(a, b) {
  const width = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (a.w * a.h + b.w * b.h - both);
}
