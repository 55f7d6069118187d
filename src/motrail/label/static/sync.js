/**
 * Keeps one sequence and the server in step.
 *
 * An edit shows at once, is kept in the browser and goes to the server in order, one at a time.
 * When the server is away the edits wait; when the sequence changed meanwhile it is read again
 * and what waits is put on top, or named where it no longer fits.
 */

import { ApiError, call, get, post } from "./api.js";
import { rebased } from "./document.js";
import { uniqueId, UnsentEdits } from "./store.js";
import { alive } from "./tabs.js";

const HEARTBEAT = 5000;
const RETRY = 1000;

/**
 * @typedef {{
 *   onChange: () => void, onStatus: () => void, onBack: () => void,
 *   onRefused: (refused: {label: string, reason: string}[]) => void,
 *   onShow: (frames: [number, number]) => void,
 * }} Listeners
 */

export class Sync {
  /**
   * @param {import("./document.js").Document} doc
   * @param {{index: number, length: number, name: string}} sequence
   * @param {string} place names dataset and sequence in the browser's storage
   * @param {string} tab
   * @param {Listeners} listeners
   */
  constructor(doc, sequence, place, tab, listeners) {
    this.doc = doc;
    this.sequence = sequence;
    this.path = `/api/sequences/${sequence.index}`;
    this.tab = tab;
    this.listeners = listeners;
    this.unsent = new UnsentEdits(localStorage, place, tab);
    /** @type {Map<string, () => void>} how to take an unsent edit back, by its id */
    this.inverses = new Map();
    /** @type {{label: string, patches: import("./edits.js").Patch[]}[]} */
    this.takenBack = [];
    this.revision = 0;
    this.undoLabel = /** @type {string|null} */ (null);
    this.redoLabel = /** @type {string|null} */ (null);
    this.held = false;
    this.offline = false;
    this.unknownToken = false;
    this.sending = /** @type {string|null} */ (null);
    this.tried = /** @type {Set<string>} */ (new Set());
    this.pumping = /** @type {Promise<void>|null} */ (null);
    this.recovering = /** @type {Promise<void>|null} */ (null);
    this.working = false;
    this.closed = false;
    this.timer = 0;
  }

  /** Reads the sequence; edits left from before a reload or a crash are sent or put on top. */
  async open() {
    await this.renew(false);
    await this.recover();
    this.beat();
    void this.pump();
  }

