/* The page works without this script, but for the table of all probes, the differences behind each
   comparison, and sorting. Text of models and files is only ever written with textContent. */
"use strict";

const WINDOW = 200; // rows drawn at a time
const $ = (id) => document.getElementById(id);
const json = (id) => ($(id) ? JSON.parse($(id).textContent) : null);

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const bdi = (text) => el("bdi", {}, text);

function points(value, sign) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(1);
  if (text === "0.0") return text;
  return (value < 0 ? "−" : sign ? "+" : "") + text;
}

const unpacked = new Map();
function unpack(id) {
  if (!unpacked.has(id)) unpacked.set(id, inflate(id).then((raw) => JSON.parse(new TextDecoder().decode(raw))));
  return unpacked.get(id);
}

async function inflate(id) {
  if (typeof DecompressionStream === "undefined")
    throw new Error("This browser cannot unpack it (no DecompressionStream): use a newer one.");
  const bytes = Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Answers are stored with short codes for words; lem/report/packing.py says how.
async function unpackAnswers(id) {
  const words = await unpack("words"), raw = await inflate(id), text = [];
  for (let i = 0; i < raw.length; i++) {
    const b = raw[i];
    if (b === 10) text.push("\\n");
    else if (b === 1) text.push(String.fromCodePoint((raw[++i] << 16) | (raw[++i] << 8) | raw[++i]));
    else if (b < 128) text.push(String.fromCharCode(b));
    else text.push(words[b < 192 ? b - 128 : 64 + ((b - 192) << 8) + raw[++i]]);
  }
  return JSON.parse(text.join(""));
}

/* ---- sorting -------------------------------------------------------------------------------- */

function compare(a, b, down) {
  // what has no value goes last, whichever way
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

function turn(th) {
  const down = th.getAttribute("aria-sort") === "none"
    ? th.classList.contains("n") : th.getAttribute("aria-sort") === "ascending";
  for (const other of th.parentNode.children)
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  return down;
}

function sortStatic(th) {
  const down = turn(th), column = th.cellIndex, numeric = th.classList.contains("n");
  const value = (row) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent;
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };
  for (const body of th.closest("table").tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.map((row) => [value(row), row]).sort((a, b) => compare(a[0], b[0], down))
      .forEach(([, row]) => body.append(row));
  }
}

/* ---- all probes ----------------------------------------------------------------------------- */

const data = json("data");
const state = { sort: null, down: false, shown: WINDOW, open: new Set() };

function columns() {
  const many = data.models.length > 1;
  const found = [
    { label: "probe", value: (r) => data.probes[r[0]][0] },
    { label: "domain", value: (r) => data.probes[r[0]][1] },
    { label: "model", value: (r) => data.models[r[1]], skip: !many },
    { label: "prompt", value: (r) => data.probes[r[0]][2], wide: true },
  ];
  data.conditions.forEach((name, i) =>
    found.push({ label: name, method: data.method, value: (r) => r[2][i], numeric: true }));
  data.kernels.forEach((condition, i) =>
    found.push({ label: `${data.conditions[condition]} −`, method: "m-diff", delta: true,
      value: (r) => r[3][i], numeric: true }));
  return found.filter((c) => !c.skip);
}

function rowsWanted() {
  const words = $("q").value.toLowerCase().split(/\s+/).filter(Boolean);
  const domain = $("domain").value, model = $("model") ? $("model").value : "";
  const beyond = $("beyond").checked;
  return data.rows.filter((r, i) =>
    (!domain || data.probes[r[0]][1] === domain) &&
    (!model || data.models[r[1]] === model) &&
    (!beyond || r[3].some((d) => d !== null && Math.abs(d) > data.tie)) &&
    words.every((word) => data.text[i].includes(word)));
}

function draw() {
  const began = performance.now();
  let rows = rowsWanted();
  if (state.sort) {
    const { value } = state.sort;
    rows = rows.map((r) => [value(r), r]).sort((a, b) => compare(a[0], b[0], state.down))
      .map((pair) => pair[1]);
  }
  const body = document.createDocumentFragment();
  for (const r of rows.slice(0, state.shown)) body.append(...drawRow(r));
  $("rows").replaceChildren(body);
  const shown = Math.min(state.shown, rows.length);
  $("found").textContent = `${rows.length} of ${data.rows.length} rows` +
    (shown < rows.length ? `, the first ${shown} shown` : "");
  $("more").hidden = shown >= rows.length;
  performance.measure("lem-filter", { start: began, end: performance.now() });
}

function drawRow(r) {
  const cells = data.columns.map((c, i) => {
    const value = c.value(r);
    if (!c.numeric) {
      const inner = i === 0 && data.chunks
        ? el("button", { "aria-expanded": String(state.open.has(r)) }, bdi(value)) : bdi(value);
      return el("td", { class: c.wide ? "wide" : null }, inner);
    }
    const side = !c.delta || value === null || Math.abs(value) <= data.tie ? "" : value > 0 ? " up" : " down";
    return el("td", { class: "n" + side },
      el("a", { href: `#${c.method}`, tabindex: "-1" }, points(value, c.delta)));
  });
  const row = el("tr", {}, ...cells);
  if (!data.chunks) return [row];
  cells[0].firstChild.addEventListener("click", (event) => toggle(r, row, event.currentTarget));
  return state.open.has(r) ? [row, answerRow(r)] : [row];
}

function toggle(r, row, button) {
  const opening = !state.open.has(r);
  button.setAttribute("aria-expanded", String(opening));
  if (opening) {
    state.open.add(r);
    row.after(answerRow(r));
  } else {
    state.open.delete(r);
    if (row.nextElementSibling) row.nextElementSibling.remove();
  }
}

function answerRow(r) {
  const cell = el("td", { colspan: data.columns.length }, el("p", { class: "quiet" }, "Unpacking …"));
  unpackAnswers(`a${r[0]}`).then(
    (chunk) => cell.replaceChildren(...drawAnswers(chunk, chunk.answers[r[1]] || {})),
    (error) => cell.replaceChildren(el("p", { class: "warn" }, error.message)));
  return el("tr", { class: "answers" }, cell);
}

function drawAnswers(chunk, byCondition) {
  const sides = data.conditions.map((name, i) => {
    if (!byCondition[i]) return null;
    const samples = byCondition[i].map((a) => drawAnswer(a, byCondition[i].length > 1));
    return el("section", {}, el("h4", {}, bdi(name)), ...samples);
  });
  const question = chunk.prompt === null ? "The source does not say what was asked." : chunk.prompt;
  return [el("blockquote", { dir: "auto" }, question),
    el("div", { class: "sides", tabindex: "0", role: "group", "aria-label": "Answers side by side" },
      ...sides.filter(Boolean))];
}

function drawAnswer([text, left, score, words, flags, sample], several) {
  const counts = new Map();
  const body = el("div", { class: "text", dir: "auto" });
  text.split("\x7f").forEach((piece, i) => {
    if (i % 2 === 0) return body.append(piece);
    const parts = data.combinations[piece.charCodeAt(0) - 0x30] || [];
    let shown = piece.slice(1), after = "";
    if (!shown.trim()) { // white space that counts
      after = shown.replace(/[^\n]/g, "");
      shown = "¶".repeat(after.length) || "␣";
    }
    for (const part of parts) counts.set(part, (counts.get(part) || 0) + 1);
    const title = parts.map((p) => data.parts[p]).join(", ");
    body.append(el("mark", { class: `e${parts[0] % 12}`, title }, shown), after);
  });
  if (left) body.append(el("p", { class: "warn" },
    `… shortened to hold the size of this page: ${left.toLocaleString("en")} more characters.`));
  if (!text) body.append(el("p", { class: "quiet" }, "(no text)"));
  const legend = el("p", { class: "legend" });
  for (const [part, n] of [...counts].sort((a, b) => a[0] - b[0]))
    legend.append(el("mark", { class: `e${part % 12}` }, data.parts[part]), ` ${n}  `);
  return el("article", {},
    el("p", { class: "facts" }, several ? `sample ${sample} · ` : "",
      el("a", { href: `#${data.method}` }, score === null ? "no score" : points(score)),
      ` · ${words} words`, ...flags.map((flag) => el("span", { class: "flag" }, flag))),
    body, legend);
}

function startProbes() {
  data.text = data.rows.map((r) =>
    [...data.probes[r[0]], data.models[r[1]]].join(" ").toLowerCase());
  data.columns = columns();
  const heads = data.columns.map((c) => {
    const th = el("th", { scope: "col", "aria-sort": "none", class: c.numeric ? "n" : null },
      el("button", {}, bdi(c.label)),
      el("b", { class: "paper", "aria-hidden": "true" }, bdi(c.label)));
    th.firstChild.addEventListener("click", () => {
      state.down = turn(th);
      state.sort = c;
      draw();
    });
    return th;
  });
  $("heads").replaceChildren(el("tr", {}, ...heads));
  const fill = (select, names) => select.append(...names.map((n) => el("option", { value: n }, n)));
  fill($("domain"), [...new Set(data.probes.map((p) => p[1]))].sort());
  if ($("model")) fill($("model"), data.models);
  for (const id of ["q", "domain", "model", "beyond"])
    if ($(id)) $(id).addEventListener("input", () => { state.shown = WINDOW; draw(); });
  $("more").addEventListener("click", () => { state.shown += WINDOW; draw(); });
  draw();
}

/* ---- the differences behind a comparison ---------------------------------------------------- */

function startUnits(details) {
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.done) return;
    details.dataset.done = "1";
    const box = details.querySelector(".scroll");
    try {
      const units = (await unpack(details.dataset.chunk))[details.id];
      const head = ["unit", "domain", "score", "reference", "difference", "log length ratio"];
      const six = (v) => (v === null ? "–" : String(Number(v.toPrecision(6))).replace("-", "−"));
      box.replaceChildren(el("table", {},
        el("thead", {}, el("tr", {}, ...head.map((h, i) => el("th", { scope: "col", class: i > 1 ? "n" : null }, h)))),
        el("tbody", {}, ...units.map(([id, domain, arm, reference, shift]) => el("tr", {},
          el("td", {}, bdi(id)), el("td", {}, bdi(domain)),
          ...[arm, reference, arm - reference, shift].map((v) => el("td", { class: "n" }, six(v))))))));
    } catch (error) {
      box.replaceChildren(el("p", { class: "warn" }, error.message));
    }
  });
}

/* ---- the page ------------------------------------------------------------------------------- */

function reveal() {
  const target = location.hash ? $(decodeURIComponent(location.hash.slice(1))) : null;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}

for (const th of document.querySelectorAll("th[aria-sort]"))
  th.querySelector("button").addEventListener("click", () => sortStatic(th));
for (const details of document.querySelectorAll("details[data-chunk]")) startUnits(details);
if (data) startProbes();
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.print:not([open])")) {
    details.open = true;
    details.dataset.printed = "1";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-printed]")) {
    details.open = false;
    delete details.dataset.printed;
  }
});
reveal();
