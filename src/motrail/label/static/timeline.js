/** A lane per object over time, drawn on a canvas: only what is in sight, whatever there is. */

import { GAP, HAND, indexAt } from "./model.js";
import { Sheet } from "./sheet.js";

/** @typedef {import("./model.js").LabelObject} LabelObject */

export const NAMES = 148;
const LANE = 18;
const RULER = 20;
const BAR = 8;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];

export class Timeline extends Sheet {
  /**
   * @param {import("./room.js").Room} room
   * @param {HTMLCanvasElement} canvas
   */
  constructor(room, canvas) {
    super(canvas);
    this.room = room;
    this.first = 1;
    this.last = 100;
    this.scroll = 0;
    this.dragging = /** @type {""|"scrub"|"bar"} */ ("");
    room.on("objects status picture", () => this.redraw());
    room.on("frame", () => this.follow());
    room.on("selection", () => this.showSelected());
    room.on("sequence", () => this.whole());
    room.on("lanesIn", () => this.zoom(0.7, this.x(room.frame)));
    room.on("lanesOut", () => this.zoom(1 / 0.7, this.x(room.frame)));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", (event) => this.twice(event));
  }

  whole() {
    this.first = 1;
    this.last = Math.max(2, this.room.sequence.length);
    this.scroll = 0;
    this.redraw();
  }

  get span() {
    return Math.max(1, this.size.width - NAMES - BAR - 20);
  }

  /** @param {number} frame */
  x(frame) {
    return NAMES + 6 + ((frame - this.first) / (this.last - this.first)) * this.span;
  }

  /** @param {number} x */
  frameAt(x) {
    return this.first + ((x - NAMES - 6) / this.span) * (this.last - this.first);
  }

  /**
   * @param {number} factor of the frames in sight
   * @param {number} x stays where it is
   */
  zoom(factor, x) {
    const { length } = this.room.sequence;
    const middle = this.frameAt(x);
    const wide = Math.min(length - 1, Math.max(10, (this.last - this.first) * factor));
    const share = (middle - this.first) / (this.last - this.first);
    this.window(middle - share * wide, wide);
  }

  /**
   * @param {number} first
   * @param {number} wide frames
   */
  window(first, wide) {
    const { length } = this.room.sequence;
    this.first = Math.max(1, Math.min(length - wide, first));
    this.last = Math.max(this.first + 1, this.first + wide);
    this.redraw();
    this.room.emit("window");
  }

  /** Keeps the frame in sight. */
  follow() {
    const { frame } = this.room;
    const wide = this.last - this.first;
    if (frame < this.first || frame > this.last) this.window(frame - wide / 2, wide);
    this.redraw();
  }

  showSelected() {
    const id = this.room.selection.at(-1);
    const row = this.room.listed.findIndex((object) => object.id === id);
    const room = this.size.height - RULER;
    if (row >= 0 && row * LANE < this.scroll) this.scroll = row * LANE;
    else if (row >= 0 && (row + 1) * LANE > this.scroll + room) {
      this.scroll = (row + 1) * LANE - room;
    }
    this.redraw();
  }

  /** @param {MouseEvent} event */
  place(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (!this.room.sequence || event.button > 1) return;
    const [x, y] = this.place(event);
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    if (x > this.size.width - BAR - 4 && y > RULER) {
      this.dragging = "bar";
    } else {
      const object = y > RULER ? this.room.listed[this.rowAt(y)] : undefined;
      if (object) {
        const rest = this.room.selection.filter((id) => id !== object.id);
        this.room.select(event.shiftKey ? [...rest, object.id] : [object.id]);
      }
      if (x >= NAMES) this.dragging = "scrub";
    }
    this.move(event);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const [x, y] = this.place(event);
    if (this.dragging === "scrub") {
      this.room.goTo(this.frameAt(x), { scrubbing: true });
    } else if (this.dragging === "bar") {
      const share = (y - RULER) / Math.max(1, this.size.height - RULER);
      this.scrollTo(share * this.room.listed.length * LANE - (this.size.height - RULER) / 2);
    }
  }

  /** @param {PointerEvent} event */
  up(event) {
    const [x] = this.place(event);
    if (this.dragging === "scrub") this.room.goTo(this.frameAt(x));
    this.dragging = "";
  }

