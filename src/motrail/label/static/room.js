/**
 * What the page shows: one sequence, where we are in it, what is selected. Parts subscribe.
 *
 * Events: `project`, `sequence` (another one), `frame`, `objects`, `selection`, `view`,
 * `status`, `notice`, `suggestions`, `picture`.
 */

import { ApiError, get } from "./api.js";
import { Document } from "./document.js";
import { Frames } from "./frames.js";
import { boxAt } from "./model.js";
import { Sync } from "./sync.js";

/** @typedef {import("./model.js").LabelObject} LabelObject */

export class Room extends EventTarget {
  /** @param {string} tab */
  constructor(tab) {
    super();
    this.tab = tab;
    /** @type {any} */
    this.project = null;
    /** @type {any} */
    this.sequence = null;
    this.doc = new Document();
    this.sync = /** @type {Sync|null} */ (null);
    this.frames = /** @type {Frames|null} */ (null);
    this.frame = 1;
    /** @type {number[]} the last one is the one the keys work on */
    this.selection = [];
    /** @type {Set<number>} */
    this.hidden = new Set();
    /** @type {[number, number]|null} */
    this.range = null;
    this.currentClass = "";
    this.armed = /** @type {""|"box"|"ignore"} */ ("");
    this.playing = false;
    /** @type {Map<number, import("./model.js").Box>} what a running propagation finds */
    this.live = new Map();
    /** @type {any} */
    this.work = null;
    /** @type {{frame: number, objects: number[], reason: string, weight: number}[]} */
    this.suggestions = [];
    /** @type {any[]} */
    this.errors = [];
    this.errorsOf = "";
    this.showTruth = false;
    /** @type {number[]} true objects of the error that is looked at */
    this.truthMarked = [];
    this.frameTrouble = "";
    this.filters = { text: "", show: "all", minLength: 1, minScore: 0 };
  }

  /** @param {string} name */
  emit(name) {
    this.dispatchEvent(new Event(name));
  }

  /**
   * @param {string} names separated by spaces
   * @param {() => void} listener
   */
  on(names, listener) {
    for (const name of names.split(" ")) this.addEventListener(name, listener);
  }

  /**
   * Says something to the person.
   * @param {string} text
   * @param {"info"|"warning"|"error"} kind
   * @param {{label: string, run: () => void}} [action]
   */
  say(text, kind = "info", action = undefined) {
    this.dispatchEvent(new CustomEvent("notice", { detail: { text, kind, action } }));
  }

  /** @param {any} project */
  setProject(project) {
    this.project = project;
    const names = this.classes.map((c) => c.name);
    if (!names.includes(this.currentClass)) this.currentClass = names[0] ?? "";
    this.emit("project");
  }

  /** @returns {{name: string, colour: string, key: string}[]} */
  get classes() {
    return this.project?.classes ?? [];
  }

  /** @param {string} name */
  colour(name) {
    return this.classes.find((c) => c.name === name)?.colour ?? "#9aa4b2";
  }

  /**
   * Opens a sequence.
   * @param {number} index
   * @param {number} frame
   */
  async open(index, frame = 1) {
    this.sync?.close();
    this.frames?.close();
    this.playing = false;
    const sequence = this.project.sequences[index];
    const doc = new Document();
    const place = `${this.project.dataset}/${sequence.name}`;
    const sync = new Sync(doc, sequence, place, this.tab, {
      onChange: () => this.changed(),
      onStatus: () => this.emit("status"),
      onBack: () => this.frames?.fill(),
      onRefused: (refused) => this.refused(refused),
      onShow: ([first, last]) => {
        if (this.frame < first || this.frame > last) this.goTo(first);
      },
    });
    Object.assign(this, { sequence, doc, sync, selection: [], range: null, suggestions: [],
      errors: [], truthMarked: [] });
    this.hidden = new Set();
    this.frames = new Frames(
      sequence,
      (shown) => shown === this.frame && this.emit("picture"),
      (failed, message) => this.trouble(failed ? message : ""),
    );
    this.frame = Math.min(Math.max(1, frame), sequence.length);
    this.emit("sequence");
    this.frames.goTo(this.frame, false);
    await sync.open();
    await this.readErrors();
    this.emit("frame");
  }

  async readErrors() {
    const { sequence, sync } = this;
    if (this.project.mode !== "review") {
      this.errors = [];
      return;
    }
    this.errorsOf = `${sequence.index}@${sync?.revision}`;
    const errors = await get(`/api/sequences/${sequence.index}/errors`).catch(() => []);
    if (this.sequence !== sequence) return;
    this.errors = errors;
    this.emit("suggestions");
  }

  /** Whether the list beside the picture holds errors rather than suggestions. */
  get againstTruth() {
    return Boolean(this.sync?.truth?.length);
  }

