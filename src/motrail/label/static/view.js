/**
 * Zoom and pan: picture pixels to canvas pixels and back.
 *
 * A view is `{scale, left, top}`: canvas x = left + scale · picture x. Pure functions.
 *
 * @typedef {{scale: number, left: number, top: number}} View
 * @typedef {{width: number, height: number}} Size
 */

export const LARGEST_SCALE = 32;

/**
 * The whole picture, centred.
 * @param {Size} picture
 * @param {Size} canvas
 * @param {number} margin canvas pixels
 * @returns {View}
 */
export function fit(picture, canvas, margin = 8) {
  const wide = Math.max(1, canvas.width - 2 * margin) / picture.width;
  const high = Math.max(1, canvas.height - 2 * margin) / picture.height;
  const scale = Math.min(wide, high);
  return centred(picture, canvas, scale, picture.width / 2, picture.height / 2);
}

/**
 * @param {Size} _picture
 * @param {Size} canvas
 * @param {number} scale
 * @param {number} x picture pixel in the middle of the canvas
 * @param {number} y
 * @returns {View}
 */
function centred(_picture, canvas, scale, x, y) {
  return { scale, left: canvas.width / 2 - x * scale, top: canvas.height / 2 - y * scale };
}

/**
 * Zooms about a canvas point, which stays where it is.
 * @param {View} view
 * @param {number} factor
 * @param {number} x canvas pixels
 * @param {number} y
 * @param {number} least the smallest scale
 * @returns {View}
 */
export function zoomed(view, factor, x, y, least) {
  const scale = Math.min(LARGEST_SCALE, Math.max(least, view.scale * factor));
  const ratio = scale / view.scale;
  return { scale, left: x - (x - view.left) * ratio, top: y - (y - view.top) * ratio };
}

/**
 * Moves the view, keeping at least a quarter of the canvas on the picture.
 * @param {View} view
 * @param {number} dx canvas pixels
 * @param {number} dy
 * @param {Size} picture
 * @param {Size} canvas
 * @returns {View}
 */
export function panned(view, dx, dy, picture, canvas) {
  /** @type {(at: number, size: number, room: number) => number} */
  const within = (at, size, room) =>
    Math.min(room * 0.75, Math.max(room * 0.25 - size, at));
  return {
    scale: view.scale,
    left: within(view.left + dx, picture.width * view.scale, canvas.width),
    top: within(view.top + dy, picture.height * view.scale, canvas.height),
  };
}

/**
 * @param {View} view
 * @param {number} x canvas pixels
 * @param {number} y
 * @returns {[number, number]} picture pixels
 */
export function toPicture(view, x, y) {
  return [(x - view.left) / view.scale, (y - view.top) / view.scale];
}

/**
 * Brings a box into sight when none of it is, without changing the scale.
 * @param {View} view
 * @param {import("./model.js").Box} box
 * @param {Size} canvas
 * @param {Size} picture
 * @returns {View}
 */
export function reveal(view, box, canvas, picture) {
  const left = view.left + box.x * view.scale;
  const top = view.top + box.y * view.scale;
  const seen =
    left + box.w * view.scale > 0 &&
    top + box.h * view.scale > 0 &&
    left < canvas.width &&
    top < canvas.height;
  if (seen) return view;
  return centred(picture, canvas, view.scale, box.x + box.w / 2, box.y + box.h / 2);
}

/** The eight handles of a box: which way each pulls, in x and y. */
export const HANDLES = /** @type {const} */ ([
  [-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0],
]);

/**
 * A box pulled by a handle; it turns over rather than becoming negative.
 * @param {import("./model.js").Box} box
 * @param {readonly [number, number]} handle
 * @param {number} dx picture pixels
 * @param {number} dy
 * @returns {import("./model.js").Box}
 */
export function pulled(box, handle, dx, dy) {
  const x1 = box.x + (handle[0] < 0 ? dx : 0);
  const y1 = box.y + (handle[1] < 0 ? dy : 0);
  const x2 = box.x + box.w + (handle[0] > 0 ? dx : 0);
  const y2 = box.y + box.h + (handle[1] > 0 ? dy : 0);
  return between(x1, y1, x2, y2);
}

/**
 * The box between two corners, in any order.
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 * @returns {import("./model.js").Box}
 */
export function between(x1, y1, x2, y2) {
  return {
    x: Math.min(x1, x2),
    y: Math.min(y1, y2),
    w: Math.abs(x2 - x1),
    h: Math.abs(y2 - y1),
  };
}