  /** @param {MouseEvent} event */
  twice(event) {
    const [x, y] = this.place(event);
    const object = this.room.listed[this.rowAt(y)];
    if (x < NAMES && y > RULER && object?.points.length) this.room.goTo(object.points[0][0]);
  }

  /** @param {number} y */
  rowAt(y) {
    return Math.floor((y - RULER + this.scroll) / LANE);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    if (!this.room.sequence) return;
    const amount = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    const sideways = event.deltaX || (event.shiftKey ? amount : 0);
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(amount * 0.002), this.place(event)[0]);
    else if (sideways) {
      const wide = this.last - this.first;
      this.window(this.first + (sideways / this.span) * wide, wide);
    } else this.scrollTo(this.scroll + amount);
  }

  /** @param {number} to */
  scrollTo(to) {
    const most = this.room.listed.length * LANE - (this.size.height - RULER);
    this.scroll = Math.max(0, Math.min(most, to));
    this.redraw();
  }

  draw() {
    const { context: c, room } = this;
    const { width, height } = this.size;
    this.clear("#14171d");
    if (!room?.sequence) return;
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "middle";
    const objects = room.listed;
    this.scroll = Math.max(0, Math.min(objects.length * LANE - (height - RULER), this.scroll));
    const from = Math.floor(this.scroll / LANE);
    const to = Math.min(objects.length, Math.ceil((this.scroll + height - RULER) / LANE));
    for (let row = from; row < to; row += 1) {
      this.drawLane(objects[row], RULER + row * LANE - this.scroll, row);
    }
    this.drawRange(height);
    this.drawRuler(width);
    this.drawScrollBar(objects.length * LANE);
    this.drawHead(height);
    if (objects.length === 0) {
      c.fillStyle = "#a3acba";
      c.fillText("No objects yet — drag on the picture to draw one", NAMES + 16, RULER + 16);
    }
  }

  /**
   * @param {LabelObject} object
   * @param {number} top
   * @param {number} row
   */
  drawLane(object, top, row) {
    const { context: c, room } = this;
    const chosen = room.selection.includes(object.id);
    const colour = object.ignore ? "#8b94a3" : room.colour(object.class);
    c.fillStyle = chosen ? "#2a3850" : row % 2 ? "#181c23" : "#14171d";
    c.fillRect(0, top, this.size.width, LANE);
    c.save();
    c.beginPath();
    c.rect(NAMES, top, this.size.width - NAMES - BAR - 2, LANE);
    c.clip();
    if (room.hidden.has(object.id)) c.globalAlpha = 0.35;
    for (const span of room.doc.spans(object)) {
      if (span.last >= this.first && span.first <= this.last) {
        this.drawSpan(span, top, colour, object.status === "proposed");
      }
    }
    this.drawPoints(object, top, chosen);
    c.restore();
    this.drawName(object, top, colour);
  }

  /**
   * @param {import("./model.js").Span} span
   * @param {number} top
   * @param {string} colour
   * @param {boolean} proposed
   */
  drawSpan(span, top, colour, proposed) {
    const { context: c } = this;
    const x = Math.max(NAMES - 4, this.x(span.first));
    const width = Math.max(3, Math.min(this.size.width, this.x(span.last)) - x);
    const alpha = c.globalAlpha;
    c.globalAlpha = alpha * (proposed ? 0.18 : span.machine ? 0.38 : 0.72);
    c.fillStyle = colour;
    c.fillRect(x, top + 5, width, LANE - 10);
    c.globalAlpha = alpha;
    if (span.occluded) this.hatch(x, top + 4, width, LANE - 8);
    if (proposed) {
      c.strokeStyle = colour;
      c.lineWidth = 1;
      c.setLineDash([4, 3]);
      c.strokeRect(x + 0.5, top + 4.5, Math.max(1, width - 1), LANE - 9);
      c.setLineDash([]);
    }
  }

  /** @type {(x: number, y: number, width: number, height: number) => void} */
  hatch(x, y, width, height) {
    const { context: c } = this;
    c.save();
    c.beginPath();
    c.rect(x, y, width, height);
    c.clip();
    c.strokeStyle = "#0c0e12";
    c.lineWidth = 1.5;
    c.beginPath();
    for (let at = x - (x % 5) - height; at < x + width; at += 5) {
      c.moveTo(at, y + height);
      c.lineTo(at + height, y);
    }
    c.stroke();
    c.restore();
  }

  /**
   * @param {LabelObject} object
   * @param {number} top
   * @param {boolean} chosen
   */
  drawPoints({ points }, top, chosen) {
    const { context: c } = this;
    const middle = top + LANE / 2;
    let free = -Infinity;
    const from = Math.max(0, indexAt(points, this.first));
    for (let i = from; i < points.length && points[i][0] <= this.last; i += 1) {
      const [frame, , , , , flags] = points[i];
      if (!(flags & (HAND | GAP))) continue;
      const x = this.x(frame);
      if (x < free) continue;
      free = x + 2;
      const size = chosen ? 4.5 : 3.5;
      c.fillStyle = chosen ? "#ffffff" : "#dfe4ec";
      c.beginPath();
      c.moveTo(x, middle - size);
      c.lineTo(x + size, middle);
      c.lineTo(x, middle + size);
      c.lineTo(x - size, middle);
      c.fill();
      if (flags & GAP) c.fillRect(x + size + 1, middle - 5, 1.5, 10);
    }
  }

  /**
   * @param {LabelObject} object
   * @param {number} top
   * @param {string} colour
   */
  drawName(object, top, colour) {
    const { context: c, room } = this;
    c.save();
    c.beginPath();
    c.rect(0, top, NAMES - 6, LANE);
    c.clip();
    c.fillStyle = colour;
    c.fillRect(8, top + 5, 8, LANE - 10);
    c.fillStyle = room.hidden.has(object.id) ? "#7f8999" : "#e6e9ef";
    c.fillText(`#${object.id}`, 22, top + LANE / 2 + 0.5);
    c.fillStyle = "#a3acba";
    const what = object.ignore ? "ignore region" : object.class;
    c.fillText(what, 58, top + LANE / 2 + 0.5);
    c.restore();
  }

  /** @param {number} width */
  drawRuler(width) {
    const { context: c, room } = this;
    c.fillStyle = "#1b1f27";
    c.fillRect(0, 0, width, RULER);
    const least = 56 / (this.span / (this.last - this.first));
    const step = STEPS.find((s) => s >= least) ?? STEPS[STEPS.length - 1];
    c.fillStyle = "#a3acba";
    c.strokeStyle = "#3a4250";
    c.lineWidth = 1;
    c.beginPath();
    for (let frame = Math.ceil(this.first / step) * step; frame <= this.last; frame += step) {
      const x = Math.round(this.x(frame)) + 0.5;
      c.moveTo(x, RULER - 5);
      c.lineTo(x, RULER);
      const text = String(frame);
      const most = width - c.measureText(text).width - 3;
      c.fillText(text, Math.min(x + 3, most), RULER / 2);
    }
    c.stroke();
    c.fillText(`${room.listed.length} of ${room.doc.objects.size} objects`, 8, RULER / 2 + 0.5);
  }

  /** @param {number} height */
  drawRange(height) {
    const { range } = this.room;
    if (!range) return;
    const [x1, x2] = [this.x(range[0] - 0.5), this.x(range[1] + 0.5)];
    this.context.fillStyle = "rgba(255, 209, 102, 0.16)";
    this.context.fillRect(Math.max(NAMES, x1), 0, x2 - Math.max(NAMES, x1), height);
    this.context.fillStyle = "#ffd166";
    for (const x of [x1, x2 - 2]) if (x >= NAMES) this.context.fillRect(x, 0, 2, height);
  }

  /** @param {number} whole height of all lanes */
  drawScrollBar(whole) {
    const room = this.size.height - RULER;
    if (whole <= room) return;
    const { context: c } = this;
    const x = this.size.width - BAR;
    c.fillStyle = "#1b1f27";
    c.fillRect(x - 2, RULER, BAR + 2, room);
    const size = Math.max(16, (room / whole) * room);
    c.fillStyle = "#4b5567";
    const at = RULER + (this.scroll / (whole - room)) * (room - size);
    c.fillRect(x, at, BAR - 2, size);
  }

  /** @param {number} height */
  drawHead(height) {
    const { context: c, room } = this;
    const x = Math.round(this.x(room.frame));
    if (x < NAMES || x > this.size.width - BAR) return;
    c.fillStyle = "#ff7a59";
    c.fillRect(x - 0.5, 0, 1.5, height);
    const text = String(room.frame);
    const width = c.measureText(text).width + 8;
    c.fillRect(x - width / 2, 1, width, 15);
    c.fillStyle = "#14171d";
    c.fillText(text, x - width / 2 + 4, 9);
  }
}
