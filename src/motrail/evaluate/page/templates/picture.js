const TRUTH = "#56b4e9", FOUND = "#f5a623", AFTER = "#ff8fd0", BLANK = "#1b222b";
const TAG = 15; // Pixels high.
const scene = { event: null, window: [], place: 0, zoom: false };
const loaded = new Map(); // Pictures by "sequence/frame".

/** Frames around the start and the end of an event that the page has the boxes of. */
function windowOf(event) {
  const known = data.frames[event.sequence], last = data.sequences[event.sequence].length;
  const around = new Set();
  for (const middle of [event.start, event.end]) {
    for (let f = Math.max(1, middle - data.margin); f <= Math.min(last, middle + data.margin); f++) {
      if (f in known) around.add(f);
    }
  }
  return [...around].sort((a, b) => a - b);
}

/** Boxes of a frame: of the truth and of the results, in pixels. */
function boxesAt(index, frame) {
  const { scale } = data.sequences[index];
  return (data.frames[index][frame] ?? ";").split(";").map((side) => {
    const numbers = side ? side.split(",").map(Number) : [];
    const boxes = [];
    for (let i = 0; i < numbers.length; i += 5) {
      const [x, y, w, h] = numbers.slice(i + 1, i + 5).map((value) => value / scale);
      boxes.push({ id: numbers[i], x, y, w, h });
    }
    return boxes;
  });
}

/** The picture of a frame, or the nearest one that is there; drawn again once it is loaded. */
function pictureFor(index, frame) {
  for (let away = 0; away <= data.margin; away++) {
    for (const near of [frame - away, frame + away]) {
      const key = `${index}/${near}`;
      if (!(key in data.pictures)) continue;
      if (!loaded.has(key)) {
        const image = new Image();
        image.addEventListener("load", drawScene);
        image.src = data.pictures[key];
        loaded.set(key, image);
      }
      return { image: loaded.get(key), frame: near };
    }
  }
  return null;
}

/** The part of the frame to show: all of it, or the surroundings of the event's objects. */
function viewOf(event, frame, zoom) {
  const { width, height } = data.sequences[event.sequence];
  const whole = { x: 0, y: 0, w: width, h: height };
  if (!zoom) return whole;
  let box = null;
  for (const near of windowOf(event).sort((a, b) => Math.abs(a - frame) - Math.abs(b - frame))) {
    box = boxesAt(event.sequence, near)[0].find((candidate) => candidate.id === event.truth);
    if (box) break;
  }
  if (!box) return whole;
  const share = Math.min(1, Math.max((3 * box.h) / height, (4 * box.w) / width, 0.12));
  const w = width * share, h = height * share;
  const clamp = (value, size, full) => Math.min(Math.max(value, 0), full - size);
  return { x: clamp(box.x + box.w / 2 - w / 2, w, width), y: clamp(box.y + box.h / 2 - h / 2, h, height), w, h };
}

function drawBox(context, box, view, factor, style) {
  const x = (box.x - view.x) * factor, y = (box.y - view.y) * factor;
  const w = box.w * factor, h = box.h * factor;
  context.setLineDash([]);
  context.strokeStyle = "rgba(0, 0, 0, .55)";
  context.lineWidth = style.width + 1.5;
  if (style.strong) context.strokeRect(x, y, w, h);
  context.setLineDash(style.dashed ? [5, 3] : []);
  context.strokeStyle = style.color;
  context.lineWidth = style.width;
  context.globalAlpha = style.strong ? 1 : 0.6;
  context.strokeRect(x, y, w, h);
  context.globalAlpha = 1;
}

/** Write a box's number above or below it, where no other number stands. */
function drawTag(context, text, box, view, factor, style, size, taken) {
  context.font = "600 11px system-ui, sans-serif";
  const outside = box.x > view.x + view.w || box.x + box.w < view.x ||
    box.y > view.y + view.h || box.y + box.h < view.y;
  if (outside) return;
  const long = context.measureText(text).width + 8;
  const left = (box.x - view.x) * factor - style.width / 2;
  const across = (value) => Math.min(Math.max(value, 0), size.width - long);
  const down = (value) => Math.min(Math.max(value, 0), size.height - TAG);
  // Numbers of the truth above, of the results below; else beside that, or as near as can be.
  const first = style.dashed ? (box.y - view.y) * factor - TAG - 1 : (box.y + box.h - view.y) * factor + 1;
  const step = style.dashed ? -TAG : TAG;
  const places = [[0, 0], [long, 0], [-long, 0], [0, 1], [0, 2], [0, 3], [0, -1], [0, -2]]
    .map(([aside, times]) => [across(left + aside), down(first + times * step)]);
  const free = ([x, y]) => !taken.some((o) => x < o.x + o.long && o.x < x + long && Math.abs(y - o.y) < TAG);
  const [x, y] = places.find(free) ?? places[0];
  taken.push({ x, y, long });
  context.fillStyle = style.color;
  context.fillRect(x, y, long, TAG);
  context.fillStyle = "#10151b";
  context.fillText(text, x + 4, y + 11.5);
}

