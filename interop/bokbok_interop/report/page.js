"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const OUT = ["passed", "failed", "unsupported", "absent"], SYM = ["✓", "✗", "–", "○"], TILE = ["", "✗", "–", "○"];
const $ = id => document.getElementById(id);
const el = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const narrow = matchMedia("(max-width: 900px)");
let ROW = narrow.matches ? 52 : 32;

// A cell is [client, server, unix?, insecure?, case, outcome, reason, seconds, evidence, extra]; what is text is an index.
const CHAPTERS = [...new Set(D.cases.map(c => c.chapter))], chapterOf = D.cases.map(c => CHAPTERS.indexOf(c.chapter));
const caseText = D.cases.map(c => (c.id + " " + c.title + " " + c.requirements.map(r => r.text).join(" ")).toLowerCase());
const reasonText = D.reasons.map(r => r.toLowerCase()), nameText = D.names.map(n => n.toLowerCase());
function sourceOf(r) {
  const line = el("div", "dim", r.document + ", " + r.section), at = $("rule:" + r.name);
  if (r.link && at) { const link = el("a", "", r.link); link.href = "#"; link.onclick = event => { event.preventDefault(); $("documents").open = true; at.scrollIntoView(); }; line.append(", ", link); }
  return line;
}
const sentenceOf = c => (c[9] && c[9].requirement) || D.cases[c[4]].requirements[0] || null;
const counted = (n, word) => n.toLocaleString("en") + " " + word + (n === 1 ? "" : "s");
// Failures first, then the order of the run.
const order = D.cells.map((_, i) => i).sort((a, b) => (D.cells[b][5] === 1) - (D.cells[a][5] === 1) || a - b);

const FRESH = () => ({ text: "", outcomes: [true, true, true, true], chapter: "", kind: "", transport: "", security: "", pair: null, failure: "" });
let state = FRESH(), view = [], selected = -1;

function filter() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean).map(w => ({ w, c: caseText.map(t => t.includes(w)), r: reasonText.map(t => t.includes(w)), n: nameText.map(t => t.includes(w)) }));
  const caseOk = D.cases.map(c => (!state.chapter || c.chapter === state.chapter) && (!state.kind || c.kind === state.kind));
  const kept = selected >= 0 ? view[selected] : -1;
  view = order.filter(i => {
    const c = D.cells[i];
    if (!state.outcomes[c[5]] || !caseOk[c[4]]) return false;
    if (state.transport !== "" && c[2] !== +state.transport) return false;
    if (state.security !== "" && c[3] !== +state.security) return false;
    if (state.pair && (state.pair[0] !== c[0] || state.pair[1] !== c[1])) return false;
    if (state.failure !== "" && (c[5] !== 1 || c[9].failure !== +state.failure)) return false;
    return words.every(s => s.c[c[4]] || s.r[c[6]] || s.n[c[0]] || s.n[c[1]] || OUT[c[5]] === s.w);
  });
  selected = view.indexOf(kept);
  $("count").textContent = view.length.toLocaleString("en") + " of " + counted(D.cells.length, "cell");
  $("rows").style.height = view.length * ROW + "px";
  $("empty").hidden = view.length > 0;
  if ($("list").scrollTop > view.length * ROW) $("list").scrollTop = 0;
  draw(); remember();
}

