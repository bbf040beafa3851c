"use strict";
// Decisions of one reviewer: kept in the browser, one entry a cell, so that two tabs never overwrite each other.
//
// Under the server the trail in OUT is the truth (`slide.saved`, asked for when the page opens): the browser keeps what
// an undo needs, and in its outbox (gallery-outbox.js) what was not saved yet.
mnbatch.state = (() => {
  const WITHDRAWN = "withdrawn";
  const served = location.protocol === "http:";
  const memory = new Map();
  const listeners = [];
  const RECENT = 8;
  let mine = new Map();
  let reviewer = "";
  let newest = null;
  // From disk: what is in no file yet, by name, as the places of the decisions.
  const loose = new Map();
  let lasting = true;
  try { localStorage.setItem("mnbatch|probe", "1"); localStorage.removeItem("mnbatch|probe"); } catch { lasting = false; }

  const get = (key) => (lasting ? localStorage.getItem(key) : memory.get(key) ?? null);
  function put(key, value) {
    memory.set(key, value);
    if (!lasting) return;
    try { localStorage.setItem(key, value); } catch { lasting = false; tell(null); }
  }
  const prefix = (slide, who = reviewer) => ["mnbatch", slide.id, slide.key, encodeURIComponent(who), ""].join("|");
  const allKeys = () => (lasting ? Object.keys(localStorage) : [...memory.keys()]);
  // Names that read the same would be two reviewers for one person, and `mnbatch review import` refuses them
  // (mnbatch/assay/alike_names.py has the same rule).
  const LOOK_ALIKE = new Map(Array.from("\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    + "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7", (letter, i) => [letter, "abekmhopctyxijsabezhikmnoptyx"[i]]));
  const readAs = (name) => Array.from(name.normalize("NFKC").toUpperCase().toLowerCase().replace(/[\p{Z}\p{C}]/gu, "").replace(/\p{Pd}/gu, "-"),
    (letter) => LOOK_ALIKE.get(letter) ?? letter).join("");
  // Each tab has a reviewer of its own, also after a reload; a new tab begins with the last one.
  function remembered() {
    let own = null;
    try { own = sessionStorage.getItem("mnbatch|reviewer"); } catch { /* the last one, then */ }
    return own ?? get("mnbatch|reviewer") ?? "";
  }
  function remember(name) {
    put("mnbatch|reviewer", name.trim());
    try { sessionStorage.setItem("mnbatch|reviewer", name.trim()); } catch { /* a reload takes the last one, then */ }
  }
  const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };
  // A time in the future does not give the order: a clock was wrong.
  const when = (value) => { const t = Date.parse(value.t); return t > Date.now() + 600000 ? 0 : t; };
  const later = (a, b) => when(a) >= when(b);
  const tell = (cell) => { for (const heard of listeners) heard(cell); };
  const saved = ([d, c, t, look = "", k = [], m = ""]) => ({ d, c, t, look, k, m, kept: true });

  function load(name) {
    reviewer = name.trim();
    mine = new Map();
    newest = null;
    const keys = reviewer ? allKeys() : [];
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells || !reviewer) continue;
      const known = Object.hasOwn(slide.saved, reviewer) ? slide.saved[reviewer] : {};
      for (const [at, value] of Object.entries(known)) if (slide.cells[at]) mine.set(slide.cells[at], saved(value));
      const start = prefix(slide);
      for (const key of keys) if (key.startsWith(start)) take(slide.cells[Number(key.slice(start.length))], parsed(get(key)));
    }
    unfiled();
    tell(null);
  }

  const parts = (slide, key) => key.slice(slide.start.length).split("|");
  // Every decision that this browser keeps of the page's slides, whoever took it: [slide, name, at, value, key].
  function* stored() {
    const keys = allKeys();
    for (const slide of mnbatch.page.slides) {
      if (!slide.cells) continue;
      slide.start = ["mnbatch", slide.id, slide.key, ""].join("|");
      for (const key of keys) {
        if (!key.startsWith(slide.start)) continue;
        const [who, at] = parts(slide, key), value = parsed(get(key));
        if (value && value.d && slide.cells[Number(at)]) yield [slide, decodeURIComponent(who), Number(at), value, key];
      }
    }
  }

  // What a page of before, or one that was closed meanwhile, could not send goes into the outbox, whoever decided it; what
  // the same person decided later elsewhere stays. Says how many were left out as older ones.
  function adopt() {
    for (const [slide, who, at, value, key] of stored()) {
      if (value.sent || value.kept || slide.stale) continue;
      const made = row(slide.cells[at], value, who);
      if (!mnbatch.outbox.has(made)) mnbatch.outbox.put(made, key);
    }
    let older = 0;
    for (const waiting of mnbatch.outbox.all()) {
      const cell = mnbatch.byId.get(waiting.cell_id);
      if (!cell || cell.slide.key !== waiting.result_key || !Object.hasOwn(cell.slide.saved, waiting.reviewer)) continue;
      const there = cell.slide.saved[waiting.reviewer][cell.at];
      if (!there || !when({ t: waiting.time }) || !later(saved(there), { t: waiting.time })) continue;
      if (there[2] !== waiting.time) older++;
      sent([waiting], false);
    }
    return older;
  }

  const filedKey = (slide, who) => `mnbatch|filed|${prefix(slide, who)}`;
  function unfiled() {
    loose.clear();
    if (served) return;
    for (const [slide, who, at, value, key] of stored()) {
      const known = Object.hasOwn(slide.saved, who) ? slide.saved[who][at] : null;
      const done = value.d === WITHDRAWN || (known && known[2] === value.t) || value.t <= (get(filedKey(slide, who)) || "");
      if (!done) { if (!loose.has(who)) loose.set(who, new Set()); loose.get(who).add(key); }
    }
  }

  function filed() {
    if (served) return;
    const t = new Date().toISOString();
    for (const slide of mnbatch.page.slides) if (slide.cells) put(filedKey(slide, reviewer), t);
    loose.delete(reviewer);
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
    if (served) {
      if (!mnbatch.outbox.put(row(cell, value), place(cell)) && lasting) { lasting = false; tell(null); }
    } else {
      if (!loose.has(reviewer)) loose.set(reviewer, new Set());
      if (value.d === WITHDRAWN) loose.get(reviewer).delete(place(cell)); else loose.get(reviewer).add(place(cell));
    }
    if (newest) newest = value.d === WITHDRAWN ? null : [[cell, value], ...newest.filter((pair) => pair[0] !== cell)].slice(0, RECENT);
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

  // The last decisions, newest first; sorted once and kept, since it is asked for after every key.
  function recent() {
    newest ??= [...mine].filter((pair) => pair[1].d !== WITHDRAWN).map((pair) => [when(pair[1]), pair])
      .sort((a, b) => b[0] - a[0]).slice(0, RECENT).map((found) => found[1]);
    return newest;
  }

  // Rows of the outbox that OUT has now, whoever decided them; or that a person gave up.
  function sent(rows, given = true) {
    for (const one of rows) {
      mnbatch.outbox.drop(one);
      const cell = mnbatch.byId.get(one.cell_id), here = cell && cell.slide.key === one.result_key;
      const value = here && one.reviewer === reviewer ? mine.get(cell) : parsed(get(one.place));
      if (!value || value.t !== one.time) continue;
      value.sent = true;
      put(one.place, JSON.stringify(value));
      if (here && given) inTrail(cell, value, one.reviewer);
    }
  }

  // What was sent is in the trail from now on: a page that goes to another name and back must still show it.
  function inTrail(cell, value, who) {
    const { saved: trail } = cell.slide;
    if (!Object.hasOwn(trail, who)) Object.defineProperty(trail, who, { value: {}, enumerable: true, writable: true, configurable: true });
    if (value.d === WITHDRAWN) delete trail[who][cell.at];
    else trail[who][cell.at] = [value.d, value.c, value.t, value.look || "", value.k || [], value.m || ""];
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
      newest = null;
      tell(cell);
    }
  });

  function row(cell, value, who = reviewer) {
    const slide = cell.slide;
    return {
      slide_id: slide.id, cell_id: cell.id, decision: value.d, count: value.c, reviewer: who, time: value.t,
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
    for (const [, who] of stored()) known.add(who);
    return [...known];
  }

  return {
    readAs,
    load, of, decide, undo, recent, sent, adopt, filed, rows, csv, json, row, everyone, differs, names, remember, remembered, prefs: { get, put },
    unconfirmed: (cell) => { const value = of(cell); return Boolean(value) && value.d === "mn" && !value.look; },
    loose: () => [...loose].map(([who, places]) => [who, places.size]).filter((pair) => pair[1]),
    all: () => mine, onChange: (heard) => listeners.push(heard),
    get reviewer() { return reviewer; }, get lasting() { return lasting; },
  };
})();
