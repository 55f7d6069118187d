/** Bars, banner, notices and what is said to a screen reader: all that frames the work. */

import { BY_ID, shownKey } from "./commands.js";
import { byId, el, icon } from "./dom.js";
import { boxAt } from "./model.js";

/** @typedef {import("./room.js").Room} Room */

const BUTTONS = {
  "tools-label": ["draw", "keyframe", "enter", "leave", "occlude", "copy", "ignore", "removePoint"],
  "tools-identity": ["split", "merge", "swap"],
  "tools-machine": ["propagate", "prelabel", "accept", "reject"],
  "tools-work": ["undo", "redo"],
  transport: ["first", "back10", "previousKey", "back", "play", "forward", "nextKey", "forward10",
    "last"],
};
const ICONS = { previousKey: "previous-key", nextKey: "next-key", accept: "check", reject: "cross",
  removePoint: "delete" };
const SHORT = 5000;

/** @param {Room} room */
export function buttons(room) {
  for (const [place, ids] of Object.entries(BUTTONS)) {
    byId(place).append(...ids.map((id) => commandButton(room, id)));
  }
  for (const node of document.querySelectorAll("[data-command]")) {
    const command = BY_ID.get(/** @type {HTMLElement} */ (node).dataset.command ?? "");
    if (node.childElementCount === 0) node.addEventListener("click", () => command?.run(room));
  }
  room.on("selection status", () => {
    byId("tool-draw").setAttribute("aria-pressed", String(room.armed === "box"));
    byId("tool-ignore").setAttribute("aria-pressed", String(room.armed === "ignore"));
    hint(room);
  });
  room.on("play", () => {
    const button = byId("tool-play");
    button.setAttribute("aria-pressed", String(room.playing));
    button.replaceChildren(icon(room.playing ? "pause" : "play"));
  });
  room.on("status", () => {
    byId("tool-undo").title = `Undo ${room.sync?.undoLabel ?? ""} (Ctrl + Z)`;
    byId("tool-redo").title = `Redo ${room.sync?.redoLabel ?? ""} (Ctrl + Shift + Z)`;
  });
}

/**
 * @param {Room} room
 * @param {string} id
 */
function commandButton(room, id) {
  const command = /** @type {import("./commands.js").Command} */ (BY_ID.get(id));
  const title = `${command.says} (${shownKey(command.keys[0])})`;
  return el("button", {
    type: "button", id: `tool-${id}`, title, aria: { label: command.says },
    onclick: () => command.run(room),
  }, icon(ICONS[id] ?? id));
}

/** @param {Room} room */
function hint(room) {
  const box = byId("hint");
  const what = room.armed === "ignore" ? "an ignore region" : `a ${room.currentClass} box`;
  box.textContent = `Drag to draw ${what}${
    room.armed === "box" ? " — D again puts one in the middle" : ""} — Esc to leave`;
  box.hidden = room.armed === "" || room.work !== null;
}

/** @param {Room} room */
export function status(room) {
  room.on("status project", () => {
    saved(room);
    banner(room);
    progress(room);
  });
}

/** @param {Room} room */
function saved(room) {
  const { sync } = room;
  const box = byId("saved");
  let [state, text] = ["reading", "Reading…"];
  if (sync && sync.revision >= 0 && room.doc.length > 0) {
    if (sync.offline || sync.unknownToken) state = "away";
    else state = sync.waiting > 0 ? "waiting" : "stored";
    const edits = sync.waiting === 1 ? "1 edit" : `${sync.waiting} edits`;
    text = { away: sync.waiting ? `${edits} kept here` : "Server away", waiting: `Storing ${edits}…`,
      stored: sync.held ? "Every edit stored" : "Read only" }[state] ?? "";
  }
  box.dataset.state = state;
  if (box.textContent !== text) box.textContent = text;
  const disabled = !sync || sync.offline || room.work !== null;
  if (byId("save").disabled !== disabled) byId("save").disabled = disabled;
}

