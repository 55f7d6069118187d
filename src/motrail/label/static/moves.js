/** Commands that change what is seen and nothing else. */

import { nextKeyframe } from "./model.js";

/** @typedef {import("./commands.js").Command} Command */
/** @typedef {import("./room.js").Room} Room */

/**
 * @param {Room} room
 * @param {1|-1} direction
 */
function toKeyframe(room, direction) {
  const object = room.selected;
  if (!object) {
    room.say("Select an object first: its keyframes are what this steps through.");
    return;
  }
  const frame = nextKeyframe(object.points, room.frame, direction);
  if (frame !== null) room.goTo(frame);
}

/**
 * @param {Room} room
 * @param {1|-1} direction
 */
function toNeighbour(room, direction) {
  const shown = room.boxes.map(({ object }) => object.id).sort((a, b) => a - b);
  const ids = shown.length > 0 ? shown : room.listed.map(({ id }) => id);
  if (ids.length === 0) return;
  const last = room.selection.at(-1);
  const after = direction > 0 ? ids.find((id) => id > (last ?? -1)) :
    ids.filter((id) => id < (last ?? Infinity)).pop();
  room.select([after ?? (direction > 0 ? ids[0] : ids[ids.length - 1])]);
}

/**
 * @param {Room} room
 * @param {1|-1} direction
 */
function toSuggestion(room, direction) {
  room.dispatchEvent(new CustomEvent("suggest", { detail: direction }));
}

/** @param {Room} room */
function play(room) {
  room.playing = !room.playing;
  room.emit("play");
}

/** @param {Room} room */
function escape(room) {
  if (room.work) room.emit("stop");
  else if (room.armed) room.armed = "";
  else if (room.playing) play(room);
  else if (room.range) room.range = null;
  else room.select([]);
  room.emit("selection");
}

/** @param {Room} room */
function hide(room) {
  if (room.selection.length === 0) return;
  const all = room.selection.every((id) => room.hidden.has(id));
  for (const id of room.selection) {
    if (all) room.hidden.delete(id);
    else room.hidden.add(id);
  }
  room.emit("objects");
}

/** @param {Room} room */
function hideOthers(room) {
  if (room.hidden.size > 0) {
    room.hidden.clear();
  } else {
    const kept = new Set(room.selection);
    for (const id of room.doc.objects.keys()) if (!kept.has(id)) room.hidden.add(id);
  }
  room.emit("objects");
}

/**
 * @param {Room} room
 * @param {0|1} end
 */
function mark(room, end) {
  const [first, last] = room.range ?? [room.frame, room.frame];
  const range = end === 0 ? [room.frame, last] : [first, room.frame];
  room.range = [Math.min(...range), Math.max(...range)];
  if (end === 0 && room.frame > last) room.range = [room.frame, room.frame];
  room.emit("selection");
}

/** @type {(by: number) => (room: Room) => void} */
const step = (by) => (room) => room.goTo(room.frame + by);
/** @type {(name: string) => (room: Room) => void} */
const ask = (name) => (room) => room.emit(name);

/** @type {[string, string[], string, string, (room: Room) => void][]} */
const TABLE = [
  ["back", ["ArrowLeft"], "Frames", "One frame back", step(-1)],
  ["forward", ["ArrowRight"], "Frames", "One frame forward", step(1)],
  ["back10", ["Shift+ArrowLeft"], "Frames", "Ten frames back", step(-10)],
  ["forward10", ["Shift+ArrowRight"], "Frames", "Ten frames forward", step(10)],
  ["first", ["Home"], "Frames", "First frame", step(-Infinity)],
  ["last", ["End"], "Frames", "Last frame", step(Infinity)],
  ["previousKey", [",", "ArrowUp"], "Frames", "Previous keyframe of the selected object",
    (room) => toKeyframe(room, -1)],
  ["nextKey", [".", "ArrowDown"], "Frames", "Next keyframe of the selected object",
    (room) => toKeyframe(room, 1)],
  ["play", ["Space"], "Frames", "Play or stop (held: drag moves the picture)", play],
  ["suggest", ["n"], "Frames", "Next worth a look", (room) => toSuggestion(room, 1)],
  ["suggestBack", ["Shift+n"], "Frames", "Previous worth a look",
    (room) => toSuggestion(room, -1)],
  ["zoomIn", ["+", "="], "View", "Zoom in", ask("zoomIn")],
  ["zoomOut", ["-"], "View", "Zoom out", ask("zoomOut")],
  ["fit", ["f"], "View", "Fit the picture", ask("fit")],
  ["hide", ["v"], "View", "Hide or show the selected", hide],
  ["hideOthers", ["Shift+v"], "View", "Hide all others, or show all", hideOthers],
  ["lanesIn", ["Ctrl++", "Ctrl+="], "View", "Timeline: closer", ask("lanesIn")],
  ["lanesOut", ["Ctrl+-"], "View", "Timeline: wider", ask("lanesOut")],
  ["nextObject", ["]"], "Select", "Next object on this frame", (room) => toNeighbour(room, 1)],
  ["previousObject", ["["], "Select", "Previous object", (room) => toNeighbour(room, -1)],
  ["filter", ["/"], "Select", "Filter the objects", ask("filter")],
  ["attributes", ["t"], "Select", "Attributes of the selected", ask("attributes")],
  ["markFirst", ["i"], "Select", "Range starts here", (room) => mark(room, 0)],
  ["markLast", ["Shift+i"], "Select", "Range ends here", (room) => mark(room, 1)],
  ["escape", ["Escape"], "Select", "Stop the machine, or select nothing", escape],
  ["help", ["?"], "Select", "This overview", ask("help")],
];

/** @type {Command[]} */
export const moving = TABLE.map(([id, keys, group, says, run]) => ({
  id, keys, group, says, run,
}));
