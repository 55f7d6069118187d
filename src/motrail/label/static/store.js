/**
 * Edits that the server has not acknowledged, kept where a reload and a crash leave them alone.
 *
 * @typedef {{edit_id: string, base: number, label: string,
 *   patches: import("./edits.js").Patch[]}} Unsent
 */

const PREFIX = "motrail.unsent";

/** An id for an edit or a tab; `randomUUID` is missing on plain http beyond this machine. */
export function uniqueId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return [0, 8, 12, 16, 20].map((a, i, at) => hex.slice(a, at[i + 1] ?? 32)).join("-");
}

/** The unsent edits of one tab for one sequence, first to send first. */
export class UnsentEdits {
  /**
   * @param {Storage} storage
   * @param {string} place dataset and sequence
   * @param {string} tab
   */
  constructor(storage, place, tab) {
    this.storage = storage;
    this.place = `${PREFIX}:${place}:`;
    this.key = this.place + tab;
    /** False once the browser refused to keep an edit. */
    this.kept = true;
    /** @type {Unsent[]} */
    this.edits = this.read(this.key);
  }

  /**
   * @param {string} key
   * @returns {Unsent[]}
   */
  read(key) {
    try {
      const found = JSON.parse(this.storage.getItem(key) ?? "[]");
      return Array.isArray(found) ? found.filter((e) => e.edit_id && e.patches) : [];
    } catch {
      return [];
    }
  }

  write() {
    try {
      if (this.edits.length > 0) this.storage.setItem(this.key, JSON.stringify(this.edits));
      else this.storage.removeItem(this.key);
      this.kept = true;
    } catch {
      // The storage is full or forbidden: the edits stay in memory and the page says so.
      this.kept = false;
    }
  }

  /** @param {Unsent} edit */
  push(edit) {
    this.edits.push(edit);
    this.write();
  }

  /** The first one is with the server (or refused). */
  shift() {
    const first = this.edits.shift();
    this.write();
    return first;
  }

  /** The last one was taken back before it went. */
  pop() {
    const last = this.edits.pop();
    this.write();
    return last;
  }

  /** @param {Unsent[]} edits */
  fill(edits) {
    this.edits = edits;
    this.write();
  }

  /**
   * Takes over what closed tabs left unsent.
   * @param {(tab: string) => Promise<boolean>} alive whether a tab is still open
   */
  async adopt(alive) {
    const keys = Array.from({ length: this.storage.length }, (_, i) => this.storage.key(i));
    for (const key of keys) {
      if (!key || key === this.key || !key.startsWith(this.place)) continue;
      if (await alive(key.slice(this.place.length))) continue;
      this.edits.push(...this.read(key));
      this.write();
      if (this.kept) this.storage.removeItem(key);
    }
  }
}
