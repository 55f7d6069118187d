/** The list of objects: only the rows in sight are elements, however many there are. */

import { judge } from "./acts.js";
import { el, icon } from "./dom.js";
import { boxAt } from "./model.js";
import { lifetime } from "./room.js";

const ROW = 28;

export class ObjectList {
  /**
   * @param {import("./room.js").Room} room
   * @param {HTMLElement} box
   */
  constructor(room, box) {
    this.room = room;
    this.box = box;
    this.tall = el("div", { class: "tall", role: "presentation" });
    box.append(this.tall);
    this.waiting = false;
    this.pressed = false;
    box.addEventListener("pointerdown", () => {
      this.pressed = true;
      // With Shift a browser extends the selected text instead of moving the focus.
      box.focus({ preventScroll: true });
    });
    window.addEventListener("pointerup", () => {
      this.pressed = false;
      this.redraw();
    });
    box.addEventListener("scroll", () => this.redraw());
    box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => {
      this.reveal();
      this.redraw();
    }).observe(box);
    room.on("objects frame status project sequence", () => this.redraw());
    room.on("selection", () => {
      this.reveal();
      this.redraw();
    });
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      // A row that is replaced between press and release would not be clicked.
      if (!this.pressed) this.draw();
    });
  }

  reveal() {
    const row = this.room.listed.findIndex(({ id }) => id === this.room.selection.at(-1));
    if (row < 0) return;
    const top = row * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + ROW - this.box.clientHeight;
    }
  }

  draw() {
    const { room, box } = this;
    const objects = room.sequence ? room.listed : [];
    this.tall.style.height = `${Math.max(1, objects.length) * ROW}px`;
    const from = Math.max(0, Math.floor(box.scrollTop / ROW) - 2);
    const to = Math.min(objects.length, from + Math.ceil(box.clientHeight / ROW) + 5);
    const rows = [];
    for (let row = from; row < to; row += 1) rows.push(this.row(objects[row], row, objects.length));
    if (objects.length === 0) {
      const none = room.doc.objects.size ? "No object passes the filter." : "No objects yet.";
      rows.push(el("p", { class: "none", text: none }));
    }
    this.tall.replaceChildren(...rows);
    const active = room.selection.at(-1);
    const shown = active !== undefined && this.tall.querySelector(`#object-${active}`);
    if (shown) box.setAttribute("aria-activedescendant", `object-${active}`);
    else box.removeAttribute("aria-activedescendant");
  }

  /**
   * @param {import("./model.js").LabelObject} object
   * @param {number} row
   * @param {number} whole
   */
  row(object, row, whole) {
    const { room } = this;
    const chosen = room.selection.includes(object.id);
    const here = boxAt(object.points, room.frame);
    const hidden = room.hidden.has(object.id);
    const swatch = el("span", { class: "swatch" });
    swatch.style.backgroundColor = object.ignore ? "#8b94a3" : room.colour(object.class);
    const state = here ? (here.occluded ? "occluded" : "here") : "away";
    const node = el("div", {
      id: `object-${object.id}`, role: "option", class: `row ${state} ${hidden ? "hidden-object" : ""}`,
      aria: { selected: chosen, posinset: row + 1, setsize: whole,
        label: `${this.name(object)}, ${hidden ? "hidden" : state}` },
      onclick: (event) => this.choose(object.id, event.shiftKey || event.ctrlKey),
      ondblclick: () => object.points.length && room.goTo(object.points[0][0]),
    }, swatch, el("span", { class: "number", text: `#${object.id}` }),
    el("span", { class: "what", text: object.ignore ? "ignore region" : object.class }),
    el("span", { class: "frames", text: `${lifetime(object)} f` }),
    ...(object.status === "proposed" ? this.verdict(object) : []),
    this.eye(object, hidden));
    node.style.transform = `translateY(${row * ROW}px)`;
    return node;
  }

  /** @param {import("./model.js").LabelObject} object */
  name(object) {
    const proposed = object.status === "proposed" ? "proposed " : "";
    return `#${object.id} ${proposed}${object.ignore ? "ignore region" : object.class}`;
  }

  /** @param {import("./model.js").LabelObject} object */
  verdict(object) {
    const { room } = this;
    /** @type {(what: "accept"|"reject", name: string, symbol: string) => HTMLElement} */
    const button = (what, name, symbol) => el("button", {
      class: "bare", type: "button", tabindex: -1, title: name,
      aria: { label: `${name} #${object.id}` },
      onclick: (event) => {
        event.stopPropagation();
        judge(room, what, [object]);
      },
    }, icon(symbol));
    return [button("accept", "Accept (A)", "check"), button("reject", "Throw away (R)", "cross")];
  }

  /**
   * @param {import("./model.js").LabelObject} object
   * @param {boolean} hidden
   */
  eye(object, hidden) {
    const { room } = this;
    return el("button", {
      class: "bare", type: "button", tabindex: -1, title: hidden ? "Show (V)" : "Hide (V)",
      aria: { label: `${hidden ? "Show" : "Hide"} #${object.id}` },
      onclick: (event) => {
        event.stopPropagation();
        if (hidden) room.hidden.delete(object.id);
        else room.hidden.add(object.id);
        room.emit("objects");
      },
    }, icon(hidden ? "eye-off" : "eye"));
  }

  /**
   * @param {number} id
   * @param {boolean} more
   */
  choose(id, more) {
    const { room } = this;
    const rest = room.selection.filter((other) => other !== id);
    if (!more) room.select([id]);
    else room.select(rest.length < room.selection.length ? rest : [...rest, id]);
    room.emit("reveal");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const { listed, selection } = this.room;
    if (listed.length === 0) return;
    const row = listed.findIndex(({ id }) => id === selection.at(-1));
    const next = row < 0 ? 0 : Math.min(listed.length - 1, Math.max(0, row + by));
    this.choose(listed[next].id, event.shiftKey);
  }
}
