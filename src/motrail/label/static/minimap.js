/** How many boxes there are, frame by frame over the whole sequence, and where we are in it. */

import { NAMES } from "./timeline.js";
import { Sheet } from "./sheet.js";

export class Minimap extends Sheet {
  /**
   * @param {import("./room.js").Room} room
   * @param {HTMLCanvasElement} canvas
   * @param {import("./timeline.js").Timeline} timeline
   */
  constructor(room, canvas, timeline) {
    super(canvas);
    this.room = room;
    this.timeline = timeline;
    this.dragging = false;
    room.on("objects frame sequence window suggestions status", () => this.redraw());
    canvas.addEventListener("pointerdown", (event) => {
      if (!room.sequence) return;
      canvas.setPointerCapture(event.pointerId);
      this.dragging = true;
      this.go(event, true);
    });
    canvas.addEventListener("pointermove", (event) => this.dragging && this.go(event, true));
    canvas.addEventListener("pointerup", (event) => {
      if (this.dragging) this.go(event, false);
      this.dragging = false;
    });
  }

  get wide() {
    return Math.max(1, this.size.width - NAMES - 28);
  }

  /** @param {number} frame */
  x(frame) {
    const { length } = this.room.sequence;
    return NAMES + 6 + ((frame - 1) / Math.max(1, length - 1)) * this.wide;
  }

  /**
   * @param {MouseEvent} event
   * @param {boolean} scrubbing
   */
  go(event, scrubbing) {
    const { left } = this.canvas.getBoundingClientRect();
    const share = (event.clientX - left - NAMES - 6) / this.wide;
    this.room.goTo(1 + share * (this.room.sequence.length - 1), { scrubbing });
  }

  draw() {
    const { context: c, room } = this;
    const { width, height } = this.size;
    this.clear("#1b1f27");
    if (!room?.sequence) return;
    const counts = room.doc.density();
    let most = 0;
    for (const count of counts) if (count > most) most = count;
    this.drawCounts(counts, most);
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "middle";
    c.fillStyle = "#a3acba";
    const here = counts[room.frame] ?? 0;
    c.fillText(`${here} ${here === 1 ? "box" : "boxes"} here, most ${most}`, 8, height / 2);
    c.fillStyle = "#ffd166";
    for (const { frame } of room.suggestions) c.fillRect(this.x(frame) - 1, 0, 2, 4);
    c.fillStyle = "#ff8fa3";
    for (const { frame } of room.errors) c.fillRect(this.x(frame) - 1, 0, 2, 4);
    this.drawWindow(height);
    c.fillStyle = "#ff7a59";
    c.fillRect(this.x(room.frame) - 0.75, 0, 1.5, height);
  }

  /**
   * @param {Uint32Array} counts
   * @param {number} most
   */
  drawCounts(counts, most) {
    const { context: c } = this;
    const { length } = this.room.sequence;
    const { height } = this.size;
    if (most === 0) return;
    c.fillStyle = "#4f7fb8";
    for (let x = 0; x < this.wide; x += 1) {
      const from = 1 + Math.floor((x / this.wide) * length);
      const to = Math.max(from, Math.floor(((x + 1) / this.wide) * length));
      let top = 0;
      for (let frame = from; frame <= to && frame <= length; frame += 1) {
        if (counts[frame] > top) top = counts[frame];
      }
      const tall = (top / most) * (height - 6);
      c.fillRect(NAMES + 6 + x, height - tall, 1, tall);
    }
  }

  /** @param {number} height */
  drawWindow(height) {
    const { first, last } = this.timeline;
    if (first <= 1 && last >= this.room.sequence.length) return;
    const [x1, x2] = [this.x(first), this.x(last)];
    this.context.strokeStyle = "#e6e9ef";
    this.context.lineWidth = 1;
    this.context.strokeRect(x1 + 0.5, 0.5, x2 - x1 - 1, height - 1);
  }
}
