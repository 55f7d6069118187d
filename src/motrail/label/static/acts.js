/** Commands that change labels, and the machine's help. */

import * as edits from "./edits.js";
import { boxAt, ghostAt, indexAt } from "./model.js";

/** @typedef {import("./commands.js").Command} Command */
/** @typedef {import("./room.js").Room} Room */
/** @typedef {import("./model.js").LabelObject} LabelObject */

/**
 * Does something with the selected object, or says that there is none.
 * @param {(room: Room, object: LabelObject) => void} act
 * @returns {(room: Room) => void}
 */
const withOne = (act) => (room) => {
  if (room.selected) act(room, room.selected);
  else room.say("Select an object first: click its box, or press ] for the next one.");
};

/**
 * @param {(room: Room, object: LabelObject) => void} act
 */
const withBox = (act) =>
  withOne((room, object) => {
    if (boxAt(object.points, room.frame)) act(room, object);
    else room.say(`#${object.id} is not there at this frame. E lets it enter here.`, "warning");
  });

/**
 * @param {(room: Room, first: LabelObject, second: LabelObject) => void} act
 * @returns {(room: Room) => void}
 */
const withTwo = (act) => (room) => {
  const [first, second, ...more] = room.selectedObjects;
  if (first && second && more.length === 0) act(room, first, second);
  else room.say("Select two objects first: click one, then Shift-click the other.");
};

/** @param {Room} room */
function keyframe(room) {
  withOne((_, object) => {
    const box = boxAt(object.points, room.frame) ?? ghostAt(object.points, room.frame);
    if (box) room.commit(edits.place(object, room.frame, box, "keyframe"));
  })(room);
}

/**
 * @param {number} dx
 * @param {number} dy
 * @param {"move"|"size"} what
 * @returns {(room: Room) => void}
 */
const nudge = (dx, dy, what) => (room) => {
  withBox((_, object) => {
    const box = /** @type {import("./model.js").Box} */ (boxAt(object.points, room.frame));
    const { x, y, w, h } = box;
    const target = what === "move" ? { x: x + dx, y: y + dy, w, h } : { x, y, w: w + dx, h: h + dy };
    room.commit(edits.place(object, room.frame, target, what === "move" ? "nudge" : "resize"));
  })(room);
};

/**
 * A digit: the class of what is selected, and of what is drawn next.
 * @param {Room} room
 * @param {string} key
 */
function classByKey(room, key) {
  const found = room.classes.find((c) => c.key === key);
  if (found) setClass(room, found.name);
  else room.say(`No class has the key ${key}.`);
}

/**
 * @param {Room} room
 * @param {string} name
 */
export function setClass(room, name) {
  room.currentClass = name;
  const changed = room.selectedObjects.filter((object) => object.class !== name);
  if (changed.length > 0) room.commit(edits.set(changed, { class: name }, `class ${name}`));
  room.emit("selection");
}

/** @param {Room} room */
function split(room) {
  withOne((_, object) => {
    const fresh = room.doc.nextId;
    const edit = edits.split(object, room.frame, fresh);
    if (edit.patches.length < 2) {
      room.say("Nothing to split: the object must be there before and from this frame on.");
    } else if (room.commit(edit)) {
      room.select([fresh]);
    }
  })(room);
}

/** @param {Room} room */
function removePoint(room) {
  withOne((_, object) => {
    const index = indexAt(object.points, room.frame);
    if (object.points[index]?.[0] === room.frame) {
      room.commit(edits.removePoint(object, room.frame));
    } else {
      room.say("No keyframe here. Shift + Del deletes the whole object.");
    }
  })(room);
}

/** @param {Room} room */
function deleteRange(room) {
  if (!room.range) {
    room.say("Mark a range first: I where it starts, Shift + I where it ends.");
    return;
  }
  const [first, last] = room.range;
  const chosen = room.selection.length > 0 ? room.selectedObjects : [];
  if (chosen.length === 0) {
    room.say("Select the objects to delete in the range first.");
    return;
  }
  const patches = chosen.flatMap((object) => edits.deleteRange(object, first, last).patches);
  room.commit({ label: `delete ${first}–${last}`, patches });
}

/**
 * @param {Room} room
 * @param {"accept"|"reject"} what
 * @param {LabelObject[]} objects
 */
export function judge(room, what, objects) {
  const proposed = objects.filter((object) => object.status === "proposed");
  if (proposed.length === 0) {
    room.say("No proposal is selected.");
    return;
  }
  const next = room.listed.find(
    (object) => object.status === "proposed" && !proposed.includes(object),
  );
  const edit = what === "accept" ? edits.set(proposed, { status: "" }, "accept") :
    { ...edits.remove(proposed), label: "throw away" };
  if (room.commit(edit) && next && proposed.length === 1) room.select([next.id]);
}

/** @param {Room} room */
function ignore(room) {
  const objects = room.selectedObjects;
  if (objects.length > 0) {
    const value = !objects.every((object) => object.ignore);
    room.commit(edits.set(objects, { ignore: value }, value ? "ignore" : "not ignore"));
  } else {
    room.armed = room.armed === "ignore" ? "" : "ignore";
    room.emit("selection");
  }
}

/** @param {Room} room */
function arm(room) {
  if (room.armed === "box") {
    room.emit("drawHere");
    return;
  }
  room.armed = "box";
  room.emit("selection");
}

