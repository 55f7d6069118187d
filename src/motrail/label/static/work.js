/** What the machine does and takes time: propagate, pre-label, save. Escape stops it. */

import { ApiError, call, get, post } from "./api.js";
import { boxAt } from "./model.js";

/** @typedef {import("./room.js").Room} Room */

const LOOK = 120;
const MEND = 400;

const SAYS = {
  propagate: "Propagating", prelabel: "Pre-labelling", save: "Writing the dataset",
};

export class Work {
  /** @param {Room} room */
  constructor(room) {
    this.room = room;
    room.addEventListener("propagate", (event) =>
      this.propagate(/** @type {CustomEvent} */ (event).detail));
    room.on("prelabel", () => this.prelabel());
    room.on("save", () => this.save());
    room.on("stop", () => this.stop());
  }

  /** @param {1|-1} direction */
  async propagate(direction) {
    const { room } = this;
    const here = room.selectedObjects.filter(({ points }) => boxAt(points, room.frame));
    const some = here.length > 0;
    if (room.selection.length > 0 && !some) {
      room.say("What is selected is not there at this frame; select nothing to propagate all.");
      return;
    }
    const end = direction > 0 ? room.sequence.length : 1;
    const [first, last] = room.range ?? [0, 0];
    const to = room.range && first <= room.frame && room.frame <= last ?
      (direction > 0 ? last : first) : end;
    if (to === room.frame) return;
    const objects = some ? here.map(({ id }) => id) : null;
    await this.run({ kind: "propagate", objects, from: room.frame, to });
  }

  async prelabel() {
    const { room } = this;
    if (!room.project.model) {
      room.say("Start with --model to pre-label: `motrail label … --model model.tar.gz`.");
      return;
    }
    const [first, last] = room.range ?? [1, room.sequence.length];
    await this.run({ kind: "prelabel", first, last });
  }

  async save() {
    const { room } = this;
    if (room.work) return;
    if (room.sync && room.sync.waiting > 0 && !(await room.sync.settled())) {
      room.say("Some edits have not reached the server yet: save again when it is back.", "warning");
      return;
    }
    await this.follow("save", () => post("/api/save", { tab: room.tab }));
  }

  /** @param {{kind: string}} order */
  async run(order) {
    const { room } = this;
    if (!room.writable || !room.sync) {
      room.say(room.whyReadOnly(), "warning");
      return;
    }
    if (!(await room.sync.settled())) {
      room.say("The server does not answer.", "error");
      return;
    }
    const { index } = room.sequence;
    const body = { tab: room.tab, base: room.sync.revision, ...order };
    await this.follow(order.kind, () => post(`/api/sequences/${index}/work`, body));
  }

  /**
   * @param {string} kind
   * @param {() => Promise<{work: number|string}>} start
   */
  async follow(kind, start) {
    const { room } = this;
    const { sync } = room;
    room.work = { kind, says: SAYS[kind] ?? kind, done: 0, total: 0, message: "", stopping: false };
    if (kind !== "save" && sync) sync.working = true;
    room.emit("status");
    let state = null;
    try {
      const { work } = await start();
      room.work.id = work;
      if (room.work.stopping) await this.stop();
      state = await this.watch(work);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      room.say(error.message, "error");
    } finally {
      room.work = null;
      room.live = new Map();
      if (sync) sync.working = false;
      if (kind !== "save") await sync?.recover().catch((error) => room.failed(error));
      room.emit("status");
      room.emit("live");
    }
    if (state) this.said(kind, state);
  }

