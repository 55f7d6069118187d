/** Puts the page together. */

import { ApiError, get } from "./api.js";
import { buttons, notices, says, status, told } from "./chrome.js";
import { pressed } from "./commands.js";
import { ClassDialog, helpDialog } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { ObjectList } from "./list.js";
import { Minimap } from "./minimap.js";
import { classPanel, Inspector, suggestionPanel } from "./panels.js";
import { Pointer } from "./pointer.js";
import { Room } from "./room.js";
import { Stage } from "./stage.js";
import { thisTab } from "./tabs.js";
import { Timeline } from "./timeline.js";
import { Suggestions, Work } from "./work.js";

const PLACE = "motrail.place";

/**
 * Keys work wherever the focus is, but where someone types or a control wants them itself.
 * @param {KeyboardEvent} event
 */
function typing(event) {
  const node = event.target;
  if (!(node instanceof HTMLElement)) return false;
  if (node.closest("dialog")) return true;
  if (node.matches("select, textarea, input:not([type=checkbox])")) {
    return !(event.ctrlKey && event.key === "s");
  }
  const presses = event.key === " " || event.key === "Enter";
  return presses && node.matches("button, input[type=checkbox]");
}

/**
 * @param {Room} room
 * @param {Pointer} pointer
 */
function keyboard(room, pointer) {
  document.addEventListener("keydown", (event) => {
    if (!room.sequence || event.isComposing) return;
    if (event.key === "Escape" && event.target instanceof HTMLInputElement) {
      if (!event.target.closest("dialog")) byId("stage").focus();
      return;
    }
    if (typing(event)) return;
    if (event.key === " ") {
      // Held, space moves the picture; let go without a drag, it plays.
      event.preventDefault();
      if (!event.repeat) pointer.panned = false;
      pointer.space = true;
      byId("stage").style.cursor = "grab";
      return;
    }
    pressed(room, event);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key !== " " || !pointer.space) return;
    pointer.space = false;
    byId("stage").style.cursor = "";
    if (!pointer.panned) pressed(room, event);
  });
  window.addEventListener("blur", () => {
    pointer.space = false;
  });
}

/** @param {Room} room */
function sequences(room) {
  const select = byId("sequence");
  room.on("project", () => {
    select.replaceChildren(...room.project.sequences.map((sequence) =>
      el("option", { value: sequence.index, text: sequence.name })));
    if (room.sequence) select.value = String(room.sequence.index);
    byId("mode").textContent = room.project.mode;
  });
  room.on("suggestions sequence status", () => {
    const { againstTruth, errors } = room;
    byId("look-title").textContent = againstTruth ? `Errors ${errors.length}` : "Worth a look";
    byId("truth-label").hidden = !againstTruth;
    byId("truth").checked = room.showTruth;
  });
  room.on("sequence", () => {
    select.value = String(room.sequence.index);
    document.title = `${room.sequence.name} – motrail ${room.project.mode}`;
    byId("length").textContent = `of ${room.sequence.length}`;
    byId("goto").max = room.sequence.length;
    byId("timeline").setAttribute("aria-valuemax", room.sequence.length);
  });
  select.addEventListener("change", () => {
    room.open(Number(select.value)).catch((error) => room.failed(error));
    byId("stage").focus();
  });
}

/** @param {Room} room */
function time(room) {
  room.on("frame sequence", () => {
    if (document.activeElement !== byId("goto")) byId("goto").value = room.frame;
    const seconds = (room.frame - 1) / (room.sequence.frame_rate || 25);
    const whole = Math.floor(seconds);
    const rest = String(Math.floor((seconds - whole) * 1000)).padStart(3, "0");
    const two = (n) => String(n).padStart(2, "0");
    byId("time").textContent = `${two(Math.floor(whole / 60))}:${two(whole % 60)}.${rest}`;
    byId("timeline").setAttribute("aria-valuenow", room.frame);
    byId("timeline").setAttribute("aria-valuetext", says(room));
    sessionStorage.setItem(PLACE, JSON.stringify([room.sequence.name, room.frame]));
  });
  room.on("selection sequence", () => {
    byId("range").textContent = room.range ? `Range ${room.range[0]}–${room.range[1]}` : "";
  });
  byId("goto").addEventListener("change", (event) => {
    const frame = Number(event.target.value);
    if (Number.isFinite(frame)) room.goTo(frame);
    event.target.value = room.frame;
    byId("stage").focus();
  });
  byId("goto").addEventListener("keydown", (event) => {
    if (event.key === "Enter") byId("stage").focus();
  });
}

