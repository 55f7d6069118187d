/** The panels beside the picture: classes, what to look at, the selected object. */

import { setClass } from "./acts.js";
import { el } from "./dom.js";
import { set } from "./edits.js";
import { boxAt } from "./model.js";
import { lifetime } from "./room.js";

/** Rows of the list of places at most; N goes through all of them. */
const SHOWN = 300;

/** @typedef {import("./room.js").Room} Room */
/** @typedef {import("./model.js").LabelObject} LabelObject */

/**
 * @param {Room} room
 * @param {HTMLElement} box
 */
export function classPanel(room, box) {
  const draw = () => {
    const counts = new Map();
    for (const object of room.doc.objects.values()) {
      if (!object.ignore) counts.set(object.class, (counts.get(object.class) ?? 0) + 1);
    }
    const focused = document.activeElement?.getAttribute("data-class");
    box.replaceChildren(...room.classes.map(({ name, colour, key }) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.backgroundColor = colour;
      const current = room.currentClass === name;
      return el("button", {
        type: "button", class: "class", data: { class: name }, title: name,
        aria: { pressed: current }, onclick: () => setClass(room, name),
      }, swatch, el("span", { class: "what", text: name }),
      el("span", { class: "count", text: String(counts.get(name) ?? 0) }),
      key ? el("kbd", { text: key }) : el("span", { class: "nokey" }));
    }));
    const again = [...box.children].find((node) => node.getAttribute("data-class") === focused);
    if (focused !== null && again) /** @type {HTMLElement} */ (again).focus();
  };
  room.on("project selection objects sequence", draw);
}

/**
 * @param {Room} room
 * @param {HTMLElement} box
 * @param {import("./work.js").Suggestions} suggestions
 */
export function suggestionPanel(room, box, suggestions) {
  room.on("suggestions sequence", () => {
    const places = room.againstTruth ? room.errors : room.suggestions;
    const rows = places.slice(0, SHOWN).map((place, i) => el("button", {
      type: "button", class: "suggestion", aria: { current: suggestions.at === i },
      onclick: () => {
        suggestions.at = i;
        suggestions.show(place);
      },
    }, el("span", { class: "number", text: String(place.frame) }),
    el("span", { class: "what", text: place.reason ?? `${place.kind}: ${place.message}` })));
    if (rows.length === 0) {
      const text = room.againstTruth ? "No error is left." :
        "N looks for frames and tracks worth a look.";
      rows.push(el("p", { class: "none", text }));
    } else if (places.length > SHOWN) {
      rows.push(el("p", { class: "none", text: `… and ${places.length - SHOWN} more` }));
    }
    box.replaceChildren(...rows);
  });
}

/** What the selected object is, in a form. */
export class Inspector {
  /**
   * @param {Room} room
   * @param {HTMLElement} box
   */
  constructor(room, box) {
    this.room = room;
    this.box = box;
    this.shown = "";
    room.on("selection objects frame status sequence", () => this.draw());
    room.on("attributes", () => /** @type {any} */ (box.querySelector("input, button"))?.focus());
  }

  draw() {
    const { room } = this;
    const object = room.selected;
    const many = room.selection.length;
    // Someone is typing here: what they write must not be taken away from under them.
    const typing = this.box.contains(document.activeElement) &&
      document.activeElement instanceof HTMLInputElement;
    const key = JSON.stringify([object?.id, many, room.writable, object?.attributes, object?.note]);
    if (!(typing && this.last === object?.id) && key !== this.shown) {
      this.shown = key;
      this.last = object?.id;
      this.box.replaceChildren(...this.content(object, many));
    }
    this.facts(object, many);
  }

  /**
   * @param {LabelObject|null} object
   * @param {number} many
   */
  content(object, many) {
    if (!object) {
      return [el("p", { class: "none", text: "Nothing selected. Drag on the picture to draw." })];
    }
    const facts = el("p", { class: "facts", id: "facts" });
    if (many > 1) {
      const text = many === 2 ? "M merges them, S swaps their identities from here on." :
        "Digits set the class of all of them.";
      return [facts, el("p", { class: "none", text })];
    }
    return [facts, this.note(object), ...this.attributes(object)];
  }

