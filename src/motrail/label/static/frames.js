/**
 * The pictures of frames: fetched ahead, kept decoded in a cache bounded by bytes.
 *
 * While the mouse scrubs only small pictures are fetched; the sharp one follows when it rests.
 */

import { frameAddress } from "./api.js";

/** Decoded pictures at most, in bytes (4 a pixel). */
const BUDGET = 256 * 2 ** 20;
const SMALL_WIDTH = 480;
const AHEAD = 8;
const BEHIND = 3;
const AT_ONCE = 3;
const RETRY = 1500;
const WIDTHS = [640, 960, 1280, 1920, 2560];

/** @typedef {{bitmap: ImageBitmap, bytes: number, frame: number, sharp: boolean}} Picture */

export class Frames {
  /**
   * @param {{index: number, width: number, length: number}} sequence
   * @param {(frame: number) => void} onPicture a picture of the frame has come
   * @param {(failed: boolean, message: string) => void} onTrouble
   */
  constructor(sequence, onPicture, onTrouble) {
    this.sequence = sequence;
    this.onPicture = onPicture;
    this.onTrouble = onTrouble;
    /** @type {Map<string, Picture>} least recently used first */
    this.cache = new Map();
    this.bytes = 0;
    this.width = this.bucket(960);
    this.frame = 1;
    this.direction = 1;
    this.scrubbing = false;
    /** @type {Map<string, AbortController>} */
    this.pending = new Map();
    this.closed = false;
  }

  /**
   * The width to ask for so that a picture this wide on screen is sharp.
   * @param {number} shown device pixels
   */
  bucket(shown) {
    const enough = WIDTHS.find((w) => w >= shown) ?? this.sequence.width;
    return Math.min(enough, this.sequence.width);
  }

  /** @param {number} shown device pixels */
  setShownWidth(shown) {
    const width = this.bucket(shown);
    if (width === this.width) return;
    this.width = width;
    this.fill();
  }

  /**
   * The best picture there is of a frame, or null.
   * @param {number} frame
   * @returns {Picture|null}
   */
  picture(frame) {
    for (const width of [this.width, this.sequence.width, ...[...WIDTHS].reverse(), SMALL_WIDTH]) {
      const key = `${frame}@${width}`;
      const found = this.cache.get(key);
      if (found) {
        this.cache.delete(key);
        this.cache.set(key, found);
        return found;
      }
    }
    return null;
  }

  /**
   * Turns to a frame: fetches it first, then its neighbours.
   * @param {number} frame
   * @param {boolean} scrubbing
   */
  goTo(frame, scrubbing) {
    if (frame !== this.frame) this.direction = frame < this.frame ? -1 : 1;
    this.frame = frame;
    this.scrubbing = scrubbing;
    this.fill();
  }

  /** What is wanted now, most urgent first. */
  wanted() {
    const small = Math.min(SMALL_WIDTH, this.sequence.width);
    if (this.scrubbing) return [{ frame: this.frame, width: small }];
    const wanted = [{ frame: this.frame, width: this.width }];
    for (let step = 1; step <= AHEAD; step += 1) {
      wanted.push({ frame: this.frame + step * this.direction, width: this.width });
      if (step <= BEHIND) {
        wanted.push({ frame: this.frame - step * this.direction, width: this.width });
      }
    }
    return wanted.filter(({ frame }) => frame >= 1 && frame <= this.sequence.length);
  }

  fill() {
    if (this.closed) return;
    const wanted = this.wanted();
    const keys = new Set(wanted.map(({ frame, width }) => `${frame}@${width}`));
    for (const [key, control] of this.pending) {
      // A scrub's own pictures are let through: they are what makes it follow the mouse.
      if (!keys.has(key) && !key.endsWith(`@${SMALL_WIDTH}`)) {
        control.abort();
        this.pending.delete(key);
      }
    }
    for (const { frame, width } of wanted) {
      if (this.pending.size >= AT_ONCE) return;
      const key = `${frame}@${width}`;
      if (!this.cache.has(key) && !this.pending.has(key)) void this.fetch(frame, width);
    }
  }

  /**
   * @param {number} frame
   * @param {number} width
   */
  async fetch(frame, width) {
    const key = `${frame}@${width}`;
    const control = new AbortController();
    this.pending.set(key, control);
    const sharp = width >= this.width;
    try {
      const address = frameAddress(this.sequence.index, frame, width, sharp ? "high" : "low");
      const answer = await fetch(address, { signal: control.signal });
      if (!answer.ok) throw new Error(await reason(answer));
      const bitmap = await createImageBitmap(await answer.blob());
      if (this.closed) bitmap.close();
      else this.keep(key, { bitmap, frame, sharp, bytes: bitmap.width * bitmap.height * 4 });
      this.onTrouble(false, "");
    } catch (error) {
      if (control.signal.aborted) return;
      if (frame === this.frame) {
        this.onTrouble(true, String(error.message ?? error));
        setTimeout(() => this.frame === frame && this.fill(), RETRY);
      }
      this.pending.delete(key);
      return;
    } finally {
      if (this.pending.get(key) === control) this.pending.delete(key);
    }
    this.onPicture(frame);
    this.fill();
  }

  /**
   * @param {string} key
   * @param {Picture} picture
   */
  keep(key, picture) {
    this.cache.get(key)?.bitmap.close();
    this.cache.set(key, picture);
    this.bytes = [...this.cache.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    for (const [old, { bitmap, bytes, frame }] of this.cache) {
      if (this.bytes <= BUDGET) return;
      if (frame === this.frame) continue;
      this.cache.delete(old);
      this.bytes -= bytes;
      bitmap.close();
    }
  }

  close() {
    this.closed = true;
    for (const control of this.pending.values()) control.abort();
    for (const { bitmap } of this.cache.values()) bitmap.close();
    this.cache.clear();
    this.bytes = 0;
  }
}

/** @param {Response} answer */
async function reason(answer) {
  const found = await answer.json().catch(() => null);
  return found?.error?.message ?? `The server answered ${answer.status}.`;
}
