/** The picture with its boxes, drawn at most once an animation frame. */

import { boxAt, GAP, ghostAt } from "./model.js";
import { fit, HANDLES, panned, reveal, toPicture, zoomed } from "./view.js";

/** @typedef {import("./model.js").Box} Box */
/** @typedef {import("./model.js").LabelObject} LabelObject */
/** @typedef {{box: Box, text: string, colour: string, bold: boolean, below?: boolean}} Tag */

const HANDLE = 4;
const GRIP = 9;

export class Stage {
  /**
   * @param {import("./room.js").Room} room
   * @param {HTMLCanvasElement} canvas
   */
  constructor(room, canvas) {
    this.room = room;
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.view = { scale: 1, left: 0, top: 0 };
    this.fitted = true;
    this.size = { width: 1, height: 1 };
    /** @type {{id: number|null, box: Box, ignore?: boolean}|null} what is being dragged */
    this.draft = null;
    /** @type {Box|null} */
    this.band = null;
    this.hover = /** @type {number|null} */ (null);
    this.waiting = false;
    this.shown = /** @type {import("./frames.js").Picture|null} */ (null);
    new ResizeObserver(() => this.resize()).observe(canvas);
    room.on("frame objects selection picture view status live suggestions", () => this.redraw());
    room.on("sequence", () => this.reset());
    room.on("zoomIn", () => this.zoom(1.25));
    room.on("zoomOut", () => this.zoom(0.8));
    room.on("fit", () => this.reset());
    room.on("reveal", () => this.reveal());
  }

  get picture() {
    return this.room.sequence ?? { width: 1, height: 1 };
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = devicePixelRatio || 1;
    this.size = { width: Math.max(1, clientWidth), height: Math.max(1, clientHeight) };
    this.canvas.width = Math.round(this.size.width * ratio);
    this.canvas.height = Math.round(this.size.height * ratio);
    if (this.fitted) this.reset();
    this.draw();
  }

  reset() {
    this.view = fit(this.picture, this.size);
    this.fitted = true;
    this.changed();
  }

  changed() {
    this.room.frames?.setShownWidth(this.picture.width * this.view.scale * (devicePixelRatio || 1));
    this.room.emit("view");
  }