/** @param {Room} room */
function playing(room) {
  let started = 0;
  let from = 1;
  const step = (now) => {
    if (!room.playing) return;
    const rate = room.sequence.frame_rate || 25;
    const frame = from + Math.floor(((now - started) / 1000) * rate);
    // A frame whose picture has not come yet is waited for: playing shows every picture it can.
    const next = Math.min(frame, room.frame + 1);
    if (next > room.frame && (room.frames?.picture(room.frame) || frame > room.frame + rate)) {
      room.goTo(next);
      if (frame > next + 2) [started, from] = [now, next];
    }
    if (room.frame >= room.sequence.length) {
      room.playing = false;
      room.emit("play");
    } else {
      requestAnimationFrame(step);
    }
  };
  room.on("play", () => {
    if (!room.playing) return;
    if (room.frame >= room.sequence.length) room.goTo(1);
    [started, from] = [performance.now(), room.frame];
    requestAnimationFrame(step);
  });
}

/** @param {Room} room */
function filters(room) {
  const changed = () => {
    room.filters = {
      text: byId("filter").value.trim(),
      show: byId("show").value,
      minLength: Number(byId("min-length").value) || 1,
      minScore: Number(byId("min-score").value) || 0,
    };
    room.emit("objects");
  };
  for (const id of ["filter", "show", "min-length", "min-score"]) {
    byId(id).addEventListener("input", changed);
  }
  byId("truth").addEventListener("change", (event) => {
    room.showTruth = event.target.checked;
    room.emit("objects");
  });
  room.on("filter", () => byId("filter").focus());
  room.on("objects frame sequence", () => {
    const [listed, all] = [room.listed.length, room.doc.objects.size];
    byId("count").textContent = listed === all ? String(all) : `${listed} of ${all}`;
  });
}

/** @param {Room} room */
function dialogs(room) {
  const classes = new ClassDialog(room, byId("class-dialog"));
  helpDialog(byId("help"));
  room.on("help", () => byId("help").showModal());
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("edit-classes").addEventListener("click", () => classes.open());
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
  }
  return classes;
}

/**
 * @param {Room} room
 * @param {Stage} stage
 */
function assemble(room, stage) {
  const suggestions = new Suggestions(room);
  new Work(room);
  new Minimap(room, byId("minimap"), new Timeline(room, byId("timeline")));
  new ObjectList(room, byId("objects"));
  new Inspector(room, byId("inspector"));
  classPanel(room, byId("classes"));
  suggestionPanel(room, byId("suggestions"), suggestions);
  [buttons, status, notices, told, sequences, time, playing, filters].forEach((part) => part(room));
  keyboard(room, new Pointer(room, stage));
  byId("save").addEventListener("click", () => room.emit("save"));
  byId("stop").addEventListener("click", () => room.emit("stop"));
  byId("take").addEventListener("click", () => room.sync?.renew(true));
  byId("look").addEventListener("click", () => void suggestions.step(1));
  room.on("view", () => {
    byId("zoom").textContent = `${Math.round(stage.view.scale * 100)} %`;
  });
  window.addEventListener("pagehide", () => room.sync?.release());
}

async function start() {
  const room = new Room(await thisTab());
  assemble(room, new Stage(room, byId("stage")));
  const classes = dialogs(room);
  try {
    room.setProject(await get("/api/project"));
    const [name, frame] = JSON.parse(sessionStorage.getItem(PLACE) ?? "[null, 1]");
    const found = room.project.sequences.findIndex((sequence) => sequence.name === name);
    await room.open(Math.max(0, found), found < 0 ? 1 : frame);
    byId("stage").focus();
    if (room.classes.length === 0) classes.open();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    byId("banner-text").textContent = error.unknownToken ?
      "Open the address that motrail printed: this one lacks its token." : error.message;
    byId("banner").dataset.kind = "error";
    byId("banner").hidden = false;
  }
}

void start();
