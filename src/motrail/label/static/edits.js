/**
 * Every edit as a list of patches: what the page does to objects, as the server stores it.
 *
 * Each maker works out the points an object shall have and `change` says how to get there, so
 * that split, merge, swap and delete are cut and join and nothing else.
 *
 * @typedef {import("./model.js").Point} Point
 * @typedef {import("./model.js").Box} Box
 * @typedef {import("./model.js").LabelObject} LabelObject
 * @typedef {{id: number, create?: object, delete?: boolean, set?: object,
 *   drop?: [number, number][], put?: Point[]}} Patch
 * @typedef {{label: string, patches: Patch[]}} Edit
 */

import { boxAt, correct, GAP, ghostAt, HAND, indexAt, OCCLUDED, pointOf } from "./model.js";

/** What an object is when it is drawn. */
const FRESH = { ignore: false, status: "", attributes: {}, note: "", score: null, source: "hand" };

/**
 * How to get from one list of points to another.
 * @param {number} id
 * @param {readonly Point[]} before
 * @param {readonly Point[]} after
 * @returns {Patch}
 */
export function change(id, before, after) {
  const kept = new Map(after.map((p) => [p[0], p]));
  const old = new Map(before.map((p) => [p[0], p]));
  /** @type {[number, number][]} */
  const drop = [];
  let open = false;
  for (const [frame] of before) {
    if (kept.has(frame)) {
      open = false;
    } else if (open) {
      drop[drop.length - 1][1] = frame;
    } else {
      drop.push([frame, frame]);
      open = true;
    }
  }
  /** @param {Point} p */
  const within = (p) => drop.some(([first, last]) => first <= p[0] && p[0] <= last);
  const put = after.filter((p) => {
    const was = old.get(p[0]);
    return !was || was.some((value, k) => value !== p[k]) || (drop.length > 0 && within(p));
  });
  /** @type {Patch} */
  const patch = { id };
  if (drop.length > 0) patch.drop = drop;
  if (put.length > 0) patch.put = put;
  return patch;
}

/** @param {Patch} patch */
const says = (patch) => Object.keys(patch).length > 1;

/**
 * @param {string} label
 * @param {...Patch} patches
 * @returns {Edit}
 */
const edit = (label, ...patches) => ({ label, patches: patches.filter(says) });

/**
 * The points before a frame and from it on, each side whole at the cut.
 * @param {readonly Point[]} points
 * @param {number} frame
 * @returns {[Point[], Point[]]}
 */
export function cut(points, frame) {
  const before = points.filter((p) => p[0] < frame);
  const after = points.filter((p) => p[0] >= frame);
  const index = indexAt(points, frame - 1);
  const sure = index >= 0 && points[index][5] & HAND && points[index + 1]?.[5] & HAND;
  const hand = sure ? HAND : 0;
  /** @param {number} at */
  const bound = (at) => {
    const box = boxAt(points, at);
    return box && pointOf(at, box, hand | (box.occluded ? OCCLUDED : 0));
  };
  const end = before.at(-1)?.[0] === frame - 1 ? null : bound(frame - 1);
  const start = after[0]?.[0] === frame ? null : bound(frame);
  if (end) before.push(end);
  if (start) after.unshift(start);
  return [before, after];
}

/**
 * Two lists of points as one: without a hole they run on, with one the object is away in it.
 * @param {readonly Point[]} first
 * @param {readonly Point[]} second
 * @returns {Point[]}
 */
export function join(first, second) {
  if (first.length === 0 || second.length === 0) return [...first, ...second];
  const end = /** @type {Point} */ ([...first[first.length - 1]]);
  end[5] = second[0][0] > end[0] + 1 ? end[5] | GAP : end[5] & ~GAP;
  return [...first.slice(0, -1), end, ...second];
}

/**
 * @param {number} id
 * @param {string} name class
 * @param {number} frame
 * @param {Box} box
 * @param {boolean} ignore
 */
