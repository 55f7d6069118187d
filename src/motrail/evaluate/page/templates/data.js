const data = JSON.parse(document.getElementById("data-errors").textContent);
const byId = (id) => document.getElementById(id);
const count = (value) => value.toLocaleString("en");
const LANES = {
  switch: { name: "switches of identity", one: "switch", color: "--series-2" },
  fragment: { name: "fragments: lost and found again", one: "fragment", color: "--series-4" },
  misses: { name: "missed otherwise: at the start, the end or all along", one: "missed", color: "--series-1" },
  "false positives": { name: "false positives", one: "false positive", color: "--series-5" },
};
const lanes = Object.keys(LANES).filter((lane) => data.sequences.some((s) => lane in s.lanes));

const events = data.events.start.map((start, index) => {
  const at = (column) => data.events[column][index];
  return {
    number: index + 1, start, end: at("end"), sequence: at("sequence"),
    name: data.sequences[at("sequence")].name, className: data.classes[at("class")],
    kind: data.kinds[at("kind")], truth: at("truth"), before: at("before"), after: at("after"),
    other: at("other"), cost: at("cost"), cause: data.causes[at("cause")] ?? "", shown: at("shown"),
  };
});

/** An element with attributes and children; text is only ever set as text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const color = (variable) =>
  getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

/** A canvas as sharp as the screen; answers the context and its size in CSS pixels. */
function sharp(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const brief = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
const frames = (first, last) => (first === last ? `frame ${first}` : `frames ${first} to ${last}`);

/** What happened, in a sentence. */
function sentence(event) {
  const object = `Object ${event.truth}`;
  const missed = `${count(event.cost)} ${event.cost === 1 ? "box" : "boxes"} missed`;
  const where = frames(event.start, event.end);
  const { before, after } = event;
  let text;
  if (event.kind === "switch") {
    text = `${object} was found as ${before} up to frame ${event.start}, and as ${after} from ` +
      `frame ${event.end} on.`;
  } else if (!event.cost) {
    text = `${object} is not in the truth in ${where}: nothing was missed, and yet it counts as a break.`;
  } else {
    const since = before === null ? "" : `last found as ${before} before`;
    const then = after === null ? "" : `next found as ${after}`;
    const around = [since, then].filter(Boolean).join(", ") || "and never found at all";
    text = `${object} was not found in ${where} (${missed}), ${around}.`;
  }
  if (event.other !== null) text += ` Object ${event.other} takes part.`;
  if (event.cause) {
    const meaning = data.meanings[event.cause];
    text += ` Cause: ${event.cause}${meaning ? ` – ${meaning}` : ""}.`;
  }
  return text;
}