// Only the rows that are on the screen exist.
function draw() {
  const list = $("list"), first = Math.max(0, Math.floor(list.scrollTop / ROW) - 8), last = Math.min(view.length, first + Math.ceil(list.clientHeight / ROW) + 16), frag = document.createDocumentFragment();
  for (let i = first; i < last; i++) {
    const c = D.cells[view[i]], row = el("div", "row"), symbol = el("span", OUT[c[5]], SYM[c[5]]);
    row.style.top = i * ROW + "px"; row.dataset.i = i; row.id = "row" + i; row.setAttribute("role", "option"); row.setAttribute("aria-selected", i === selected);
    symbol.setAttribute("aria-label", OUT[c[5]]);
    row.append(symbol, el("span", "mono", D.cases[c[4]].id), el("span", "", D.names[c[0]] + " → " + D.names[c[1]]), el("span", "dim", (c[2] ? "unix" : "tcp") + ", " + (c[3] ? "insecure" : "secure")), el("span", c[5] === 1 ? "" : "dim", D.reasons[c[6]] || c[7].toFixed(3) + " s"));
    row.title = OUT[c[5]] + ": " + D.cases[c[4]].title + (D.reasons[c[6]] ? "\n" + D.reasons[c[6]] : ""); frag.append(row);
  }
  $("rows").replaceChildren(frag);
  if (selected >= 0) list.setAttribute("aria-activedescendant", "row" + selected); else list.removeAttribute("aria-activedescendant");
}

function worst(v) { return v[1] ? 1 : v[0] ? 0 : v[2] ? 2 : v[3] ? 3 : -1; }
function words(v) { return v.map((n, o) => n ? n + " " + OUT[o] : "").filter(Boolean).join(", "); }
function matrix() {
  const squares = new Map();
  for (const c of D.cells) {
    const k = c[0] + "/" + c[1]; let s = squares.get(k); if (!s) squares.set(k, s = { all: [0, 0, 0, 0], by: CHAPTERS.map(() => [0, 0, 0, 0]) });
    s.all[c[5]]++; s.by[chapterOf[c[4]]][c[5]]++;
  }
  const has = (a, b) => squares.has(a + "/" + b), idx = D.names.map((_, i) => i).sort((a, b) => (D.names[a] === "runner") - (D.names[b] === "runner"));
  const clients = idx.filter(a => idx.some(b => has(a, b))), servers = idx.filter(b => idx.some(a => has(a, b)));
  const table = $("matrix"), head = el("tr"); head.append(el("th", "dim", "client ↓  server →")); servers.forEach(s => head.append(el("th", "", D.names[s]))); table.append(head);
  for (const a of clients) {
    const tr = el("tr"), th = el("th", "", D.names[a]); th.scope = "row"; tr.append(th);
    for (const b of servers) {
      const td = el("td"), s = squares.get(a + "/" + b);
      if (s) {
        const box = el("div", "square s-" + OUT[worst(s.all)]), button = el("button"), tiles = el("div", "tiles"), pair = D.names[a] + " to " + D.names[b];
        s.all.forEach((n, o) => { if (n) button.append(el("span", OUT[o], SYM[o] + n + " ")); });
        button.setAttribute("aria-label", pair + ": " + words(s.all)); button.dataset.pair = a + "/" + b;
        button.onclick = () => { const on = state.pair && !state.chapter && state.pair[0] === a && state.pair[1] === b; state.pair = on ? null : [a, b]; state.chapter = ""; pressed(); filter(); };
        CHAPTERS.forEach((name, i) => {
          const w = worst(s.by[i]), tile = el("button", "t-" + (w < 0 ? "none" : OUT[w]), w < 0 ? "" : TILE[w]);
          tile.title = name + ": " + (words(s.by[i]) || "nothing to play"); tile.setAttribute("aria-label", pair + ", " + tile.title); tile.tabIndex = -1;
          if (w < 0) tile.disabled = true;
          tile.dataset.tile = a + "/" + b + "/" + name;
          tile.onclick = () => { const on = state.chapter === name && state.pair && state.pair[0] === a && state.pair[1] === b; state.pair = on ? null : [a, b]; state.chapter = on ? "" : name; pressed(); filter(); };
          tiles.append(tile);
        });
        box.append(button, tiles); td.append(box);
      }
      tr.append(td);
    }
    table.append(tr);
  }
  $("tiles-legend").textContent = "tiles: " + CHAPTERS.join(" · ");
}