export function draw(id, name, frame, box, ignore = false) {
  const create = { ...FRESH, class: name, ignore };
  const label = ignore ? "draw ignore region" : "draw box";
  return edit(label, { id, create, put: [pointOf(frame, box, HAND)] });
}

/**
 * Moves, resizes or confirms the box of a frame; the machine's points around follow.
 * @param {LabelObject} object
 * @param {number} frame
 * @param {Box} box
 * @param {string} label
 */
export function place(object, frame, box, label = "move box") {
  return edit(label, change(object.id, object.points, correct(object.points, frame, box)));
}

/**
 * The object is seen at this frame for the last time, until its next keyframe.
 * @param {LabelObject} object
 * @param {number} frame
 */
export function leave(object, frame) {
  const box = boxAt(object.points, frame);
  if (!box) return edit("leave");
  const flags = HAND | GAP | (box.occluded ? OCCLUDED : 0);
  const later = object.points.filter((p) => p[0] > frame);
  const key = later.findIndex((p) => p[5] & HAND);
  const points = [
    ...object.points.filter((p) => p[0] < frame),
    pointOf(frame, box, flags),
    ...(key < 0 ? [] : later.slice(key)),
  ];
  return edit("leave", change(object.id, object.points, points));
}

/**
 * The object comes (back) at this frame; it was away between its point before and here.
 * @param {LabelObject} object
 * @param {number} frame
 * @param {Box|null} box where it comes in; the nearest box in time when null
 */
export function enter(object, frame, box = null) {
  const shown = boxAt(object.points, frame);
  const target = box ?? shown ?? ghostAt(object.points, frame);
  if (!target) return edit("enter");
  const index = indexAt(object.points, frame);
  const at = index >= 0 && object.points[index][0] === frame;
  const flags = (at ? object.points[index][5] : shown?.occluded ? OCCLUDED : 0) | HAND;
  const before = object.points.slice(0, at ? index : index + 1);
  const last = before.at(-1);
  if (last && last[0] + 1 < frame) before[before.length - 1] = withFlags(last, last[5] | GAP);
  const points = [...before, pointOf(frame, target, flags), ...object.points.slice(index + 1)];
  return edit("enter", change(object.id, object.points, points));
}

/**
 * The gap before or after a frame is filled: the object was there all the time.
 * @param {LabelObject} object
 * @param {number} frame
 */
export function bridge(object, frame) {
  let index = indexAt(object.points, frame);
  if (!(object.points[index]?.[5] & GAP) && object.points[index]?.[0] === frame) index -= 1;
  const points = object.points.map((p, i) => (i === index ? withFlags(p, p[5] & ~GAP) : p));
  return edit("fill gap", change(object.id, object.points, points));
}

/**
 * @param {Point} point
 * @param {number} flags
 * @returns {Point}
 */
const withFlags = (point, flags) => [point[0], point[1], point[2], point[3], point[4], flags];

/**
 * Occluded, or no longer so, from this frame up to the next keyframe.
 * @param {LabelObject} object
 * @param {number} frame
 */
export function occlude(object, frame) {
  const box = boxAt(object.points, frame);
  if (!box) return edit("occluded");
  const bit = box.occluded ? 0 : OCCLUDED;
  const placed = correct(object.points, frame, box);
  const key = placed.find((p) => p[0] > frame && p[5] & HAND)?.[0] ?? Infinity;
  const points = placed.map((p) =>
    p[0] >= frame && p[0] < key ? withFlags(p, (p[5] & ~OCCLUDED) | bit) : p,
  );
  return edit(bit ? "occluded" : "not occluded", change(object.id, object.points, points));
}

/**
 * From this frame on it is another object.
 * @param {LabelObject} object
 * @param {number} frame
 * @param {number} fresh the new object's id
 */
export function split(object, frame, fresh) {
  const [before, after] = cut(object.points, frame);
  if (before.length === 0 || after.length === 0) return edit("split");
  const { id, points, ...fields } = object;
  return edit("split", change(id, points, before), { id: fresh, create: fields, put: after });
}