/** How a box is drawn that takes part in the event; null for the others. */
function styleOf(event, frame, box, dashed) {
  if (dashed) {
    if (box.id === event.truth) return { color: TRUTH, dashed, strong: true, width: 2.5 };
    if (box.id === event.other) return { color: TRUTH, dashed, strong: true, width: 1.5 };
    return null;
  }
  const after = box.id === event.after && event.after !== event.before;
  if (!after && box.id !== event.before) return null;
  // Of two identities that are both there the one that has the object is the thicker one.
  const has = event.kind !== "switch" || (after ? frame >= event.end : frame <= event.start);
  return { color: after ? AFTER : FOUND, dashed, strong: true, width: has ? 2.5 : 1.5 };
}

/** Draw a frame with its boxes; answers which picture is behind them. */
function drawFrame(canvas, event, frame, zoom) {
  const size = data.sequences[event.sequence];
  const width = canvas.clientWidth, height = (width * size.height) / size.width;
  canvas.style.height = `${height}px`;
  const context = sharp(canvas, width, height);
  const view = viewOf(event, frame, zoom), factor = width / view.w;
  context.fillStyle = BLANK;
  context.fillRect(0, 0, width, height);
  const picture = pictureFor(event.sequence, frame);
  if (picture && picture.image.complete && picture.image.naturalWidth) {
    const fx = picture.image.naturalWidth / size.width, fy = picture.image.naturalHeight / size.height;
    context.globalAlpha = picture.frame === frame ? 1 : 0.35;
    context.drawImage(picture.image, view.x * fx, view.y * fy, view.w * fx, view.h * fy, 0, 0, width, height);
    context.globalAlpha = 1;
  }
  const [truth, found] = boxesAt(event.sequence, frame);
  const all = [...truth.map((box) => [box, true]), ...found.map((box) => [box, false])];
  const parts = [];
  for (const [box, dashed] of all) {
    const style = styleOf(event, frame, box, dashed);
    if (style) parts.push([box, style]);
    else drawBox(context, box, view, factor, { color: dashed ? TRUTH : FOUND, dashed, width: 1 });
  }
  parts.sort(([, a], [, b]) => a.width - b.width);
  for (const [box, style] of parts) drawBox(context, box, view, factor, style);
  const taken = [];
  for (const [box, style] of parts.reverse()) {
    const word = style.dashed ? "truth" : "found";
    drawTag(context, `${word} ${box.id}`, box, view, factor, style, { width, height }, taken);
  }
  canvas.setAttribute("aria-label", `Frame ${frame}: ${truth.length} true boxes, ${found.length} found`);
  return picture;
}

function drawScene() {
  const { event, window: around, place } = scene;
  if (!event) return;
  const sequence = data.sequences[event.sequence];
  const frame = around[place] ?? event.start;
  const picture = drawFrame(byId("stage"), event, frame, scene.zoom);
  const note = !event.shown
    ? "The boxes of this error are left out, to keep the page small."
    : picture && picture.frame !== frame ? `behind, faded: the picture of frame ${picture.frame}` : "";
  byId("stage-note").textContent = note;
  const time = sequence.rate ? `, ${((frame - 1) / sequence.rate).toFixed(2)} s` : "";
  const inside = event.kind === "switch"
    ? (frame <= event.start ? "before the switch" : frame >= event.end ? "after the switch" : "between")
    : (frame < event.start ? "before" : frame > event.end ? "after" : "missed here");
  const jump = place > 0 && frame - around[place - 1] > 1
    ? ` – ${count(frame - around[place - 1] - 1)} frames before are skipped` : "";
  byId("frame").textContent = `Frame ${frame} of ${sequence.length}${time}: ${inside}${jump}`;
  byId("slider").max = Math.max(0, around.length - 1);
  byId("slider").value = place;
  byId("slider").setAttribute("aria-valuetext", `Frame ${frame}`);
  byId("back").disabled = place <= 0;
  byId("on").disabled = place >= around.length - 1;
  const pair = event.kind === "switch" && Boolean(event.shown);
  byId("pair").hidden = !pair;
  if (!pair) return;
  drawFrame(byId("before"), event, event.start, true);
  drawFrame(byId("after"), event, event.end, true);
  byId("before-text").textContent = `before: frame ${event.start}, found as ${event.before}`;
  byId("after-text").textContent = `after: frame ${event.end}, found as ${event.after}`;
}

function showScene(event) {
  scene.event = event;
  scene.window = event.shown ? windowOf(event) : [];
  const focus = event.kind === "switch" ? event.end : event.start;
  scene.place = Math.max(0, scene.window.indexOf(focus));
  byId("scene-title").replaceChildren(`${event.number}. ${LANES[event.kind].one} · `,
    make("bdi", {}, brief(event.name)), ` · ${frames(event.start, event.end)}`);
  byId("scene-text").textContent = sentence(event);
  drawScene();
}

function goTo(place) {
  scene.place = Math.min(Math.max(place, 0), Math.max(0, scene.window.length - 1));
  drawScene();
}

byId("back").addEventListener("click", () => goTo(scene.place - 1));
byId("on").addEventListener("click", () => goTo(scene.place + 1));
byId("slider").addEventListener("input", (change) => goTo(Number(change.target.value)));
byId("zoom").addEventListener("click", () => {
  scene.zoom = !scene.zoom;
  byId("zoom").setAttribute("aria-pressed", String(scene.zoom));
  drawScene();
});
byId("before").addEventListener("click", () => goTo(scene.window.indexOf(scene.event.start)));
byId("after").addEventListener("click", () => goTo(scene.window.indexOf(scene.event.end)));