// What failed: the cells of one failure together, the likeliest cause first, as the terminal has them (causes.py).
function broken() {
  const found = [];
  D.cells.forEach(c => {
    if (c[5] !== 1) return;
    const f = found[c[9].failure] = found[c[9].failure] || { first: c, cells: 0, cases: new Set() };
    f.cells++; f.cases.add(c[4]);
  });
  if (!found.length) return;
  $("broken-section").hidden = false;
  found.forEach((f, i) => {
    const li = el("li"), b = el("button"), text = el("span"), s = sentenceOf(f.first); b.dataset.failure = i;
    text.append(el("span", "", D.reasons[f.first[6]]), " ");
    if (s) text.append("“" + s.text + "” ", el("span", "dim", s.document + ", " + s.section));
    b.append(el("span", "failed", "✗ " + counted(f.cases.size, "case") + ", " + counted(f.cells, "cell")), text);
    b.onclick = () => { state.failure = state.failure === String(i) ? "" : String(i); pressed(); filter(); };
    li.append(b); li.hidden = i >= 8; $("broken").append(li);
  });
  if (found.length > 8) { const more = el("button", "", "all " + found.length + " failures"); more.onclick = () => { $("broken").querySelectorAll("li").forEach(li => li.hidden = false); more.remove(); }; $("broken").after(more); }
}

function pressed() {
  const pair = state.pair ? state.pair.join("/") : "";
  document.querySelectorAll("[data-pair]").forEach(b => pair ? b.setAttribute("aria-pressed", b.dataset.pair === pair && !state.chapter) : b.removeAttribute("aria-pressed"));
  document.querySelectorAll("[data-tile]").forEach(b => b.setAttribute("aria-pressed", !!pair && b.dataset.tile === pair + "/" + state.chapter));
  document.querySelectorAll("[data-outcome]").forEach(b => b.setAttribute("aria-pressed", state.outcomes[+b.dataset.outcome]));
  document.querySelectorAll("[data-failure]").forEach(b => b.setAttribute("aria-pressed", b.dataset.failure === state.failure));
  for (const id of ["chapter", "kind", "transport", "security"]) $(id).value = state[id];
  if ($("search").value !== state.text) $("search").value = state.text;
}

