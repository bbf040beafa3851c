"use strict";
// Decisions of one reviewer: kept in the browser, one entry a cell, so that two tabs never overwrite each other.
//
// Under the server the trail in OUT is the truth (`slide.saved`, asked for when the page opens): the browser keeps what
// was not saved yet, and what an undo needs.
mnbatch.state = (() => {
  const WITHDRAWN = "withdrawn";
  const served = location.protocol === "http:";
  const memory = new Map();
  const listeners = [];
  let mine = new Map();
  let reviewer = "";
  let lasting = true;
  try { localStorage.setItem("mnbatch|probe", "1"); localStorage.removeItem("mnbatch|probe"); } catch { lasting = false; }

  const get = (key) => (lasting ? localStorage.getItem(key) : memory.get(key) ?? null);
  function put(key, value) {
    memory.set(key, value);
    if (!lasting) return;
    try { localStorage.setItem(key, value); } catch { lasting = false; tell(null); }
  }
  const prefix = (slide) => ["mnbatch", slide.id, slide.key, encodeURIComponent(reviewer), ""].join("|");
  const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };
  // A time in the future does not give the order: a clock was wrong.
  const when = (value) => { const t = Date.parse(value.t); return t > Date.now() + 600000 ? 0 : t; };
  const later = (a, b) => when(a) >= when(b);
  const tell = (cell) => { for (const heard of listeners) heard(cell); };
  const saved = ([d, c, t, look = "", k = [], m = ""]) => ({ d, c, t, look, k, m, kept: true });

  function load(name) {
    reviewer = name.trim();
    mine = new Map();
    put("mnbatch|reviewer", reviewer);
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells || !reviewer) continue;
      const known = Object.hasOwn(slide.saved, reviewer) ? slide.saved[reviewer] : {};
      for (const [at, value] of Object.entries(known)) if (slide.cells[at]) mine.set(slide.cells[at], saved(value));
      const start = prefix(slide);
      const keys = lasting ? Object.keys(localStorage) : [...memory.keys()];
      for (const key of keys) if (key.startsWith(start)) take(slide.cells[Number(key.slice(start.length))], parsed(get(key)));
    }
    tell(null);
  }

  function take(cell, value) {
    if (!cell || !value || !value.d) return;
    const before = mine.get(cell);
    if (before && before.kept && before.t === value.t) { mine.set(cell, { ...value, ...before, b: value.b, undone: value.undone }); return; }
    // What the server had once and has no more was changed or withdrawn elsewhere.
    if (served && value.sent) { if (before && !before.kept && before.t === value.t) mine.set(cell, value); return; }
    if (!before || later(value, before)) mine.set(cell, value);
  }

  function of(cell) {
    const value = mine.get(cell);
    return value && value.d !== WITHDRAWN ? value : null;
  }

  const place = (cell) => prefix(cell.slide) + cell.at;
  function keep(cell, value) {
    mine.set(cell, value);
    put(place(cell), JSON.stringify(value));
  }

  const bare = (value) => (value ? { d: value.d, c: value.c, look: value.look || "", k: value.k || [], m: value.m || "" } : null);

  // more: count, look, classes, comment; amend: the same look goes on, so that an undo takes both back.
  function decide(cell, d, more = {}) {
    const old = of(cell), amend = Boolean(more.amend && old);
    const look = more.look ?? (amend ? old.look || "" : old ? "second" : "");
    const value = {
      d, c: more.c ?? null, t: new Date().toISOString(), look, k: more.k || [], m: more.m ?? (old ? old.m || "" : ""),
      b: amend ? old.b ?? null : bare(old),
    };
    if (more.group) value.g = more.group;
    keep(cell, value);
    tell(cell);
  }

  function latest() {
    let last = null;
    for (const [cell, value] of mine) {
      if (value.d === WITHDRAWN || value.undone) continue;
      if (!last || when(value) > when(last[1])) last = [cell, value];
    }
    return last;
  }

  // The latest decision that was not undone itself, also after a reload; all of them where several were decided at once.
  function undo() {
    const last = latest();
    if (!last) return null;
    const group = last[1].g;
    const all = group ? [...mine].filter((pair) => pair[1].g === group && !pair[1].undone && pair[1].d !== WITHDRAWN) : [last];
    for (const [cell, value] of all) {
      const before = value.b;
      const t = new Date().toISOString();
      keep(cell, before ? { ...before, t, b: null, undone: true } : { d: WITHDRAWN, c: null, t, look: "", k: [], m: "", b: null });
      tell(cell);
    }
    return last[0];
  }

  function recent(number) {
    const found = [];
    for (const pair of mine) {
      if (pair[1].d === WITHDRAWN) continue;
      if (found.length === number && when(pair[1]) <= when(found[number - 1][1])) continue;
      found.push(pair);
      found.sort((a, b) => when(b[1]) - when(a[1]));
      if (found.length > number) found.pop();
    }
    return found;
  }

  function sent(pairs) {
    for (const [cell, value] of pairs) {
      if (mine.get(cell) !== value) continue;
      value.sent = true;
      put(place(cell), JSON.stringify(value));
      inTrail(cell, value);
    }
  }

  // What was sent is in the trail from now on: a page that goes to another name and back must still show it.
  function inTrail(cell, value) {
    const { saved: trail } = cell.slide;
    if (!Object.hasOwn(trail, reviewer)) Object.defineProperty(trail, reviewer, { value: {}, enumerable: true, writable: true, configurable: true });
    if (value.d === WITHDRAWN) delete trail[reviewer][cell.at];
    else trail[reviewer][cell.at] = [value.d, value.c, value.t, value.look || "", value.k || [], value.m || ""];
  }

  window.addEventListener("storage", (event) => {
    if (!event.key || !event.newValue) return;
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells || !reviewer || !event.key.startsWith(prefix(slide))) continue;
      const cell = slide.cells[Number(event.key.slice(prefix(slide).length))];
      const value = parsed(event.newValue);
      if (!cell || !value || !value.d) return;
      const before = mine.get(cell);
      if (!before || later(value, before)) mine.set(cell, value);
      tell(cell);
    }
  });

  function row(cell, value) {
    const slide = cell.slide;
    return {
      slide_id: slide.id, cell_id: cell.id, decision: value.d, count: value.c, reviewer, time: value.t,
      stratum: mnbatch.page.strata[cell.stratum], inclusion_probability: slide.probability[cell.stratum],
      model_digest: slide.model, result_key: slide.key,
      look: value.look || "", classes: (value.k || []).join(" "), comment: value.m || "",
    };
  }

  const ordered = () => [...mine].sort((a, b) => a[0].index - b[0].index);
  const rows = () => ordered().filter((pair) => pair[1].d !== WITHDRAWN).map((pair) => row(...pair));

  function csv() {
    const columns = ["slide_id", "cell_id", "decision", "count", "reviewer", "time", "stratum", "inclusion_probability",
      "model_digest", "result_key", "look", "classes", "comment"];
    const plain = (value) => {
      let text = value === null ? "" : String(value);
      if (typeof value === "string" && /^[=+\-@]/.test(text)) text = "'" + text;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns.join(","), ...rows().map((r) => columns.map((name) => plain(r[name])).join(","))].join("\n") + "\n";
  }

  const json = () => JSON.stringify({ format: "mnbatch-review", version: 1, decisions: rows() }, null, 1) + "\n";

  // All reviewers' decisions on a cell: [name, value].
  function everyone(cell) {
    const found = [];
    for (const [name, known] of Object.entries(cell.slide.saved)) {
      if (name !== reviewer && known[cell.at]) found.push([name, saved(known[cell.at])]);
    }
    const own = of(cell);
    return own ? [...found, [reviewer, own]] : found;
  }

  // As the program tells it: other decisions, or other numbers of MN where two gave one.
  function differs(decided) {
    const first = decided.filter(([, value]) => value.look !== "adjudication");
    const counts = new Set(first.filter(([, value]) => value.d === "mn" && value.c).map(([, value]) => value.c));
    return new Set(first.map(([, value]) => value.d)).size > 1 || counts.size > 1;
  }

  function names() {
    const known = new Set(mnbatch.page.slides.flatMap((slide) => Object.keys(slide.saved || {})));
    const keys = lasting ? Object.keys(localStorage) : [...memory.keys()];
    for (const slide of mnbatch.page.slides) {
      const start = ["mnbatch", slide.id, slide.key, ""].join("|");
      for (const key of keys) if (key.startsWith(start)) known.add(decodeURIComponent(key.slice(start.length).split("|")[0]));
    }
    return [...known];
  }

  return {
    load, of, decide, undo, recent, sent, rows, csv, json, row, everyone, differs, names, prefs: { get, put },
    unconfirmed: (cell) => { const value = of(cell); return Boolean(value) && value.d === "mn" && !value.look; },
    all: () => mine, onChange: (heard) => listeners.push(heard),
    get reviewer() { return reviewer; }, get lasting() { return lasting; },
  };
})();