  /**
   * @param {number|string} work
   * @returns {Promise<any>} its last state
   */
  async watch(work) {
    const { room } = this;
    for (;;) {
      const state = await get(`/api/work/${work}`);
      if (state.state !== "running") return state;
      Object.assign(room.work, { done: state.done, total: state.total, message: state.message });
      this.show(state);
      room.emit("status");
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  /**
   * Shows where a running propagation is: the picture goes along.
   * @param {{frame: number|null, points: Record<string, number[]|null>|null}} state the latest
   *   frame, and of each object `[frame, x, y, w, h, …]` or `[x, y, w, h]`
   */
  show({ frame, points }) {
    if (!points || !frame) return;
    const { room } = this;
    room.live = new Map();
    for (const [id, found] of Object.entries(points)) {
      if (!Array.isArray(found)) continue;
      const [x, y, w, h] = found.length === 4 ? found : found.slice(1);
      room.live.set(Number(id), { x, y, w, h });
    }
    room.goTo(frame, { scrubbing: true });
    room.emit("live");
  }

  /**
   * @param {string} kind
   * @param {any} state
   */
  said(kind, state) {
    const { room } = this;
    room.goTo(room.frame);
    if (state.state === "failed") room.say(state.message || "The work failed.", "error");
    else if (kind === "save" && state.state === "done") {
      room.say([`Dataset written: ${room.project.dataset}`, ...state.result.notes].join(". "));
    } else if (kind === "save") room.say("Stopped; the dataset is as it was.");
    else if (state.state === "stopped") room.say(`Stopped; what was done so far is kept.`);
    else room.say([`${SAYS[kind] ?? kind}: done.`, ...(state.result?.notes ?? [])].join(" "));
  }

  async stop() {
    const { room } = this;
    if (!room.work) return;
    room.work.stopping = true;
    room.emit("status");
    if (room.work.id === undefined) return;
    await call("DELETE", `/api/work/${room.work.id}`).catch((error) => room.failed(error));
  }
}

/** Suggestions: what to look at next. */
export class Suggestions {
  /** @param {Room} room */
  constructor(room) {
    this.room = room;
    this.at = -1;
    this.asked = "";
    room.addEventListener("suggest", (event) =>
      this.step(/** @type {CustomEvent} */ (event).detail));
    room.on("sequence", () => {
      this.at = -1;
      this.asked = "";
    });
    room.on("status", () => this.mended());
  }

  /** In a review, an error that was mended leaves the list once the edit is stored. */
  mended() {
    const { room } = this;
    const { sync } = room;
    if (!room.againstTruth || !sync || sync.waiting > 0 || room.work) return;
    if (room.errorsOf === `${room.sequence.index}@${sync.revision}`) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      const looked = room.errors[this.at];
      await room.readErrors();
      // The place in the list stays: of the error itself, else the one before the next.
      const again = looked ? room.errors.findIndex((error) => error.kind === looked.kind &&
        error.frame === looked.frame && error.message === looked.message) : -1;
      this.at = again >= 0 ? again : Math.min(this.at, room.errors.length) - 1;
      room.emit("suggestions");
    }, MEND);
  }

  /** Asks the server when labels changed since. */
  async refresh() {
    const { room } = this;
    if (!room.sync || !room.sequence) return;
    const asked = `${room.sequence.index}@${room.sync.revision}`;
    if (asked === this.asked) return;
    try {
      const answer = await get(`/api/sequences/${room.sequence.index}/suggestions?after=0`);
      this.asked = asked;
      this.at = -1;
      room.suggestions = answer.suggestions;
      room.emit("suggestions");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 501) room.failed(error);
      else room.say("This server makes no suggestions.");
    }
  }

  /** @param {1|-1} direction */
  async step(direction) {
    const { room } = this;
    if (room.againstTruth) {
      if (room.errors.length > 0) this.go(room.errors, direction);
      else room.say("No error is left.");
      return;
    }
    await this.refresh();
    if (room.suggestions.length === 0) room.say("Nothing to look at stands out.");
    else this.go(room.suggestions, direction);
  }

  /**
   * @param {{frame: number, objects: number[]}[]} places
   * @param {1|-1} direction
   */
  go(places, direction) {
    const from = direction < 0 && this.at < 0 ? 0 : this.at;
    this.at = (from + direction + places.length) % places.length;
    this.show(places[this.at]);
  }

  /** @param {{frame: number, objects: number[], truth?: number[], reason?: string,
   *   message?: string}} place */
  show(place) {
    const { room } = this;
    room.goTo(place.frame);
    if (place.truth) {
      room.showTruth = true;
      room.truthMarked = place.truth;
    }
    room.select(place.objects ?? []);
    room.emit("reveal");
    room.emit("suggestions");
    room.say(`Frame ${place.frame}: ${place.reason ?? place.message ?? ""}`);
  }
}