let lines = null;
function evidence() { return lines || (lines = $("evidence").textContent.split("\n")); }
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), ch => ch.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text());
}
function hexRows(range) {
  const out = [], data = range.hex.match(/../g) || [];
  for (let i = 0; i < data.length; i += 16) {
    const row = data.slice(i, i + 16), text = row.map(h => { const n = parseInt(h, 16); return n > 31 && n < 127 ? String.fromCharCode(n) : "."; }).join("");
    out.push([range.offset < 0 ? "" : (range.offset + i).toString(16).padStart(6, "0"), row.join(" "), text]);
  }
  if (data.length < range.length) out.push(["", "... " + (range.length - data.length) + " more bytes", ""]);
  return out;
}
function packetNode(p, drawn) {
  const d = el("details", "packet"), s = el("summary", "mono");
  s.append(el("span", "dim", p.t.toFixed(4) + " s #" + p.conn + " "), el("b", "", p.from === "client" ? "client → server " : "server → client "), el("span", p.problem ? "failed" : "", p.title + " "), el("span", "l-message", p.text || ""));
  d.append(s); if (p.problem) d.append(el("div", "failed", "! " + p.problem));
  const fill = () => {  // the bytes are drawn when somebody looks at them
    if (d.dataset.drawn) return; d.dataset.drawn = 1;
    for (const r of p.ranges) {
      const block = el("div", "layer l-" + r.layer); block.append(el("div", "", r.layer + (r.note ? ": " + r.note : "") + (r.length ? " (" + counted(r.length, "byte") + ")" : "")));
      const hex = el("div", "hex mono"); for (const row of hexRows(r)) row.forEach(x => hex.append(el("div", "", x))); block.append(hex); d.append(block);
    }
  };
  d.addEventListener("toggle", fill);
  if (p.problem || drawn) { d.open = true; fill(); }
  return d;
}
function preNode(title, text) { const pre = el("pre"); pre.textContent = text; return [el("h3", "", title), pre]; }
async function open(i) {
  selected = i; draw(); document.body.classList.add("open"); remember();
  const c = D.cells[view[i]], info = D.cases[c[4]], box = $("detail"), extra = c[9] || {}; box.replaceChildren();
  const h = el("h2"), close = el("button", "", "close"); close.onclick = shut; close.title = "Esc"; h.append(el("span", OUT[c[5]], SYM[c[5]] + " " + info.id), close); box.append(h, el("div", "", info.title));
  if (D.reasons[c[6]]) box.append(el("p", OUT[c[5]], D.reasons[c[6]]));
  const dl = el("dl"), put = (k, v) => dl.append(el("dt", "", k), el("dd", "mono", v));
  if (extra.expected) put("expected", extra.expected); if (extra.actual) put("actual", extra.actual);
  put("client", D.names[c[0]]); put("server", D.names[c[1]]); put("over", (c[2] ? "unix" : "tcp") + ", " + (c[3] ? "insecure" : "secure")); put("took", c[7].toFixed(3) + " s"); if (info.kind) put("kind", info.kind);
  if (extra.crash) put("process", extra.crash.peer + ": " + extra.crash.how);
  if (extra.attempts) put("attempts", String(extra.attempts)); if (extra.again) put("played again", extra.again); if (extra.round) put("round", String(extra.round));
  box.append(dl, el("h3", "", "Requirement"));
  const broke = c[5] === 1 ? sentenceOf(c) : null, all = info.requirements.filter(r => !broke || r.name !== broke.name);
  for (const r of broke ? [broke, ...all] : all) { const q = el("blockquote", r === broke ? "broke" : "", "“" + r.text + "”"); q.append(sourceOf(r)); box.append(q); }
  box.scrollTop = 0;
  if (!c[8]) return;
  let e; try { e = await unpack(evidence()[c[8] - 1]); } catch (error) { box.append(el("p", "failed", "The evidence cannot be unpacked by this browser: " + error)); return; }
  if (selected !== i) return;
  if (e.datums && e.datums.length) box.append(...preNode("Datums exchanged with the puppets", e.datums.map(d => d[0].toFixed(4).padStart(9) + "  " + d[1].padEnd(6) + " " + d[2] + " " + d[3]).join("\n") + (e.more ? "\n... " + e.more + " more" : "")));
  if (e.packets && e.packets.length) {
    const head = el("h3", "", "On the wire, opened, by layer"), all = el("button", "", "show every byte"); head.append(" ", all);
    all.onclick = () => box.querySelectorAll("details.packet").forEach(d => d.open = true);
    box.append(head, ...e.packets.slice(0, 400).map(p => packetNode(p, e.packets.length <= 24)));
    if (e.packets.length > 400) box.append(el("p", "dim", "... and " + (e.packets.length - 400) + " more packets: see the JSON report"));
  }
  for (const role of ["client", "server"]) if (e[role + "_log"]) box.append(...preNode("Log of the " + role, e[role + "_log"]));
  if (e.traceback) box.append(...preNode("Traceback", e.traceback));
  if (e.cut) box.append(el("p", "dim", "Cut to fit the page; the JSON report has all of it."));
  if (e.brief) box.append(el("p", "dim", "For a passed cell, only the beginning is kept."));
}
function shut() { document.body.classList.remove("open"); $("list").focus({ preventScroll: true }); draw(); remember(); }
function go(to) {
  if (!view.length) return; selected = Math.max(0, Math.min(view.length - 1, to)); const list = $("list"), top = selected * ROW;
  if (top < list.scrollTop) list.scrollTop = top; else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  if (document.body.classList.contains("open")) open(selected); else draw();
}