  /**
   * @param {number} factor
   * @param {number} [x] canvas pixels; the middle without it
   * @param {number} [y]
   */
  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const least = fit(this.picture, this.size).scale / 4;
    this.view = zoomed(this.view, factor, x, y, least);
    this.view = panned(this.view, 0, 0, this.picture, this.size);
    this.fitted = false;
    this.changed();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.view = panned(this.view, dx, dy, this.picture, this.size);
    this.fitted = false;
    this.changed();
  }

  reveal() {
    const object = this.room.selected;
    const box = object && boxAt(object.points, this.room.frame);
    if (!box) return;
    this.view = reveal(this.view, box, this.size, this.picture);
    this.redraw();
  }

  /** @type {(x: number, y: number) => [number, number]} */
  at(x, y) {
    return toPicture(this.view, x, y);
  }

  /** The box a drag on the selected object starts from: its own, or where it was last seen. */
  get anchor() {
    const { selected: object, frame } = this.room;
    if (!object || this.room.selection.length !== 1) return null;
    const box = boxAt(object.points, frame);
    if (box) return { object, box, ghost: false };
    const last = object.points.at(-1);
    const gone = last && last[0] < frame && last[5] & GAP;
    const ghost = gone ? null : ghostAt(object.points, frame);
    return ghost && { object, box: ghost, ghost: true };
  }

  /**
   * The handle of the selected box under a canvas point.
   * @param {number} x
   * @param {number} y
   */
  handleAt(x, y) {
    const { anchor } = this;
    if (!anchor || !this.room.writable) return null;
    const found = this.handles(anchor.box).filter(
      ({ at }) => Math.abs(at[0] - x) <= GRIP && Math.abs(at[1] - y) <= GRIP,
    );
    // Corners before edges: on a small box they lie on each other.
    found.sort((a, b) => Math.abs(b.handle[0] * b.handle[1]) - Math.abs(a.handle[0] * a.handle[1]));
    return found[0]?.handle ?? null;
  }

  /** @param {Box} box */
  handles(box) {
    const { scale, left, top } = this.view;
    return HANDLES.map((handle) => ({
      handle,
      at: [
        left + (box.x + (box.w * (handle[0] + 1)) / 2) * scale,
        top + (box.y + (box.h * (handle[1] + 1)) / 2) * scale,
      ],
    }));
  }

  /**
   * The object under a canvas point: the selected one, else the smallest.
   * @param {number} x
   * @param {number} y
   * @returns {LabelObject|null}
   */
  hit(x, y) {
    const [px, py] = this.at(x, y);
    const { anchor } = this;
    const slack = 3 / this.view.scale;
    /** @param {Box} b */
    const inside = (b) =>
      px >= b.x - slack && py >= b.y - slack && px <= b.x + b.w + slack && py <= b.y + b.h + slack;
    if (anchor && inside(anchor.box)) return anchor.object;
    const found = this.room.boxes.filter(({ box }) => inside(box));
    found.sort((a, b) => a.box.w * a.box.h - b.box.w * b.box.h);
    return (found.find(({ object }) => !object.ignore) ?? found[0])?.object ?? null;
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { context: c, room, view } = this;
    const ratio = devicePixelRatio || 1;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = "#0c0e12";
    c.fillRect(0, 0, this.size.width, this.size.height);
    if (!room.sequence) return;
    this.drawPicture();
    c.font = "600 11px system-ui, sans-serif";
    c.textBaseline = "middle";
    /** @type {Tag[]} */
    const tags = [];
    this.drawTruth(tags);
    for (const { object, box } of room.boxes) {
      const shown = this.draft?.id === object.id ? { ...box, ...this.draft.box } : box;
      this.drawBox(object, shown, tags);
    }
    this.drawGhost();
    this.drawLive();
    tags.forEach((tag) => this.drawTag(tag));
    if (this.draft?.id === null) {
      this.outline(this.draft.box, room.colour(room.currentClass), 2, [4, 3]);
    }
    if (this.band) this.outline(this.band, "#ffffff", 1, [3, 3]);
    this.canvas.dataset.scale = String(view.scale);
    this.canvas.dataset.left = String(view.left);
    this.canvas.dataset.top = String(view.top);
    this.canvas.dataset.frame = String(room.frame);
    this.canvas.dataset.picture = String(this.shown?.frame ?? "");
  }

  drawPicture() {
    const { context: c, room, view } = this;
    const { width, height } = this.picture;
    const next = room.frames?.picture(room.frame) ?? null;
    // The last picture stays until the next has come: no flash between two frames.
    if (next) this.shown = next;
    else if (this.shown && !this.shown.bitmap.width) this.shown = null;
    c.imageSmoothingEnabled = view.scale < 3;
    c.imageSmoothingQuality = "high";
    if (this.shown) {
      const { bitmap } = this.shown;
      c.drawImage(bitmap, view.left, view.top, width * view.scale, height * view.scale);
    } else {
      c.fillStyle = "#171b22";
      c.fillRect(view.left, view.top, width * view.scale, height * view.scale);
    }
  }

  /**
   * @param {Box} box
   * @param {string} colour
   * @param {number} width
   * @param {number[]} dash
   */
  outline(box, colour, width, dash = []) {
    const { context: c, view } = this;
    const place = [
      view.left + box.x * view.scale,
      view.top + box.y * view.scale,
      box.w * view.scale,
      box.h * view.scale,
    ];
    c.setLineDash(dash);
    // A dark line beneath keeps the colour apart from any picture.
    c.strokeStyle = "rgba(0, 0, 0, 0.55)";
    c.lineWidth = width + 2;
    c.strokeRect(...place);
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.strokeRect(...place);
    c.setLineDash([]);
  }

  /**
   * @param {LabelObject} object
   * @param {import("./model.js").Shown} box
   * @param {Tag[]} tags
   */
  drawBox(object, box, tags) {
    const { room, context: c } = this;
    const chosen = room.selection.includes(object.id);
    const colour = object.ignore ? "#aab2bf" : room.colour(object.class);
    const dash = object.status === "proposed" ? [7, 4] : box.occluded ? [2, 3] : [];
    if (object.ignore) this.fill(box, "rgba(170, 178, 191, 0.22)");
    else if (chosen || this.hover === object.id) {
      c.globalAlpha = chosen ? 0.16 : 0.1;
      this.fill(box, colour);
      c.globalAlpha = 1;
    }
    this.outline(box, colour, chosen ? 2.5 : box.kind === "hand" ? 2 : 1.25, dash);
    if (chosen && room.writable && room.selection.length === 1) this.drawHandles(box);
    const mark = box.kind === "hand" ? "◆ " : "";
    const what = object.ignore ? "ignore" : object.class;
    const score = object.status === "proposed" && object.score !== null ?
      ` ${object.score.toFixed(2)}` : "";
    const small = box.w * this.view.scale < 34 && !chosen;
    const text = small ? `${object.id}` : `${mark}#${object.id} ${what}${score}`;
    if (!small || box.w * this.view.scale > 14) tags.push({ box, text, colour, bold: chosen });
  }

  /**
   * @param {Box} box
   * @param {string} style
   */
  fill(box, style) {
    const { context: c, view } = this;
    c.fillStyle = style;
    const { scale } = view;
    c.fillRect(view.left + box.x * scale, view.top + box.y * scale, box.w * scale, box.h * scale);
  }

  /** @param {Box} box */
  drawHandles(box) {
    const { context: c } = this;
    for (const { at } of this.handles(box)) {
      c.fillStyle = "#ffffff";
      c.strokeStyle = "#0c0e12";
      c.lineWidth = 1;
      c.fillRect(at[0] - HANDLE, at[1] - HANDLE, 2 * HANDLE, 2 * HANDLE);
      c.strokeRect(at[0] - HANDLE, at[1] - HANDLE, 2 * HANDLE, 2 * HANDLE);
    }
  }

  /** @param {Tag} tag */
  drawTag({ box, text, colour, bold, below }) {
    const { context: c, view } = this;
    const shown = text.length > 32 ? `${text.slice(0, 31)}…` : text;
    const width = c.measureText(shown).width + 8;
    const x = view.left + box.x * view.scale - 1;
    const above = view.top + box.y * view.scale - 16;
    const bottom = view.top + (box.y + box.h) * view.scale;
    const under = Math.min(bottom + 2, this.size.height - 16);
    const y = below ? under : above < 0 ? view.top + box.y * view.scale + 1 : above;
    c.globalAlpha = bold ? 1 : 0.88;
    c.fillStyle = colour;
    c.fillRect(x, y, width, 15);
    c.fillStyle = ink(colour);
    c.fillText(shown, x + 4, y + 8);
    c.globalAlpha = 1;
  }

  drawGhost() {
    const { anchor } = this;
    if (!anchor?.ghost) return;
    const draft = this.draft?.id === anchor.object.id ? this.draft.box : anchor.box;
    this.outline(draft, "#ffffff", 1, [2, 5]);
    this.drawTag({
      box: draft, text: `#${anchor.object.id} not here: drag or E`, colour: "#e6e9ef", bold: false,
    });
    if (this.room.writable) this.drawHandles(draft);
  }

  drawLive() {
    for (const [id, box] of this.room.live) {
      const object = this.room.doc.get(id);
      this.outline(box, object ? this.room.colour(object.class) : "#ffffff", 1.5, [3, 3]);
    }
  }

  /** @param {Tag[]} tags theirs stand below the boxes, those of the tracks above */
  drawTruth(tags) {
    const { truth } = this.room.sync ?? {};
    if (!truth || !this.room.showTruth) return;
    for (const object of truth) {
      const box = boxAt(object.points, this.room.frame);
      if (!box || object.ignore) continue;
      const marked = this.room.truthMarked.includes(object.id);
      this.outline(box, "#ffffff", marked ? 2.5 : 1, marked ? [6, 3] : [1, 3]);
      const text = marked ? `true #${object.id} ${object.class}` : `true #${object.id}`;
      if (marked || box.w * this.view.scale >= 34) {
        tags.push({ box, text, colour: "#ffffff", bold: marked, below: true });
      }
    }
  }
}

/**
 * Black or white, whichever reads better on a colour (WCAG 2.2, relative luminance).
 * @param {string} colour #rrggbb
 */
export function ink(colour) {
  return luminance(colour) > 0.179 ? "#000000" : "#ffffff";
}

/** @param {string} colour #rrggbb */
export function luminance(colour) {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