  /**
   * @param {LabelObject|null} object
   * @param {number} many
   */
  facts(object, many) {
    const facts = this.box.querySelector("#facts");
    if (facts && object) facts.textContent = many > 1 ? `${many} objects` : this.says(object);
  }

  /** @param {LabelObject} object */
  says(object) {
    const { frame } = this.room;
    const box = boxAt(object.points, frame);
    const kinds = { hand: "keyframe", machine: "by the machine", between: "in between" };
    const keys = object.points.filter((p) => p[5] & 1).length;
    const where = box ?
      `${kinds[box.kind]}${box.occluded ? ", occluded" : ""} · ${[box.x, box.y, box.w, box.h]
        .map((v) => Math.round(v)).join(", ")}` : "not at this frame";
    return `#${object.id} ${object.ignore ? "ignore region" : object.class}${
      object.status === "proposed" ? " (proposed)" : ""} · ${where} · ${keys} ${
      keys === 1 ? "keyframe" : "keyframes"} in ${lifetime(object)} frames${
      object.score === null ? "" : ` · score ${object.score.toFixed(2)}`}`;
  }

  /** @param {LabelObject} object */
  note(object) {
    return el("label", { class: "field" }, el("span", { text: "Note" }), el("input", {
      value: object.note, maxlength: 1000, disabled: !this.room.writable, autocomplete: "off",
      onchange: (event) => this.commit(object.id, { note: event.target.value }, "note"),
    }));
  }

  /** @param {LabelObject} object */
  attributes(object) {
    const rows = Object.entries(object.attributes ?? {}).map(([name, value]) =>
      el("div", { class: "field" }, el("span", { text: name, title: name }),
        this.value(object, name, value),
        el("button", {
          type: "button", class: "bare", title: "Remove", disabled: !this.room.writable,
          aria: { label: `Remove attribute ${name}` },
          onclick: () => this.put(object.id, name, undefined),
        }, "×")));
    const name = el("input", { placeholder: "new attribute", aria: { label: "New attribute" },
      maxlength: 100, disabled: !this.room.writable, autocomplete: "off" });
    const value = el("input", { placeholder: "value: text, 3 or true", maxlength: 1000,
      aria: { label: "Its value" }, disabled: !this.room.writable, autocomplete: "off" });
    const add = () => name.value.trim() && this.put(object.id, name.value.trim(), read(value.value));
    for (const input of [name, value]) {
      input.addEventListener("keydown", (event) => event.key === "Enter" && add());
    }
    return [...rows, el("div", { class: "field adding" }, name, value, el("button", {
      type: "button", class: "bare", aria: { label: "Add attribute" }, onclick: add,
      disabled: !this.room.writable, title: "Add",
    }, "+"))];
  }

  /**
   * @param {LabelObject} object
   * @param {string} name
   * @param {string|number|boolean} value
   */
  value(object, name, value) {
    const put = (found) => this.put(object.id, name, found);
    const common = { disabled: !this.room.writable, aria: { label: name }, autocomplete: "off" };
    if (typeof value === "boolean") {
      return el("input", { ...common, type: "checkbox", checked: value,
        onchange: (event) => put(event.target.checked) });
    }
    return el("input", { ...common, value: String(value),
      onchange: (event) => put(typeof value === "string" ? event.target.value :
        read(event.target.value)) });
  }

  /**
   * @param {number} id
   * @param {string} name
   * @param {string|number|boolean|undefined} value undefined takes it away
   */
  put(id, name, value) {
    const object = this.room.doc.get(id);
    if (!object) return;
    const rest = Object.entries(object.attributes ?? {}).filter(([other]) => other !== name);
    const attributes = Object.fromEntries(value === undefined ? rest : [...rest, [name, value]]);
    this.commit(id, { attributes }, value === undefined ? "remove attribute" : "attribute");
  }

  /**
   * @param {number} id
   * @param {object} fields
   * @param {string} label
   */
  commit(id, fields, label) {
    const object = this.room.doc.get(id);
    this.last = undefined;
    if (object) this.room.commit(set([object], fields, label));
  }
}

/**
 * A value as typed: a number, true or false, else text.
 * @param {string} text
 */
function read(text) {
  const said = text.trim();
  if (said === "true" || said === "false") return said === "true";
  const number = Number(said);
  return said !== "" && Number.isFinite(number) ? number : text;
}