/**
 * Two objects are one: the second's boxes fill the frames in which the first is not there.
 * @param {LabelObject} object
 * @param {LabelObject} other
 */
export function merge(object, other) {
  const [first, second] = [presence(object.points), presence(other.points)];
  /** @type {Point[][]} */
  let pieces = second.map(([a, b]) => cut(cut(other.points, a)[1], b + 1)[0]);
  for (const [a, b] of first) {
    pieces = pieces.flatMap((piece) => [cut(piece, a)[0], cut(piece, b + 1)[1]]);
  }
  const own = first.map(([a, b]) => cut(cut(object.points, a)[1], b + 1)[0]);
  const parts = [...own, ...pieces].filter((piece) => piece.length > 0);
  parts.sort((a, b) => a[0][0] - b[0][0]);
  const points = parts.reduce((whole, piece) => join(whole, piece), /** @type {Point[]} */ ([]));
  return edit("merge", change(object.id, object.points, points), { id: other.id, delete: true });
}

/**
 * The frames in which an object is there, as inclusive ranges.
 * @param {readonly Point[]} points
 * @returns {[number, number][]}
 */
function presence(points) {
  /** @type {[number, number][]} */
  const ranges = [];
  points.forEach((p, i) => {
    if (i > 0 && !(points[i - 1][5] & GAP)) ranges[ranges.length - 1][1] = p[0];
    else ranges.push([p[0], p[0]]);
  });
  return ranges;
}

/**
 * From this frame on each is the other.
 * @param {LabelObject} a
 * @param {LabelObject} b
 * @param {number} frame
 */
export function swap(a, b, frame) {
  const [beforeA, afterA] = cut(a.points, frame);
  const [beforeB, afterB] = cut(b.points, frame);
  const [nextA, nextB] = [join(beforeA, afterB), join(beforeB, afterA)];
  if (nextA.length === 0 || nextB.length === 0) return edit("swap identities");
  return edit("swap identities", change(a.id, a.points, nextA), change(b.id, b.points, nextB));
}

/**
 * The box of this frame stands still until another.
 * @param {LabelObject} object
 * @param {number} frame
 * @param {number} to
 */
export function copyForward(object, frame, to) {
  const box = boxAt(object.points, frame);
  if (!box || to <= frame) return edit("copy forward");
  const flags = HAND | (box.occluded ? OCCLUDED : 0);
  const [before] = cut(object.points, frame);
  const [, after] = cut(object.points, to + 1);
  const held = [pointOf(frame, box, flags), pointOf(to, box, flags)];
  const points = [...before, ...held, ...after];
  return edit("copy forward", change(object.id, object.points, points));
}

/**
 * The object is not there from `first` to `last`; nothing left deletes it.
 * @param {LabelObject} object
 * @param {number} first
 * @param {number} last
 */
export function deleteRange(object, first, last) {
  const points = join(cut(object.points, first)[0], cut(object.points, last + 1)[1]);
  if (points.length === 0) return remove([object]);
  return edit("delete in range", change(object.id, object.points, points));
}

/**
 * Takes the keyframe of this frame away; what stands between its neighbours remains.
 * @param {LabelObject} object
 * @param {number} frame
 */
export function removePoint(object, frame) {
  const points = object.points.filter((p) => p[0] !== frame);
  if (points.length === 0) return remove([object]);
  return edit("delete keyframe", change(object.id, object.points, points));
}

/** @param {LabelObject[]} objects */
export function remove(objects) {
  return edit("delete object", ...objects.map(({ id }) => ({ id, delete: true })));
}

/**
 * Sets fields (class, ignore, attributes, note, status) of objects.
 * @param {LabelObject[]} objects
 * @param {object} fields
 * @param {string} label
 */
export function set(objects, fields, label) {
  return edit(label, ...objects.map(({ id }) => ({ id, set: fields })));
}