/** @param {Room} room */
function banner(room) {
  const { sync } = room;
  let [text, kind, take] = ["", "warning", false];
  if (sync?.unknownToken) {
    text = "The server does not know this page any more. Open the address it printed last in " +
      "this browser; nothing is lost, waiting edits go on by themselves.";
    kind = "error";
  } else if (sync?.offline) {
    text = "The server does not answer. Work goes on: edits are kept in this browser and sent " +
      "when it is back.";
    kind = "error";
  } else if (sync && !sync.unsent.kept) {
    text = "The browser's storage is full: edits that wait are lost when this page closes.";
    kind = "error";
  } else if (room.frameTrouble) {
    text = `The picture of frame ${room.frame} did not come: ${room.frameTrouble}`;
  } else if (sync && !sync.held && room.doc.length > 0) {
    const waiting = sync.waiting ? ` ${sync.waiting} edits of this tab wait.` : "";
    text = `Read only: this sequence is being edited in another tab or by someone else.${waiting}`;
    take = true;
  }
  if (byId("banner-text").textContent !== text) byId("banner-text").textContent = text;
  byId("banner").dataset.kind = kind;
  byId("banner").hidden = text === "";
  byId("take").hidden = !take;
}

/** @param {Room} room */
function progress(room) {
  const { work } = room;
  byId("progress").hidden = work === null;
  if (!work) return;
  const share = work.total > 0 ? ` ${work.done} of ${work.total}` : "…";
  byId("progress-text").textContent = work.stopping ? "Stopping…" : `${work.says}${share}`;
  const bar = byId("progress-bar");
  if (work.total > 0) {
    bar.max = work.total;
    bar.value = work.done;
  } else {
    bar.removeAttribute("value");
  }
  byId("stop").disabled = work.stopping;
}

/** @param {Room} room */
export function notices(room) {
  room.addEventListener("notice", (event) => {
    const { text, kind, action } = /** @type {CustomEvent} */ (event).detail;
    const box = byId("notices");
    const notice = el("div", { class: `notice ${kind}` }, el("span", { text }));
    if (action) {
      notice.append(el("button", { type: "button", text: action.label, onclick: () => {
        notice.remove();
        action.run();
      } }));
    }
    const closes = kind === "error" || action;
    if (closes) {
      notice.append(el("button", { type: "button", class: "bare", aria: { label: "Close" },
        onclick: () => notice.remove() }, "×"));
    }
    box.append(notice);
    while (box.childElementCount > 3) box.firstElementChild?.remove();
    // An error stays until it is read; what asks something stays longer than what only tells.
    if (kind !== "error") setTimeout(() => notice.remove(), action ? 3 * SHORT : SHORT);
  });
}

/** @param {Room} room */
export function told(room) {
  let timer = 0;
  room.on("frame selection objects", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      byId("live").textContent = says(room);
    }, 250);
  });
}

/** @param {Room} room */
export function says(room) {
  if (!room.sequence) return "";
  const frame = `Frame ${room.frame} of ${room.sequence.length}`;
  const object = room.selected;
  if (!object) return `${frame}, ${room.boxes.length} boxes, nothing selected`;
  if (room.selection.length > 1) return `${frame}, ${room.selection.length} objects selected`;
  const box = boxAt(object.points, room.frame);
  const kinds = { hand: "keyframe", machine: "filled by the machine", between: "in between" };
  const where = box ? `${kinds[box.kind]}${box.occluded ? ", occluded" : ""}, at ${
    Math.round(box.x)}, ${Math.round(box.y)}, ${Math.round(box.w)} by ${Math.round(box.h)} pixels` :
    "not there";
  const what = object.ignore ? "ignore region" : object.class;
  return `Object ${object.id}, ${what}${object.status === "proposed" ? ", proposed" : ""}, ${
    frame}, ${where}`;
}
