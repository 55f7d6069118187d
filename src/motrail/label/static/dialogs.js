/** The overlay with all keys, and the editor of the classes. */

import { ApiError, post } from "./api.js";
import { COMMANDS, shownKey } from "./commands.js";
import { el } from "./dom.js";

/** @typedef {import("./room.js").Room} Room */

const COLOURS = [
  "#4cc9f0", "#f9844a", "#90be6d", "#f9c74f", "#c77dff", "#ff8fa3", "#43aa8b", "#a0c4ff",
  "#ffd6a5", "#e0aaff",
];
const SHORT_NUDGE = /^(nudge|size)/;

/**
 * @param {HTMLDialogElement} dialog
 */
export function helpDialog(dialog) {
  const groups = new Map();
  for (const command of COMMANDS) {
    if (SHORT_NUDGE.test(command.id)) continue;
    groups.set(command.group, [...(groups.get(command.group) ?? []), command]);
  }
  const lists = [...groups].map(([name, commands]) => el("section", {},
    el("h3", { text: name }),
    el("dl", {}, ...commands.flatMap((command) => [
      el("dt", {}, ...keys(command.keys.length ? command.keys.filter((key) => !/Backspace|=$/.test(key)) : ["0–9"])),
      el("dd", { text: command.says.replace(/^0–9: c/, "C") }),
    ]))));
  const nudge = el("section", {}, el("h3", { text: "Shape and mouse" }), el("dl", {},
    ...pairs([
      [["Alt+←→↑↓"], "Move the box by 1 px, with Shift by 10"],
      [["Ctrl+←→↑↓"], "Width and height by 1 px, with Shift by 10"],
      [["Drag"], "Draw on empty ground; move or resize a box"],
      [["Ctrl+Drag"], "Draw over other boxes"],
      [["Shift+Click"], "Select more than one"],
      [["Wheel"], "Zoom; in the lanes scroll, with Ctrl zoom the time"],
      [["Space+Drag"], "Move the picture (middle button too)"],
    ])));
  dialog.querySelector(".content")?.replaceChildren(...lists, nudge);
}

/** @param {[string[], string][]} rows */
const pairs = (rows) =>
  rows.flatMap(([names, says]) => [el("dt", {}, ...keys(names)), el("dd", { text: says })]);

/** @param {string[]} names */
const keys = (names) => names.map((name) => el("kbd", { text: shownKey(name) }));

/** The editor of the classes' names, colours and keys. */
export class ClassDialog {
  /**
   * @param {Room} room
   * @param {HTMLDialogElement} dialog
   */
  constructor(room, dialog) {
    this.room = room;
    this.dialog = dialog;
    this.rows = /** @type {HTMLElement} */ (dialog.querySelector(".content"));
    this.error = /** @type {HTMLElement} */ (dialog.querySelector(".error"));
    dialog.querySelector(".add")?.addEventListener("click", () => this.add());
    dialog.querySelector("form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.apply();
    });
  }

  open() {
    this.error.textContent = "";
    this.rows.replaceChildren(...this.room.classes.map((c) => this.row(c, c.name)));
    if (this.room.classes.length === 0) this.add();
    this.dialog.showModal();
  }

  add() {
    const count = this.rows.children.length;
    const taken = new Set([...this.rows.querySelectorAll(".key")].map((node) =>
      /** @type {HTMLInputElement} */ (node).value));
    const key = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"].find((k) => !taken.has(k)) ?? "";
    const row = this.row({ name: "", colour: COLOURS[count % COLOURS.length], key }, null);
    this.rows.append(row);
    row.querySelector("input")?.focus();
  }

  /**
   * @param {{name: string, colour: string, key: string}} found
   * @param {string|null} was
   */
  row({ name, colour, key }, was) {
    const row = el("div", { class: "class-row" },
      el("input", { class: "name", value: name, required: true, maxlength: 200, autocomplete: "off",
        aria: { label: "Class name" } }),
      el("input", { class: "colour", type: "color", value: colour, aria: { label: "Colour" } }),
      el("input", { class: "key", value: key, maxlength: 1, pattern: "[0-9]", autocomplete: "off",
        title: "A digit or nothing", aria: { label: "Key" } }),
      el("button", { type: "button", class: "bare", title: "Remove",
        aria: { label: `Remove class ${name || "new"}` }, onclick: () => row.remove() }, "×"));
    row.was = was;
    return row;
  }

  async apply() {
    const classes = [...this.rows.children].map((row) => {
      /** @param {string} part */
      const value = (part) => /** @type {HTMLInputElement} */ (row.querySelector(part)).value;
      const was = /** @type {any} */ (row).was;
      return { name: value(".name").trim(), colour: value(".colour"), key: value(".key"), was };
    });
    try {
      const project = await post("/api/classes", { classes });
      const { room } = this;
      room.setProject(project);
      await room.sync?.recover();
      this.dialog.close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error.textContent = error.message;
    }
  }
}
