/** The mouse on the picture: select, draw, move, resize, pan, zoom. */

import { draw, place } from "./edits.js";
import { iou, tidy } from "./model.js";
import { between, pulled } from "./view.js";

/** Canvas pixels a press may wander and still be a click. */
const SLIP = 3;
/** A drag that makes a box smaller than this (canvas pixels) draws nothing. */
const LEAST = 5;
/** Two boxes of one class that overlap so much are probably one object. */
const DUPLICATE = 0.8;

const CURSORS = {
  "-1,-1": "nwse-resize", "1,1": "nwse-resize", "1,-1": "nesw-resize", "-1,1": "nesw-resize",
  "0,-1": "ns-resize", "0,1": "ns-resize", "-1,0": "ew-resize", "1,0": "ew-resize",
};

export class Pointer {
  /**
   * @param {import("./room.js").Room} room
   * @param {import("./stage.js").Stage} stage
   */
  constructor(room, stage) {
    this.room = room;
    this.stage = stage;
    this.space = false;
    this.panned = false;
    /** @type {{kind: string, x: number, y: number, moved: boolean, box?: any, handle?: any,
     *   id?: number}|null} */
    this.drag = null;
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("auxclick", (event) => event.preventDefault());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    room.on("drawHere", () => this.drawHere());
  }

  /** @param {MouseEvent} event */
  place(event) {
    const { left, top } = this.stage.canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  /** @param {PointerEvent} event */
  down(event) {
    const { stage, room } = this;
    if (!room.sequence) return;
    stage.canvas.focus();
    const [x, y] = this.place(event);
    stage.canvas.setPointerCapture(event.pointerId);
    if (event.button === 1 || this.space || event.button === 2) {
      this.drag = { kind: "pan", x, y, moved: false };
      this.panned = true;
    } else if (event.button === 0) {
      this.press(event, x, y);
    }
    this.cursor(x, y);
  }

  /**
   * @param {PointerEvent} event
   * @param {number} x
   * @param {number} y
   */
  press(event, x, y) {
    const { stage, room } = this;
    const drawing = room.armed !== "" || event.ctrlKey || event.metaKey;
    const handle = drawing ? null : stage.handleAt(x, y);
    const { anchor } = stage;
    if (handle && anchor) {
      this.drag = { kind: "size", x, y, moved: false, handle, box: anchor.box, id: anchor.object.id };
      return;
    }
    const object = drawing ? null : stage.hit(x, y);
    if (object && event.shiftKey) {
      const rest = room.selection.filter((id) => id !== object.id);
      room.select(rest.length < room.selection.length ? rest : [...rest, object.id]);
    } else if (object) {
      if (!(room.selection.length === 1 && room.selection[0] === object.id)) {
        room.select([object.id]);
      }
      this.drag = { kind: "move", x, y, moved: false, box: stage.anchor?.box, id: object.id };
    } else {
      this.drag = { kind: "draw", x, y, moved: false };
    }
  }

  /** @param {PointerEvent} event */
  move(event) {
    const [x, y] = this.place(event);
    const { drag, stage } = this;
    if (!drag) {
      this.hover(x, y);
      return;
    }
    if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < SLIP) return;
    drag.moved = true;
    const [dx, dy] = [(x - drag.x) / stage.view.scale, (y - drag.y) / stage.view.scale];
    if (drag.kind === "pan") {
      stage.pan(x - drag.x, y - drag.y);
      [drag.x, drag.y] = [x, y];
      return;
    }
    if (!this.room.writable) return;
    const id = drag.id ?? null;
    if (drag.kind === "draw") {
      stage.draft = { id: null, box: between(...stage.at(drag.x, drag.y), ...stage.at(x, y)) };
    } else if (drag.kind === "size") {
      stage.draft = { id, box: pulled(drag.box, drag.handle, dx, dy) };
    } else if (drag.box) {
      stage.draft = { id, box: { ...drag.box, x: drag.box.x + dx, y: drag.box.y + dy } };
    }
    stage.redraw();
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  hover(x, y) {
    if (!this.room.sequence) return;
    const id = this.stage.hit(x, y)?.id ?? null;
    if (id !== this.stage.hover) {
      this.stage.hover = id;
      this.stage.redraw();
    }
    this.cursor(x, y);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  cursor(x, y) {
    const { stage, room } = this;
    let cursor = "crosshair";
    const handle = room.armed ? null : stage.handleAt(x, y);
    if (this.drag?.kind === "pan") cursor = "grabbing";
    else if (this.space) cursor = "grab";
    else if (!room.writable) cursor = "default";
    else if (handle) cursor = CURSORS[handle.join(",")];
    else if (!room.armed && stage.hit(x, y)) cursor = "move";
    stage.canvas.style.cursor = cursor;
  }

  /** @param {PointerEvent} event */
  up(event) {
    const { drag, stage, room } = this;
    const draft = stage.draft;
    this.cancel();
    if (!drag || drag.kind === "pan") return;
    if (!drag.moved) {
      if (drag.kind === "draw" && !event.shiftKey && !room.armed) room.select([]);
      return;
    }
    if (!room.writable) {
      room.say(room.whyReadOnly(), "warning");
      return;
    }
    if (!draft) return;
    if (draft.id === null) this.drawn(draft.box);
    else {
      const object = room.doc.get(draft.id);
      const label = drag.kind === "size" ? "resize box" : "move box";
      if (object) room.commit(place(object, room.frame, tidy(draft.box), label));
    }
  }

  cancel() {
    this.drag = null;
    this.stage.draft = null;
    this.stage.redraw();
  }

  /** @param {import("./model.js").Box} box */
  drawn(box) {
    const { room, stage } = this;
    const least = LEAST / stage.view.scale;
    if (box.w < least || box.h < least) return;
    if (!room.currentClass) {
      room.say("Add a class first.", "warning");
      return;
    }
    const ignore = room.armed === "ignore";
    const twin = ignore ? null : room.boxes.find(({ object, box: other }) =>
      object.class === room.currentClass && iou(other, box) > DUPLICATE);
    const id = room.doc.takeId();
    if (!room.commit(draw(id, room.currentClass, room.frame, box, ignore))) return;
    room.armed = "";
    room.select([id]);
    if (twin) {
      const remove = () => {
        const object = room.doc.get(id);
        if (object) room.commit({ label: "delete object", patches: [{ id, delete: true }] });
        room.select([twin.object.id]);
      };
      room.say(`This box lies over #${twin.object.id} of the same class.`, "warning", {
        label: "Remove the new one", run: remove,
      });
    }
  }

  /** A box in the middle of what is seen, for the keyboard: arrows with Alt and Ctrl shape it. */
  drawHere() {
    const { stage } = this;
    const [x1, y1] = stage.at(stage.size.width * 0.42, stage.size.height * 0.35);
    const [x2, y2] = stage.at(stage.size.width * 0.58, stage.size.height * 0.65);
    this.drawn(tidy(between(x1, y1, x2, y2)));
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    if (!this.room.sequence) return;
    const [x, y] = this.place(event);
    const amount = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    if (event.shiftKey) this.stage.pan(-amount, 0);
    else this.stage.zoom(Math.exp(-amount * 0.0016), x, y);
  }
}
