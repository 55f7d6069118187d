const PORTION = 200;
const identities = (event) => {
  const shown = (id) => (id === null ? "–" : String(id));
  return event.before === event.after ? shown(event.before) : `${shown(event.before)} → ${shown(event.after)}`;
};
const COLUMNS = [
  { name: "#", value: (e) => e.number, number: true, meaning: "From the most costly one on" },
  { name: "error", value: (e) => LANES[e.kind].one },
  { name: "sequence", value: (e) => e.name },
  { name: "class", value: (e) => e.className, only: data.classes.length > 1 },
  { name: "frames", value: (e) => e.start, text: (e) => (e.start === e.end ? `${e.start}` : `${e.start}–${e.end}`), number: true },
  { name: "object", value: (e) => e.truth, number: true, meaning: "Its number in the truth" },
  { name: "found as", value: identities, meaning: "Its number in the results, before and after" },
  { name: "cost", value: (e) => e.cost, number: true, meaning: "Boxes missed; of a switch the boxes on its shorter side, which have the wrong identity" },
  { name: "cause", value: (e) => e.cause, only: data.causes.length > 0 },
].filter((column) => column.only !== false);
const FILTERS = [
  { name: "sequence", all: "all sequences", value: (e) => e.name },
  { name: "class", all: "all classes", value: (e) => e.className },
  { name: "error", all: "all errors", value: (e) => LANES[e.kind].one },
  { name: "cause", all: "all causes", value: (e) => e.cause || "not known" },
];
let sorting = { column: COLUMNS[0], sign: 1 };
let visible = [], portion = PORTION;
const shownRows = new Map();

for (const filter of FILTERS) {
  const names = [...new Set(events.map(filter.value))];
  names.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  filter.select = make("select", { onchange: () => { portion = PORTION; refresh(); } },
    make("option", { value: "" }, filter.all));
  names.forEach((name, index) => filter.select.append(make("option", { value: String(index + 1) }, name)));
  filter.names = names;
  if (names.length > 1) byId("filters").append(make("label", {}, filter.name, filter.select));
}
byId("filters").append(make("button", { type: "button", class: "plain", onclick: clearFilters }, "Show all"));

function clearFilters() {
  for (const filter of FILTERS) filter.select.value = "";
  portion = PORTION;
  refresh();
}

const headings = COLUMNS.map((column) => {
  const sort = () => {
    const same = sorting.column === column;
    // Large numbers first, but for the number of the event and its frame.
    const first = column.number && !["#", "frames"].includes(column.name) ? -1 : 1;
    sorting = { column, sign: same ? -sorting.sign : first };
    refresh();
  };
  return make("th", { scope: "col", class: column.number ? "number" : "text" },
    make("button", { type: "button", title: column.meaning, onclick: sort }, column.name));
});
byId("events").tHead.append(make("tr", {}, ...headings));

function refresh() {
  const active = FILTERS.filter((filter) => filter.select.value);
  visible = events.filter((event) =>
    active.every((filter) => filter.value(event) === filter.names[filter.select.value - 1]));
  const { column, sign } = sorting;
  visible.sort((a, b) => {
    const x = column.value(a), y = column.value(b);
    const order = column.number ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
    return sign * order || a.number - b.number;
  });
  headings.forEach((heading, index) => {
    if (COLUMNS[index] !== column) heading.removeAttribute("aria-sort");
    else heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  });
  renderRows();
}

function renderRows() {
  shownRows.clear();
  byId("events").tBodies[0].replaceChildren(...visible.slice(0, portion).map(rowOf));
  byId("more").hidden = visible.length <= portion;
  byId("more").textContent = `Show ${count(Math.min(PORTION, visible.length - portion))} more of ${count(visible.length)}`;
  const listed = events.length < data.total
    ? `The ${count(events.length)} most costly of ${count(data.total)} errors are listed; ${count(data.total - events.length)} are left out.`
    : `${count(data.total)} ${data.total === 1 ? "error" : "errors"}.`;
  const hidden = events.filter((event) => !event.shown).length;
  const without = hidden ? ` ${count(hidden)} of them come without boxes, to keep the page small.` : "";
  const chosenOnes = visible.length < events.length ? ` ${count(visible.length)} fit the filter.` : "";
  byId("counts").textContent = listed + without + chosenOnes;
}

