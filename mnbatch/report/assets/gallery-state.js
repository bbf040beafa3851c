"use strict";
// Decisions of one reviewer: kept in the browser, one entry a cell, so that two tabs never overwrite each other.
mnbatch.state = (() => {
  const WITHDRAWN = "withdrawn";
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

  function load(name) {
    reviewer = name.trim();
    mine = new Map();
    put("mnbatch|reviewer", reviewer);
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells || !reviewer) continue;
      const saved = Object.hasOwn(slide.saved, reviewer) ? slide.saved[reviewer] : {};
      for (const [at, [d, c, t]] of Object.entries(saved)) mine.set(slide.cells[at], { d, c, t, kept: true });
      const start = prefix(slide);
      const keys = lasting ? Object.keys(localStorage) : [...memory.keys()];
      for (const key of keys) if (key.startsWith(start)) take(slide.cells[Number(key.slice(start.length))], parsed(get(key)));
    }
    tell(null);
  }

  function take(cell, value) {
    if (!cell || !value || !value.d) return;
    const before = mine.get(cell);
    if (!before || later(value, before)) mine.set(cell, value);
  }

  function of(cell) {
    const value = mine.get(cell);
    return value && value.d !== WITHDRAWN ? value : null;
  }

  function set(cell, d, c, before, twice = false) {
    const value = { d, c, t: new Date().toISOString(), b: before, twice };
    mine.set(cell, value);
    put(prefix(cell.slide) + cell.at, JSON.stringify(value));
    tell(cell);
  }

  function decide(cell, d, c = null) {
    const old = of(cell);
    set(cell, d, c, old ? { d: old.d, c: old.c, twice: Boolean(old.twice) } : null, Boolean(old));
  }

  // The latest decision that was not undone itself, also after a reload.
  function undo() {
    let last = null;
    for (const [cell, value] of mine) {
      if (value.d === WITHDRAWN || value.undone) continue;
      if (!last || when(value) > when(last[1])) last = [cell, value];
    }
    if (!last) return null;
    const [cell, value] = last;
    const before = value.b;
    set(cell, before ? before.d : WITHDRAWN, before ? before.c : null, null, Boolean(before && before.twice));
    if (before) { mine.get(cell).undone = true; put(prefix(cell.slide) + cell.at, JSON.stringify(mine.get(cell))); }
    return cell;
  }

  window.addEventListener("storage", (event) => {
    if (!event.key || !event.newValue) return;
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells || !reviewer || !event.key.startsWith(prefix(slide))) continue;
      const cell = slide.cells[Number(event.key.slice(prefix(slide).length))];
      take(cell, parsed(event.newValue));
      tell(cell);
    }
  });

  function row(cell, value) {
    const slide = cell.slide;
    return {
      slide_id: slide.id, cell_id: cell.id, decision: value.d, count: value.c, reviewer, time: value.t,
      stratum: mnbatch.page.strata[cell.stratum], inclusion_probability: slide.probability[cell.stratum],
      model_digest: slide.model, result_key: slide.key,
    };
  }

  const ordered = () => [...mine].sort((a, b) => a[0].index - b[0].index);
  const rows = () => ordered().filter((pair) => pair[1].d !== WITHDRAWN).map((pair) => row(...pair));

  function csv() {
    const columns = ["slide_id", "cell_id", "decision", "count", "reviewer", "time", "stratum", "inclusion_probability",
      "model_digest", "result_key"];
    const plain = (value) => {
      let text = value === null ? "" : String(value);
      if (typeof value === "string" && /^[=+\-@]/.test(text)) text = "'" + text;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns.join(","), ...rows().map((r) => columns.map((name) => plain(r[name])).join(","))].join("\n") + "\n";
  }

  const json = () => JSON.stringify({ format: "mnbatch-review", version: 1, decisions: rows() }, null, 1) + "\n";

  return {
    load, of, decide, unconfirmed: (cell) => { const value = of(cell); return Boolean(value) && value.d === "mn" && !value.twice && !value.kept; }, undo, rows, csv, json, row, prefs: { get, put },
    all: () => mine, onChange: (heard) => listeners.push(heard),
    get reviewer() { return reviewer; }, get lasting() { return lasting; },
  };
})();