/** @param {Room} room */
function copyForward(room) {
  withBox((_, object) => {
    const to = Math.min(room.sequence.length, room.frame + 10);
    const target = room.range && room.range[1] > room.frame ? room.range[1] : to;
    if (room.commit(edits.copyForward(object, room.frame, target))) room.goTo(target);
  })(room);
}

/**
 * @param {"undo"|"redo"} way
 * @returns {(room: Room) => void}
 */
const travel = (way) => async (room) => {
  const { sync } = room;
  if (!sync || !room.writable) {
    room.say(room.whyReadOnly(), "warning");
    return;
  }
  if (way === "undo" ? !sync.canUndo : !sync.canRedo) {
    room.say(`Nothing to ${way}.`);
    return;
  }
  try {
    const label = await (way === "undo" ? sync.undo() : sync.redo());
    room.say(`${way === "undo" ? "Undone" : "Redone"}: ${label ?? "edit"}`);
  } catch (error) {
    room.failed(error);
  }
};

/** @type {(name: string, detail?: unknown) => (room: Room) => void} */
const ask = (name, detail) => (room) => room.dispatchEvent(new CustomEvent(name, { detail }));

/** @type {(by: number) => [string, string[], string, string, (room: Room) => void][]} */
const arrows = (by) => {
  const shift = by > 1 ? "Shift+" : "";
  const far = by > 1 ? `${by} px` : "1 px";
  /** @type {[string, number, number][]} */
  const ways = [["Left", -by, 0], ["Right", by, 0], ["Up", 0, -by], ["Down", 0, by]];
  return ways.flatMap(([way, dx, dy]) => [
    [`nudge${way}${by}`, [`Alt+${shift}Arrow${way}`], "Nudge", `Move ${far} ${way.toLowerCase()}`,
      nudge(dx, dy, "move")],
    [`size${way}${by}`, [`Ctrl+${shift}Arrow${way}`], "Nudge",
      `${dx + dy > 0 ? "Grow" : "Shrink"} ${dx ? "width" : "height"} ${far}`,
      nudge(dx, dy, "size")],
  ]);
};

/** @type {[string, string[], string, string, (room: Room, event?: KeyboardEvent) => void][]} */
const TABLE = [
  ["draw", ["d"], "Label", "Draw over others; again: a box in the middle", arm],
  ["class", [], "Label", "0–9: class of the selected, or of the next box",
    (room, event) => event && classByKey(room, event.key)],
  ["keyframe", ["k", "Enter"], "Label", "Keyframe here", keyframe],
  ["removePoint", ["Delete", "Backspace"], "Label", "Delete the keyframe here", removePoint],
  ["removeObject", ["Shift+Delete", "Shift+Backspace"], "Label", "Delete the object",
    (room) => room.selection.length > 0 && room.commit(edits.remove(room.selectedObjects))],
  ["leave", ["l"], "Label", "Leaves after this frame",
    withBox((room, object) => room.commit(edits.leave(object, room.frame)))],
  ["enter", ["e"], "Label", "Enters at this frame",
    withOne((room, object) => room.commit(edits.enter(object, room.frame)))],
  ["bridge", ["Shift+e"], "Label", "Fill the gap: it was there",
    withOne((room, object) => room.commit(edits.bridge(object, room.frame)))],
  ["occlude", ["o"], "Label", "Occluded from here, or no longer",
    withBox((room, object) => room.commit(edits.occlude(object, room.frame)))],
  ["copy", ["c"], "Label", "Copy 10 frames forward, or to the range's end", copyForward],
  ["deleteRange", ["Shift+d"], "Label", "Delete in the range", deleteRange],
  ["ignore", ["g"], "Label", "Ignore region", ignore],
  ["split", ["x"], "Identity", "Split: another object from here", split],
  ["merge", ["m"], "Identity", "Merge two selected into the first",
    withTwo((room, first, second) => {
      if (room.commit(edits.merge(first, second))) room.select([first.id]);
    })],
  ["swap", ["s"], "Identity", "Swap two identities from here on",
    withTwo((room, first, second) => room.commit(edits.swap(first, second, room.frame)))],
  ["propagate", ["p"], "Machine", "Propagate forward until Esc", ask("propagate", 1)],
  ["propagateBack", ["Shift+p"], "Machine", "Propagate backward until Esc", ask("propagate", -1)],
  ["prelabel", ["Shift+m"], "Machine", "Pre-label with the model", ask("prelabel")],
  ["accept", ["a"], "Machine", "Accept the proposal",
    (room) => judge(room, "accept", room.selectedObjects)],
  ["reject", ["r"], "Machine", "Throw the proposal away",
    (room) => judge(room, "reject", room.selectedObjects)],
  ["acceptAll", ["Shift+a"], "Machine", "Accept all proposals listed",
    (room) => judge(room, "accept", room.listed)],
  ["undo", ["Ctrl+z"], "Work", "Undo", travel("undo")],
  ["redo", ["Ctrl+Shift+z", "Ctrl+y"], "Work", "Redo", travel("redo")],
  ["save", ["Ctrl+s"], "Work", "Write the dataset", ask("save")],
  ...arrows(1),
  ...arrows(10),
];

/** @type {Command[]} */
export const editing = TABLE.map(([id, keys, group, says, run]) => ({ id, keys, group, says, run }));