  /**
   * The first waiting edit may have reached the server before the crash: its id and its old base
   * tell. The server answers a known id as it did then; a stale base says that it never came.
   */
  async resume() {
    const first = this.unsent.edits[0];
    if (!first) return;
    try {
      await post(`${this.path}/edits`, { tab: this.tab, ...first });
      this.unsent.shift();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Reads the sequence anew and puts the waiting edits on top. */
  async read() {
    const answer = await get(this.path);
    this.doc.load(answer, this.sequence.length);
    this.took(answer);
    this.truth = answer.truth ?? null;
    this.inverses.clear();
    this.takenBack = [];
    const renamed = new Map();
    const refused = [];
    const kept = [];
    for (const edit of this.unsent.edits) {
      const patches = rebased(this.doc, edit.patches, renamed);
      try {
        this.inverses.set(edit.edit_id, this.doc.apply(patches));
        kept.push({ ...edit, patches });
      } catch (error) {
        refused.push({ label: edit.label, reason: error.message });
      }
    }
    this.unsent.fill(kept);
    this.listeners.onChange();
    if (refused.length > 0) this.listeners.onRefused(refused);
  }

  /** @param {{revision: number, undo: string|null, redo: string|null}} answer */
  took(answer) {
    this.revision = answer.revision;
    this.undoLabel = answer.undo ?? null;
    this.redoLabel = answer.redo ?? null;
  }

  get writable() {
    return this.held && !this.working;
  }

  /** What the page says about saving. */
  get waiting() {
    return this.unsent.edits.length;
  }

  /**
   * Shows an edit and sends it.
   * @param {import("./edits.js").Edit} edit
   * @param {boolean} fresh false for one that was taken back and is done again
   */
  commit(edit, fresh = true) {
    const takeBack = this.doc.apply(edit.patches);
    const record = { edit_id: uniqueId(), base: this.revision, ...edit };
    this.inverses.set(record.edit_id, takeBack);
    this.unsent.push(record);
    if (fresh) this.takenBack = [];
    this.listeners.onChange();
    void this.pump();
  }

  /** Sends what waits, in order. */
  pump() {
    this.pumping ??= this.drain().finally(() => {
      this.pumping = null;
      this.listeners.onStatus();
    });
    return this.pumping;
  }

  async drain() {
    await this.recovering;
    while (this.held && this.unsent.edits.length > 0 && !this.closed) {
      const edit = this.unsent.edits[0];
      if (!this.tried.has(edit.edit_id)) {
        // A retry keeps its base: the server knows the edit by its id, and a base that moved
        // tells that it never came.
        edit.base = this.revision;
        this.unsent.write();
      }
      this.tried.add(edit.edit_id);
      this.sending = edit.edit_id;
      this.listeners.onStatus();
      try {
        const { edit_id, base, label, patches } = edit;
        const body = { tab: this.tab, base, label, edit_id, patches };
        this.took(await post(`${this.path}/edits`, body));
        this.answered();
        this.unsent.shift();
        this.inverses.delete(edit_id);
        this.tried.delete(edit_id);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (!(await this.failed(edit, error))) return;
      } finally {
        this.sending = null;
      }
    }
  }

  /**
   * @param {import("./store.js").Unsent} edit
   * @param {ApiError} error
   * @returns {Promise<boolean>} whether to go on sending
   */
  async failed(edit, error) {
    if (error.passing || error.unknownToken) {
      this.away(error);
      return false;
    }
    if (error.code === "locked") {
      this.held = false;
      return false;
    }
    if (error.code !== "stale") {
      this.unsent.shift();
      this.listeners.onRefused([{ label: edit.label, reason: error.message }]);
    }
    this.tried.delete(edit.edit_id);
    try {
      await this.read();
    } catch (again) {
      if (!(again instanceof ApiError)) throw again;
      this.away(again);
      return false;
    }
    return true;
  }

  /** @param {ApiError} error */
  away(error) {
    this.offline = error.passing;
    this.unknownToken = error.unknownToken;
    this.listeners.onStatus();
    this.beat(RETRY);
  }

  answered() {
    const back = this.offline || this.unknownToken;
    this.offline = false;
    this.unknownToken = false;
    if (back) this.listeners.onBack();
  }

  /** @param {number} [wait] milliseconds */
  beat(wait = HEARTBEAT) {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.timer = setTimeout(async () => {
      await this.renew(false);
      this.beat(this.offline || this.unknownToken ? RETRY : HEARTBEAT);
    }, wait);
  }

  /**
   * Renews the lock, or asks for it; a revision we do not know is read.
   * @param {boolean} take over from another tab
   */
  async renew(take) {
    const before = this.held;
    try {
      const answer = await post(`${this.path}/lock`, { tab: this.tab, take });
      const back = this.offline || this.unknownToken;
      this.answered();
      this.held = answer.held;
      const moved = answer.revision !== this.revision && !this.sending && !this.working;
      if (this.revision > 0 && moved && (!this.tried.size || back)) await this.recover();
      else if (!before && this.held && this.revision > 0) await this.recover();
      if (this.held) void this.pump();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.away(error);
    }
    this.listeners.onStatus();
  }

  /** After an absence: what was on its way is settled first, then the sequence is read. */
  recover() {
    this.recovering ??= this.settle().finally(() => {
      this.recovering = null;
    });
    return this.recovering;
  }

  async settle() {
    if (this.held) {
      await this.unsent.adopt(alive);
      await this.resume();
    }
    await this.read();
    this.tried.clear();
  }

  /** Lets go of the lock; `keepalive` so that it also goes when the page closes. */
  release() {
    if (!this.held) return;
    const options = { keepalive: true };
    call("DELETE", `${this.path}/lock`, { tab: this.tab }, options).catch(() => {});
    this.held = false;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.release();
  }

  get canUndo() {
    return this.waiting > 0 || this.undoLabel !== null;
  }

  get canRedo() {
    return this.takenBack.length > 0 || (this.waiting === 0 && this.redoLabel !== null);
  }

  async undo() {
    const last = this.unsent.edits.at(-1);
    const takeBack = last && this.inverses.get(last.edit_id);
    if (last && takeBack && !this.tried.has(last.edit_id)) {
      this.unsent.pop();
      takeBack();
      this.inverses.delete(last.edit_id);
      this.takenBack.push({ label: last.label, patches: last.patches });
      this.listeners.onChange();
      return last.label;
    }
    return this.step("undo", this.undoLabel);
  }

  async redo() {
    const last = this.takenBack.pop();
    if (last) {
      this.commit(last, false);
      return last.label;
    }
    return this.step("redo", this.redoLabel);
  }

  /**
   * One after the other: a step is based on the revision that the one before left.
   * @param {"undo"|"redo"} way
   * @param {string|null} label
   * @returns {Promise<string|null>}
   */
  step(way, label) {
    const next = (this.stepping ?? Promise.resolve()).then(() => this.stepNow(way, label));
    this.stepping = next.catch(() => null);
    return next;
  }

  /**
   * @param {"undo"|"redo"} way
   * @param {string|null} label
   */
  async stepNow(way, label) {
    if (!(await this.settled())) throw new ApiError(0, "offline", "The server does not answer.");
    const said = (way === "undo" ? this.undoLabel : this.redoLabel) ?? label;
    try {
      const body = { tab: this.tab, base: this.revision };
      const answer = await post(`${this.path}/${way}`, body);
      this.took(answer);
      this.doc.replace(answer);
      this.listeners.onChange();
      if (answer.frames) this.listeners.onShow(answer.frames);
    } catch (error) {
      if (error.code === "stale") await this.read();
      if (error instanceof ApiError && (error.passing || error.unknownToken)) this.away(error);
      throw error;
    }
    return said;
  }

  /** Whether everything has reached the server, waiting for what is on its way. */
  async settled() {
    await this.pump();
    return this.waiting === 0 && !this.offline && !this.unknownToken;
  }
}
