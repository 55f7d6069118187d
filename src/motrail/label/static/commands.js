/**
 * Everything a key does, in one table: the keyboard, the `?` overlay and the buttons read it.
 *
 * @typedef {import("./room.js").Room} Room
 * @typedef {{id: string, keys: string[], group: string, says: string,
 *   run: (room: Room, event?: KeyboardEvent) => void}} Command
 */

import { editing } from "./acts.js";
import { moving } from "./moves.js";

/** @type {Command[]} */
export const COMMANDS = [...moving, ...editing];

/** @type {Map<string, Command>} */
export const BY_ID = new Map(COMMANDS.map((command) => [command.id, command]));
const BY_KEY = new Map(COMMANDS.flatMap((command) => command.keys.map((key) => [key, command])));

/**
 * The name of a key with what is held beside it: `Ctrl+Shift+z`, `Alt+ArrowLeft`, `?`.
 * @param {KeyboardEvent} event
 */
export function keyName(event) {
  const letter = /^[a-z]$/i.test(event.key);
  const named = event.key.length > 1 || letter || event.key === " ";
  const key = letter ? event.key.toLowerCase() : event.key === " " ? "Space" : event.key;
  const held = [];
  if (event.ctrlKey || event.metaKey) held.push("Ctrl");
  if (event.altKey) held.push("Alt");
  // A sign like ? or + already tells of Shift, wherever the keyboard has it.
  if (event.shiftKey && named) held.push("Shift");
  return [...held, key].join("+");
}

/**
 * Runs what a key stands for.
 * @param {Room} room
 * @param {KeyboardEvent} event
 * @returns {boolean} whether it stands for anything
 */
export function pressed(room, event) {
  const name = keyName(event);
  const command = BY_KEY.get(name) ?? (/^[0-9]$/.test(name) ? BY_ID.get("class") : undefined);
  if (!command) return false;
  event.preventDefault();
  command.run(room, event);
  return true;
}

const SHOWN = {
  ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Delete: "Del",
};

/** @param {string} key */
export function shownKey(key) {
  return key
    .split(/(?<=.)\+(?=.)/)
    .map((part) => SHOWN[part] ?? (/^[a-z]$/.test(part) ? part.toUpperCase() : part))
    .join(" + ");
}
