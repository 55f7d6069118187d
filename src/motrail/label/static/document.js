/**
 * The objects of one sequence and how patches change them.
 *
 * @typedef {import("./model.js").LabelObject} LabelObject
 * @typedef {import("./edits.js").Patch} Patch
 */

import { density, spansOf } from "./model.js";

/**
 * @param {LabelObject} object
 * @param {Patch} patch
 * @returns {LabelObject}
 */
function patched(object, patch) {
  const next = { ...object, ...patch.set };
  if (!patch.drop && !patch.put) return next;
  const put = new Map((patch.put ?? []).map((p) => [p[0], p]));
  const drop = patch.drop ?? [];
  const kept = object.points.filter(
    ([frame]) => !put.has(frame) && !drop.some(([a, b]) => a <= frame && frame <= b),
  );
  next.points = [...kept, ...put.values()].sort((a, b) => a[0] - b[0]);
  return next;
}

export class Document {
  constructor() {
    /** @type {Map<number, LabelObject>} */
    this.objects = new Map();
    this.nextId = 1;
    this.length = 0;
    /** Counts changes, so that what is derived knows when it is old. */
    this.version = 0;
    /** @type {WeakMap<LabelObject, import("./model.js").Span[]>} */
    this.spanCache = new WeakMap();
    /** @type {{version: number, counts: Uint32Array}} */
    this.densityCache = { version: -1, counts: new Uint32Array(1) };
  }

  /**
   * @param {{objects: LabelObject[], next_id: number}} answer
   * @param {number} length frames
   */
  load(answer, length) {
    this.objects = new Map(answer.objects.map((object) => [object.id, object]));
    this.nextId = answer.next_id;
    this.length = length;
    this.version += 1;
  }

  /** An id no object of the sequence has had. */
  takeId() {
    this.nextId += 1;
    return this.nextId - 1;
  }

  /** @param {number} id */
  get(id) {
    return this.objects.get(id);
  }

  /** @param {LabelObject} object */
  spans(object) {
    let spans = this.spanCache.get(object);
    if (!spans) {
      spans = spansOf(object.points);
      this.spanCache.set(object, spans);
    }
    return spans;
  }

  /** Boxes per frame; index 0 is unused. */
  density() {
    if (this.densityCache.version !== this.version) {
      const counts = density(this.objects.values(), this.length, (object) => this.spans(object));
      this.densityCache = { version: this.version, counts };
    }
    return this.densityCache.counts;
  }

  /**
   * Applies patches whole or not at all.
   * @param {Patch[]} patches
   * @returns {() => void} takes them back
   * @throws {Error} when a patch names an object that is not there
   */
  apply(patches) {
    const next = new Map(this.objects);
    for (const patch of patches) {
      const object = patch.create
        ? /** @type {LabelObject} */ ({ ...patch.create, id: patch.id, points: [] })
        : next.get(patch.id);
      if (!object) throw new Error(`object ${patch.id} is no longer there`);
      if (patch.create && next.has(patch.id)) throw new Error(`object ${patch.id} exists`);
      if (patch.delete) next.delete(patch.id);
      else next.set(patch.id, patched(object, patch));
      this.nextId = Math.max(this.nextId, patch.id + 1);
    }
    const before = this.objects;
    this.objects = next;
    this.version += 1;
    return () => {
      this.objects = before;
      this.version += 1;
    };
  }

  /**
   * Puts in what the server changed.
   * @param {{changed?: LabelObject[], removed?: number[]}} answer
   */
  replace(answer) {
    const next = new Map(this.objects);
    for (const id of answer.removed ?? []) next.delete(id);
    for (const object of answer.changed ?? []) next.set(object.id, object);
    this.objects = next;
    this.version += 1;
  }
}

/**
 * The same patches with ids of new objects that are free in this document.
 * @param {Document} doc
 * @param {Patch[]} patches
 * @param {Map<number, number>} renamed ids taken so far, filled here
 * @returns {Patch[]}
 */
export function rebased(doc, patches, renamed) {
  for (const patch of patches) {
    if (patch.create && !renamed.has(patch.id) && patch.id < doc.nextId) {
      renamed.set(patch.id, doc.takeId());
    }
  }
  return patches.map((patch) => ({ ...patch, id: renamed.get(patch.id) ?? patch.id }));
}