function rowOf(event) {
  const cells = COLUMNS.map((column) => {
    const text = String(column.text ? column.text(event) : column.value(event));
    const cell = make("td", { class: column.number ? "number" : "text", title: column.number ? null : text });
    if (column.name === "error") {
      const swatch = make("i", { class: "swatch" });
      swatch.style.background = `var(${LANES[event.kind].color})`;
      cell.append(swatch);
    }
    cell.append(text);
    return cell;
  });
  const row = make("tr", { tabindex: "0", "aria-current": event === chosen ? "true" : null,
    onclick: () => choose(event, { look: true }) }, ...cells);
  shownRows.set(event, row);
  return row;
}

/** Show an event; `reveal` brings its row into the list, `look` the picture into sight. */
function choose(event, { reveal = false, look = false } = {}) {
  if (chosen && shownRows.has(chosen)) shownRows.get(chosen).removeAttribute("aria-current");
  const before = chosen;
  chosen = event;
  if (reveal && !visible.includes(event)) clearFilters();
  if (reveal && !shownRows.has(event)) {
    portion = Math.ceil((visible.indexOf(event) + 1) / PORTION) * PORTION;
    renderRows();
  }
  const row = shownRows.get(event);
  if (row) {
    row.setAttribute("aria-current", "true");
    const box = byId("event-scroll");
    const top = row.offsetTop - box.clientHeight / 2;
    if (reveal) box.scrollTop = top;
  }
  try { history.replaceState(null, "", `#event-${event.number}`); } catch { /* not allowed here */ }
  for (const index of new Set([before?.sequence, event.sequence])) {
    if (index !== undefined) drawTimeline(rows[index]);
  }
  showScene(event);
  const box = byId("scene").getBoundingClientRect();
  if (look && (box.top < 0 || box.top > innerHeight - 200)) byId("scene").scrollIntoView({ block: "start" });
}

function move(step) {
  const place = visible.indexOf(chosen) + step;
  if (place < 0 || place >= visible.length) return;
  if (place >= portion) { portion += PORTION; renderRows(); }
  choose(visible[place]);
  shownRows.get(visible[place]).focus();
}

byId("more").addEventListener("click", () => { portion += PORTION; renderRows(); });
byId("errors-view").addEventListener("keydown", (key) => {
  if (["SELECT", "INPUT"].includes(key.target.tagName) || key.ctrlKey || key.metaKey || key.altKey) return;
  const inList = byId("events").tBodies[0].contains(key.target);
  const actions = {
    ArrowLeft: () => goTo(scene.place - 1), ArrowRight: () => goTo(scene.place + 1),
    ArrowUp: () => move(-1), ArrowDown: () => move(1),
  };
  const act = inList && ["Enter", " "].includes(key.key)
    ? () => choose([...shownRows].find(([, row]) => row === key.target)[0], { look: true })
    : inList || byId("scene").contains(key.target) ? actions[key.key] : null;
  if (!act) return;
  key.preventDefault();
  act();
});

function fromAddress() {
  const found = /^#event-(\d+)$/.exec(location.hash);
  return found ? events[Number(found[1]) - 1] : undefined;
}

byId("errors-view").hidden = false;
refresh();
rows.forEach(drawTimeline);
const asked = fromAddress();
const address = location.hash;
if (events.length) choose(asked ?? events[0], { reveal: true });
// A page that was opened without asking for an event keeps its address.
if (!asked) try { history.replaceState(null, "", address || location.pathname + location.search); } catch { /* same */ }
if (asked) byId("scene").scrollIntoView({ block: "start" });
window.addEventListener("hashchange", () => {
  const event = fromAddress();
  if (event && event !== chosen) choose(event, { reveal: true, look: true });
});
const redraw = () => { rows.forEach(drawTimeline); drawScene(); };
window.addEventListener("resize", redraw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