// What is looked at stands in the address, so that it can be passed on with the file.
let remembering = 0;
function remember() {
  clearTimeout(remembering); remembering = setTimeout(() => {
    const p = new URLSearchParams();
    for (const id of ["text", "chapter", "kind", "transport", "security", "failure"]) if (state[id]) p.set(id, state[id]);
    const off = OUT.filter((_, i) => !state.outcomes[i]); if (off.length) p.set("without", off.join(","));
    if (state.pair) p.set("pair", state.pair.map(i => D.names[i]).join("/"));
    if (selected >= 0 && document.body.classList.contains("open")) p.set("cell", view[selected]);
    try { history.replaceState(null, "", p.size || [...p].length ? "#" + p : location.pathname + location.search); } catch { /* some browsers forbid it for files */ }
  }, 200);
}
function recall() {
  const p = new URLSearchParams(location.hash.slice(1));
  for (const id of ["text", "chapter", "kind", "transport", "security", "failure"]) state[id] = p.get(id) || "";
  if (!/^\d*$/.test(state.failure)) state.failure = "";
  if (p.get("without")) for (const o of p.get("without").split(",")) if (OUT.includes(o)) state.outcomes[OUT.indexOf(o)] = false;
  const pair = (p.get("pair") || "").split("/").map(n => D.names.indexOf(n)); if (pair.length === 2 && pair.every(i => i >= 0)) state.pair = pair;
  pressed(); filter();
  if (p.get("cell")) { const i = view.indexOf(+p.get("cell")); if (i >= 0) { go(i); open(i); } }
}

OUT.forEach((o, i) => { const b = el("button", o, SYM[i] + " " + o); b.dataset.outcome = i; b.onclick = e => { if (e.altKey || e.shiftKey) state.outcomes = OUT.map((_, j) => j === i); else state.outcomes[i] = !state.outcomes[i]; pressed(); filter(); }; b.title = "shown or not; with Shift: only these"; $("outcomes").append(b); });
CHAPTERS.forEach(c => $("chapter").append(new Option(c)));
["chapter", "kind", "transport", "security"].forEach(id => $(id).onchange = e => { state[id] = e.target.value; pressed(); filter(); });
$("search").oninput = e => { state.text = e.target.value; $("list").scrollTop = 0; filter(); };
$("reset").onclick = () => { state = FRESH(); pressed(); filter(); };
$("list").onscroll = draw;
$("rows").onclick = e => { const row = e.target.closest(".row"); if (row) open(+row.dataset.i); };
$("theme").onclick = () => { const t = document.documentElement.dataset; t.theme = { undefined: matchMedia("(prefers-color-scheme: dark)").matches ? "light" : "dark", dark: "light", light: "dark" }[t.theme || undefined]; };
addEventListener("keydown", e => {
  const at = document.activeElement, typing = /INPUT|SELECT/.test(at.tagName); if (e.ctrlKey || e.metaKey || e.altKey) return;
  const page = Math.max(1, Math.floor($("list").clientHeight / ROW) - 1), moves = { ArrowDown: selected + 1, ArrowUp: selected - 1, PageDown: selected + page, PageUp: selected - page, Home: 0, End: view.length - 1 };
  if (e.key === "/" && !typing) { e.preventDefault(); $("search").focus(); $("search").select(); }
  else if (e.key === "Escape") { if (document.body.classList.contains("open")) shut(); else if (typing) $("list").focus(); }
  else if (e.key === "f" && !typing) { state.outcomes = OUT.map((_, i) => i === 1); pressed(); filter(); }
  else if (e.key in moves && at.tagName !== "SELECT" && !(typing && !e.key.startsWith("Arrow")) && !(at === $("detail") || $("detail").contains(at))) { e.preventDefault(); go(moves[e.key]); }
  else if (e.key === "Enter" && selected >= 0 && at.tagName !== "BUTTON" && at.tagName !== "SUMMARY") open(selected);
});
addEventListener("resize", () => { ROW = narrow.matches ? 52 : 32; $("rows").style.height = view.length * ROW + "px"; draw(); });
addEventListener("hashchange", () => { state = FRESH(); recall(); });
matrix(); broken(); recall();
