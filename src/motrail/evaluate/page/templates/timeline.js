const LANE_HEIGHT = 10, LANE_GAP = 2;
const most = Object.fromEntries(lanes.map((lane) => {
  const counts = data.sequences.flatMap((s) => (s.lanes[lane] ?? []).filter((_, i) => i % 2));
  return [lane, counts.reduce((a, b) => Math.max(a, b), 1)];
}));
let chosen = null; // The event that is shown.
const rows = data.sequences.map((sequence, index) => {
  const canvas = make("canvas", { role: "img", "aria-label": `Errors along ${sequence.name}` });
  canvas.style.height = `${lanes.length * (LANE_HEIGHT + LANE_GAP)}px`;
  const seconds = sequence.rate ? ` · ${clock(sequence.length / sequence.rate)}` : "";
  const head = make("div", {}, make("b", { title: sequence.name }, sequence.name),
    make("span", {}, `${count(sequence.length)} frames${seconds}`));
  const box = make("div", { class: "timeline" }, head, canvas);
  byId("timelines").append(box);
  return { sequence, index, canvas, box };
});

function clock(seconds) {
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const pad = (value) => String(value).padStart(2, "0");
  return `${Math.floor(whole / 60)}:${pad(whole % 60)} min`;
}

function drawTimeline({ sequence, index, canvas }) {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  const context = sharp(canvas, width, height);
  const wide = (sequence.step / Math.max(1, sequence.length)) * width;
  lanes.forEach((lane, place) => {
    const top = place * (LANE_HEIGHT + LANE_GAP);
    context.globalAlpha = 1;
    context.fillStyle = color("--faint");
    context.fillRect(0, top, width, LANE_HEIGHT);
    context.fillStyle = color(LANES[lane].color);
    const pairs = sequence.lanes[lane] ?? [];
    for (let i = 0; i < pairs.length; i += 2) {
      context.globalAlpha = lane === "switch" ? 1 : 0.25 + 0.75 * Math.sqrt(pairs[i + 1] / most[lane]);
      const least = lane === "switch" ? 2.5 : 0.75;
      context.fillRect(pairs[i] * wide, top, Math.max(wide, least), LANE_HEIGHT);
    }
  });
  context.globalAlpha = 1;
  if (chosen && chosen.sequence === index) {
    const scale = width / sequence.length;
    const left = (chosen.start - 1) * scale;
    context.strokeStyle = color("--ink");
    context.lineWidth = 1.5;
    const span = Math.max(4, (chosen.end - chosen.start + 1) * scale);
    context.strokeRect(Math.min(left, width - 5) + 0.75, 0.75, span, height - 2);
  }
}

/** Which lane and which step the pointer is at. */
function pointed(row, pointer) {
  const box = row.canvas.getBoundingClientRect();
  const place = Math.floor((pointer.clientY - box.top) / (LANE_HEIGHT + LANE_GAP));
  const share = Math.min(Math.max((pointer.clientX - box.left) / box.width, 0), 0.999999);
  return { lane: lanes[Math.min(Math.max(place, 0), lanes.length - 1)],
    frame: Math.floor(share * row.sequence.length) + 1 };
}

function counted(sequence, lane, step) {
  const pairs = sequence.lanes[lane] ?? [];
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === step) return pairs[i + 1];
  return 0;
}

function showTip(row, pointer) {
  const { frame } = pointed(row, pointer);
  const step = Math.floor((frame - 1) / row.sequence.step);
  const first = step * row.sequence.step + 1;
  const last = Math.min(first + row.sequence.step - 1, row.sequence.length);
  const lines = lanes.map((lane) => `${LANES[lane].name}: ${count(counted(row.sequence, lane, step))}`);
  const tip = byId("tip");
  tip.replaceChildren(make("bdi", {}, brief(row.sequence.name)), `, ${frames(first, last)}\n${lines.join("\n")}`);
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = `${Math.max(4, Math.min(pointer.clientX + 14, innerWidth - width - 8))}px`;
  const below = pointer.clientY + 18;
  tip.style.top = `${below + height > innerHeight ? pointer.clientY - height - 12 : below}px`;
}

/** The listed event of a lane that is nearest to a frame; of several there the most costly one. */
function nearest(index, lane, frame) {
  let best = null, least = Infinity;
  for (const event of events) {
    if (event.sequence !== index || event.kind !== lane) continue;
    const from = event.kind === "switch" ? event.end : event.start;
    const away = from > frame ? from - frame : Math.max(0, frame - event.end);
    if (away < least) [best, least] = [event, away];
  }
  return best;
}

for (const row of rows) {
  row.canvas.addEventListener("pointermove", (pointer) => showTip(row, pointer));
  row.canvas.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  row.canvas.addEventListener("click", (pointer) => {
    const { lane, frame } = pointed(row, pointer);
    const event = lane === "false positives" ? null : nearest(row.index, lane, frame);
    if (event) choose(event, { reveal: true });
  });
}
for (const lane of lanes) {
  const swatch = make("i");
  swatch.style.background = `var(${LANES[lane].color})`;
  byId("lane-legend").append(make("span", {}, swatch, LANES[lane].name));
}