  /** @param {string} message */
  trouble(message) {
    if (message === this.frameTrouble) return;
    this.frameTrouble = message;
    this.emit("status");
  }

  /** @param {{label: string, reason: string}[]} refused */
  refused(refused) {
    const said = refused.map(({ label, reason }) => `“${label}”: ${reason}`).join("; ");
    this.say(`Not applied — the sequence changed elsewhere. ${said}`, "error");
  }

  changed() {
    this.selection = this.selection.filter((id) => this.doc.get(id));
    this.emit("objects");
    this.emit("status");
  }

  /**
   * @param {number} frame
   * @param {{scrubbing?: boolean}} [how]
   */
  goTo(frame, { scrubbing = false } = {}) {
    const target = Math.min(this.sequence.length, Math.max(1, Math.round(frame)));
    const settled = this.frames?.scrubbing && !scrubbing;
    if (target === this.frame && !settled) return;
    this.frame = target;
    this.frames?.goTo(target, scrubbing);
    this.emit("frame");
  }

  /**
   * @param {number[]} ids
   */
  select(ids) {
    this.selection = ids.filter((id) => this.doc.get(id));
    const object = this.selected;
    if (object && !object.ignore) this.currentClass = object.class;
    this.emit("selection");
  }

  /** @returns {LabelObject|null} */
  get selected() {
    const id = this.selection.at(-1);
    return (id !== undefined && this.doc.get(id)) || null;
  }

  /** @returns {LabelObject[]} */
  get selectedObjects() {
    return this.selection.map((id) => /** @type {LabelObject} */ (this.doc.get(id)));
  }

  get writable() {
    return this.sync?.writable ?? false;
  }

  /**
   * Applies an edit; says why where it cannot.
   * @param {import("./edits.js").Edit} edit
   * @returns {boolean} whether anything was changed
   */
  commit(edit) {
    if (!this.writable) {
      this.say(this.whyReadOnly(), "warning");
      return false;
    }
    if (edit.patches.length === 0) return false;
    this.sync?.commit(edit);
    return true;
  }

  whyReadOnly() {
    if (this.work) return "The machine is at work on this sequence: Escape stops it.";
    return "This sequence is being edited in another tab. Take it over to edit here.";
  }

  /**
   * Whether an object passes the filters of the list and is not hidden.
   * @param {LabelObject} object
   */
  visible(object) {
    return !this.hidden.has(object.id) && this.passes(object);
  }

  /** @param {LabelObject} object */
  passes(object) {
    const { text, show, minLength, minScore } = this.filters;
    if (show === "proposed" && object.status !== "proposed") return false;
    if (show === "frame" && !boxAt(object.points, this.frame)) return false;
    if (show === "hidden" && !this.hidden.has(object.id)) return false;
    if (show === "ignore" && !object.ignore) return false;
    if (minScore > 0 && object.score !== null && object.score < minScore) return false;
    if (minLength > 1 && lifetime(object) < minLength) return false;
    if (!text) return true;
    const words = `#${object.id} ${object.class} ${object.note} ${object.status} ${Object.entries(
      object.attributes ?? {},
    ).flat().join(" ")}`.toLowerCase();
    return text.toLowerCase().split(/\s+/).every((word) => words.includes(word));
  }

  /** Objects the list, the lanes and the picture show, in order of id. */
  get listed() {
    const key = `${this.doc.version}|${JSON.stringify(this.filters)}|${
      this.filters.show === "frame" ? this.frame : ""
    }|${this.filters.show === "hidden" ? this.hidden.size : ""}`;
    if (this.listKey !== key || this.listDoc !== this.doc) {
      this.listKey = key;
      this.listDoc = this.doc;
      /** @type {LabelObject[]} */
      this.list = [...this.doc.objects.values()]
        .filter((object) => this.passes(object))
        .sort((a, b) => a.id - b.id);
    }
    return /** @type {LabelObject[]} */ (this.list);
  }

  /**
   * Objects with a box at this frame, as drawn: the selected ones last.
   * @returns {{object: LabelObject, box: import("./model.js").Shown}[]}
   */
  get boxes() {
    const found = [];
    for (const object of this.doc.objects.values()) {
      if (!this.visible(object) && !this.selection.includes(object.id)) continue;
      const box = boxAt(object.points, this.frame);
      if (box) found.push({ object, box });
    }
    const chosen = new Set(this.selection);
    return found.sort((a, b) => Number(chosen.has(a.object.id)) - Number(chosen.has(b.object.id)));
  }

  /** @param {unknown} error */
  failed(error) {
    if (error instanceof ApiError) this.say(error.message, "error");
    else throw error;
  }
}

/**
 * Frames from the first to the last point.
 * @param {LabelObject} object
 */
export function lifetime({ points }) {
  return points.length === 0 ? 0 : points[points.length - 1][0] - points[0][0] + 1;
}
