"use strict";
// Controls, keys, and what follows from them.
mnbatch.start = () => {
  const part = (id) => document.getElementById(id);
  const { state, grid, bench, save, pictures } = mnbatch;
  const options = {
    heat: true, kind: "evidence", blend: 1, size: 150, blind: false, wait: 800, zoom: 1, pan: [0, 0], pixels: false,
    classes: new Set(), picked: new Set(), choose: (cell, event) => pick(cell, event),
  };
  // wanted: the cell that was asked for; current: the one whose picture is on the page. Keys decide the latter alone.
  let mode = "look", list = [], wanted = null, current = null, shownAt = 0, held = null, holding = null, lateUntil = 0, from = null;
  const KINDS = ["evidence", "attention5", "attention6"];
  const REASONS = new Set(["apoptotic", "necrotic", "multinucleated"]);
  const AHEAD = 24, LEAST_MS = 100, LATE_MS = 600;

  const asked = {
    call: (cell) => !part("f-call").value || cell.mn === (part("f-call").value === "mn"),
    score: (cell) => cell.p >= Number(part("f-low").value || 0) && cell.p <= Number(part("f-high").value || 1),
    flag: (cell) => {
      const flag = part("f-flag").value;
      return !flag || (flag === "*" ? cell.flags.length > 0 : flag === "-" ? !cell.flags.length : cell.flags.includes(flag));
    },
    review: (cell) => {
      const sought = part("f-review").value, value = state.of(cell);
      return !sought || (sought === "-" ? !value : sought === "*" ? Boolean(value) : Boolean(value) && value.d === sought);
    },
    slide: (cell) => !part("f-slide").value || cell.slide.id === part("f-slide").value,
  };
  const sorts = {
    score: (a, b) => b.p - a.p || a.index - b.index,
    uncertainty: (a, b) => Math.abs(a.p - a.slide.threshold) - Math.abs(b.p - b.slide.threshold) || a.index - b.index,
    position: (a, b) => a.index - b.index,
  };
  const rank = (cell) => (options.blind ? cell.blind : cell.rank);
  const adjudicated = (cell) => state.everyone(cell).some(([, value]) => value.look === "adjudication");
  // What two people are to decide, in an order that does not tell the stratum; what two others decided is done.
  const second = (cell) => cell.twice && state.everyone(cell).filter(([who, value]) => who !== state.reviewer && value.look !== "adjudication").length < 2;
  // Under `review serve --decide`: the cells that bring the verdict nearest, in the order of the plan; none in a blind review.
  const advised = () => (mode === "review" && !options.blind ? mnbatch.advice || [] : [])
    .map((id) => mnbatch.byId.get(id)).filter((cell) => cell && !state.of(cell));
  // Looked up in all cells once, then in the one that was decided: nothing after a key may grow with the number of cells.
  let differing = null;
  const differs = (cell) => state.differs(state.everyone(cell));
  function contested() {
    differing ??= new Set(mnbatch.cells.filter(differs));
    return [...differing].sort((a, b) => a.index - b.index);
  }
  const doubles = mnbatch.cells.filter((cell) => cell.twice);

  function fill() {
    if (mode === "review" || mode === "second") {
      list = mnbatch.cells.filter(mode === "second" ? second : (cell) => cell.rank !== null);
      const order = new Map(mnbatch.page.slides.map((slide, at) => [slide, at]));
      list.sort((a, b) => order.get(a.slide) - order.get(b.slide) || (mode === "second" ? a.blind - b.blind : rank(a) - rank(b)));
    } else if (mode === "differ") {
      list = contested();
    } else {
      const tests = options.blind ? [asked.review, asked.slide] : Object.values(asked);
      list = mnbatch.cells.filter((cell) => tests.every((test) => test(cell)));
      list.sort(sorts[options.blind ? "position" : part("sort").value]);
    }
    bench.text("shown", mode === "look" ? `${list.length} of ${mnbatch.cells.length} cells` : "");
    grid.show(list, options);
    differences();
  }

  function differences() {
    const all = mode === "differ" ? list : contested(), open = all.filter((cell) => !adjudicated(cell)).length;
    const twice = doubles.filter(second), unread = twice.filter((cell) => !state.of(cell)).length;
    part("second-mode").hidden = !doubles.length;
    part("second-label").textContent = `Second reading (${unread})`;
    part("differ-label").textContent = all.length ? `Differences (${open})` : "Differences";
    bench.text("differ-text", mode !== "differ" ? "" : all.length
      ? `${all.length} cell${all.length > 1 ? "s" : ""} on which reviewers differ, ${open} open. A third person's decision here is valid for the cell.`
      : "No cell on which reviewers differ.");
  }

  function redraw() { bench.show(current, options); grid.refresh(); legend(); }
  // Whether a key decides now.
  const ready = () => {
    const early = LEAST_MS - (performance.now() - shownAt);
    const why = save.blocked(current);
    document.body.dataset.blocked = String(Boolean(why && save.fault));
    document.body.dataset.ready = String(Boolean(current) && early <= 0 && !why);
    if (current && early > 0) setTimeout(ready, early + 1);
  };

  // The picture first: the name and the keys follow it.
  function select(cell, scroll = false) {
    release();
    wanted = cell;
    grid.choose(cell, scroll);
    if (!cell) { present(null); return; }
    if (pictures.ready(cell)) { present(cell); return; }
    current = null;
    bench.empty("Loading the picture …");
    ready();
    pictures.load(cell).then(() => { if (wanted === cell) present(cell); }).catch(() => {
      if (wanted !== cell) return;
      bench.empty("The picture cannot be loaded. It is tried again.");
      setTimeout(() => { if (wanted === cell && !current) select(cell); }, 2000);
    });
  }

  function present(cell) {
    current = cell;
    const known = cell && state.of(cell);
    options.classes = new Set(known ? known.k || [] : []);
    options.pan = [0, 0];
    bench.show(cell, options);
    shownAt = performance.now();
    ready();
    legend();
    part("context-open").hidden = !cell || !cell.place;
    if (cell) pictures.preload(mode === "look" ? list.slice(list.indexOf(cell) + 1, list.indexOf(cell) + 5) : ahead(cell));
  }

  function ahead(cell) {
    const at = list.indexOf(cell), found = advised().filter((next) => next !== cell);
    for (let i = 1; i < list.length && found.length < AHEAD; i++) {
      const next = list[(at + i) % list.length];
      if (mode === "differ" || !state.of(next)) found.push(next);
    }
    return found.length ? found : list.filter(state.unconfirmed).slice(0, AHEAD);
  }

  function pick(cell, event) {
    if (event && (event.ctrlKey || event.metaKey || event.shiftKey) && mode === "look") {
      const cells = event.shiftKey && wanted ? grid.between(wanted, cell) : [cell];
      const add = event.shiftKey || !options.picked.has(cell);
      for (const one of cells) { if (add) options.picked.add(one); else options.picked.delete(one); }
      picked();
      return;
    }
    if (options.picked.size) { options.picked.clear(); picked(); }
    from = null;
    select(cell);
  }

  function picked() {
    bench.text("picked", options.picked.size ? `${options.picked.size} cells selected: the next decision is for all of them. Esc: none.` : "");
    grid.refresh();
  }

  function step(by) {
    if (!list.length) return;
    const at = list.indexOf(wanted);
    from = null;
    select(list[Math.min(list.length - 1, Math.max(0, at < 0 ? 0 : at + by))], true);
  }

  function next() {
    // After a correction the queue goes on where it was.
    const start = from && list.includes(from) ? from : null;
    from = null;
    if (start && start !== current && !state.of(start)) { select(start, true); return; }
    const at = list.indexOf(wanted);
    if (mode === "look") { if (at < list.length - 1) select(list[at + 1], true); return; }
    const around = [...list.slice(at + 1), ...list.slice(0, at + 1)];
    // Who read a cell first is no third person for it.
    const open = mode === "differ" ? around.find((cell) => !adjudicated(cell) && adjudicates(cell))
      : advised()[0] || around.find((cell) => !state.of(cell)) || around.find(state.unconfirmed);
    if (open) { if (open !== current) select(open, true); return; }
    if (mode === "differ" && !list.every(adjudicated)) { tell("You are one of those who differ on the cells that are left: a third person decides them."); return; }
    tell(mode === "differ" ? "Every difference is adjudicated." : mode === "second" ? "You decided every cell that two people are to decide." : "Every cell of the queue is decided, and every MN is confirmed. Save the review.");
  }

  function count() { bench.progress(mnbatch.estimate.tallies(state.of), options); }

  function tell(text, seen = true) { bench.text("live", text); if (seen) bench.text("hint", text); }

  function refused() {
    if (!state.reviewer) { part("reviewer").focus(); return "Type your name first, then decide."; }
    const why = save.blocked(current || wanted);
    if (why) return why;
    if (!current) return wanted ? "The picture is not here yet: nothing was decided." : "No cell.";
    if (performance.now() - shownAt < LEAST_MS) return "Too fast: the picture has just changed. Nothing was decided.";
    return "";
  }

  function adjudicates(cell) {
    if (mode !== "differ") return false;
    const first = state.everyone(cell).filter(([, value]) => value.look !== "adjudication");
    return !first.some(([who]) => who === state.reviewer);
  }

  function decide(d, c = null, note = null) {
    const why = refused();
    if (why) { tell(why); return; }
    if (options.picked.size) { decideAll(d, c, note); return; }
    const cell = current, amend = held === cell;
    if (note) options.classes.add(note);
    const look = adjudicates(cell) ? "adjudication" : undefined;
    // Why a cell is not scorable is not said of one that is.
    const k = [...options.classes].filter((name) => d === "not_scorable" || !REASONS.has(name));
    state.decide(cell, d, { c, amend, look, k });
    tell(`${cell.label}: ${mnbatch.words.said({ d, c })}. ${part("progress-text").textContent}`, false);
    const number = options.wait > 0 && d === "mn" && c === null && !amend;
    if (number) hold(cell);
    else { release(); next(); }
  }

  // MN without a number: the cell stays for a moment for its number. What is on the page is what a key decides.
  function hold(cell) {
    held = cell;
    document.body.dataset.held = "true";
    bench.text("hint", "MN. Number of MN: 1 to 9. Enter: go on.");
    holding = setTimeout(() => { if (held === cell) { release(); next(); lateUntil = performance.now() + LATE_MS; } }, options.wait);
  }

  function release() {
    clearTimeout(holding);
    held = null;
    delete document.body.dataset.held;
    bench.text("hint", "");
  }

  function digit(number) {
    if (!held && performance.now() < lateUntil) {
      tell("Too late for the cell before: click it in the strip of last decisions to give its number. Nothing was decided.");
      return;
    }
    if (number) decide("mn", number); else decide("not_mn", 0);
  }

  function decideAll(d, c, note) {
    const cells = [...options.picked], hidden = cells.filter((cell) => !pictures.ready(cell)).length;
    if (hidden) { tell(`${hidden} of the selected pictures are not here yet: nothing was decided.`); return; }
    const again = cells.filter(state.of).length;
    const words = mnbatch.words.said({ d, c, k: note ? [note] : [] });
    if (!confirm(`Decide ${cells.length} cells: ${words}?${again ? ` ${again} of them are decided already.` : ""}`)) return;
    const group = `${Date.now()}`;
    options.picked.clear();
    for (const cell of cells) state.decide(cell, d, { c, k: note ? [note] : [], group });
    picked();
    tell(`${cells.length} cells: ${words}. Undo takes all of them back.`);
  }

  function undo() {
    const why = save.blocked(null);
    if (why) { tell(why); return; }
    release();
    const cell = state.undo();
    if (!cell) { tell("Nothing to undo."); return; }
    select(cell, true);
    tell(`${cell.label}: undone`);
  }

  function note(name) {
    if (!current) return;
    if (options.classes.has(name)) options.classes.delete(name); else options.classes.add(name);
    const value = state.of(current);
    if (value && !refused()) state.decide(current, value.d, { c: value.c, amend: true, k: [...options.classes] });
    bench.show(current, options);
  }

  function comment() {
    if (!current || refused()) { tell(refused()); return; }
    const cell = current, value = state.of(cell);
    if (!value) { tell("Decide first, then comment: a comment belongs to a decision."); return; }
    release();
    part("comment-text").value = value.m || "";
    part("comment").dataset.cell = cell.index;
    part("comment").showModal();
  }
  part("comment").addEventListener("close", () => {
    const cell = mnbatch.cells[Number(part("comment").dataset.cell)], value = state.of(cell);
    if (part("comment").returnValue !== "keep" || !value) return;
    state.decide(cell, value.d, { c: value.c, amend: true, k: value.k || [], m: part("comment-text").value.trim() });
  });

  function turn(name, value) {
    if (options.blind && name === "heat" && value) { tell("The map is hidden in a blind review."); return; }
    options[name] = value;
    if (options.blind) options.heat = false; // its colours tell the score
    state.prefs.put(`mnbatch|${name}`, JSON.stringify(value));
    part("heat").setAttribute("aria-pressed", String(options.heat));
    part("blind").setAttribute("aria-pressed", String(options.blind));
    document.body.dataset.blind = String(options.blind);
    document.body.dataset.heat = String(options.heat);
    part("blend").value = options.blend;
    part("size").value = options.size;
    part("wait").value = options.wait;
    for (const choice of document.querySelectorAll("input[name=map]")) choice.checked = choice.value === options.kind;
    if (name === "blind") { fill(); count(); if (mode === "review") open(); }
    redraw();
  }

  const larger = (by) => (mode === "look" ? turn("size", Math.min(400, Math.max(80, options.size + 30 * by)))
    : (options.zoom = Math.min(8, Math.max(1, options.zoom * (by > 0 ? 1.25 : 0.8))), options.zoom = options.zoom < 1.05 ? 1 : options.zoom, bench.zoom(options)));

  function adjust(change) {
    const cell = current || list[0];
    if (!cell) return;
    const value = pictures.adjust(cell.slide, change);
    bench.text("adjusted", `brightness ${Math.round(100 * value.brightness)} %, contrast ${Math.round(100 * value.contrast)} %`
      + (value.invert ? ", inverted" : "") + (value.channel === "all" ? "" : `, ${value.channel} only`));
    redraw();
    if (current) shownAt = Math.min(shownAt, performance.now() - LEAST_MS);
  }
  const adjusted = () => pictures.adjusted((current || list[0]).slide);
  const within = (value) => Math.min(4, Math.max(0.2, Math.round(100 * value) / 100));

  function legend() {
    const shown = current || mnbatch.cells[0];
    const limit = shown ? shown.slide.limit : 1;
    const absent = shown && !shown.slide.given.includes(options.kind);
    bench.text("legend", !options.heat ? "map off" : absent ? "the model of this slide has no such map" : options.kind === "evidence"
      ? `evidence: blue against MN, clear 0, amber to red for MN; full colour at ${limit} log odds a position`
      : `attention of layer ${options.kind.slice(-1)}: clear 0 to teal 1`);
  }

  function open() {
    const first = mode === "differ" ? list.find((cell) => !adjudicated(cell)) || list[0] || null
      : advised()[0] || list.find((cell) => !state.of(cell)) || list.find(state.unconfirmed) || list[0] || null;
    select(first, false);
  }

  function change(to) {
    mode = options.mode = to;
    document.body.dataset.mode = to;
    options.picked.clear();
    part("grid").hidden = to !== "look";
    for (const choice of document.querySelectorAll("input[name=mode]")) choice.checked = choice.value === to;
    fill();
    if (to !== "look") { open(); count(); scrollTo(0, 0); }
  }

  function full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => tell("This browser refuses full screen."));
  }

  const typing = (target) => target.closest("input:not([type=radio], [type=range], [type=button]), select, textarea, dialog");
  const acts = {
    mn: () => (held && held === current ? (release(), next()) : decide("mn")),
    not_mn: () => decide("not_mn"), unsure: () => decide("unsure"), not_scorable: () => decide("not_scorable"),
    undo, comment, bridge: () => note("bridge"), bud: () => note("bud"),
    apoptotic: () => decide("not_scorable", null, "apoptotic"), necrotic: () => decide("not_scorable", null, "necrotic"),
    multinucleated: () => decide("not_scorable", null, "multinucleated"),
    heat: () => turn("heat", !options.heat), blind: () => turn("blind", !options.blind),
    kind: () => turn("kind", KINDS[(KINDS.indexOf(options.kind) + 1) % 3]),
    blendDown: () => turn("blend", Math.max(0, Math.round(10 * options.blend - 1) / 10)),
    blendUp: () => turn("blend", Math.min(1, Math.round(10 * options.blend + 1) / 10)),
    zoomIn: () => larger(1), zoomOut: () => larger(-1),
    pixels: () => { options.pixels = !options.pixels; bench.zoom(options); },
    darker: () => adjust({ brightness: within(adjusted().brightness - 0.1) }), brighter: () => adjust({ brightness: within(adjusted().brightness + 0.1) }),
    contrastDown: () => adjust({ contrast: within(adjusted().contrast - 0.1) }), contrastUp: () => adjust({ contrast: within(adjusted().contrast + 0.1) }),
    invert: () => adjust({ invert: !adjusted().invert }),
    channel: () => adjust({ channel: pictures.CHANNELS[(pictures.CHANNELS.indexOf(adjusted().channel) + 1) % pictures.CHANNELS.length] }),
    look: () => change("look"), review: () => change("review"), differ: () => change("differ"), full, criteria: () => part("criteria").showModal(),
    context: () => { if (current && current.place) bench.context(current); else tell("The place of this cell in a field is not known."); },
  };
  const moves = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    ArrowUp: () => step(mode === "look" ? -grid.columns() : -1), ArrowDown: () => step(mode === "look" ? grid.columns() : 1),
  };
  const AGAIN = new Set(["zoomIn", "zoomOut", "brighter", "darker", "contrastUp", "contrastDown", "blendUp", "blendDown"]);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.key === "Escape" && options.picked.size) { options.picked.clear(); picked(); return; }
    if ((event.key === "Enter" || event.key === " ") && held && !event.target.closest("button, a, summary")) {
      event.preventDefault();
      if (!event.repeat) { release(); next(); }
      return;
    }
    if (moves[event.key]) {
      if (event.target.closest("input")) return;
      event.preventDefault();
      moves[event.key]();
      return;
    }
    const action = mnbatch.keys.of(event);
    if (action === undefined) return;
    event.preventDefault();
    // A key that is held down decides once.
    if (event.repeat && !AGAIN.has(action)) return;
    if (/^[0-9]$/.test(action)) digit(Number(action)); else acts[action]();
  });

  part("context").addEventListener("keydown", (event) => {
    if (mnbatch.keys.of(event) === "context" && !event.repeat) { event.preventDefault(); part("context").close(); }
  });
  for (const id of ["sort", "f-call", "f-low", "f-high", "f-flag", "f-review", "f-slide"]) {
    part(id).addEventListener("input", () => { fill(); if (!list.includes(wanted)) select(list[0] || null); });
  }
  for (const choice of document.querySelectorAll("input[name=mode]")) choice.addEventListener("change", () => change(choice.value));
  for (const choice of document.querySelectorAll("input[name=map]")) choice.addEventListener("change", () => turn("kind", choice.value));
  for (const button of document.querySelectorAll("[data-say]")) {
    button.addEventListener("click", () => {
      if (button.dataset.count) digit(Number(button.dataset.count));
      else if (button.dataset.note) acts[button.dataset.note]();
      else acts[button.dataset.say]();
    });
  }
  for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => acts[button.dataset.act]());
  part("reset").addEventListener("click", () => { adjust(null); bench.text("adjusted", ""); });
  part("undo").addEventListener("click", undo);
  part("heat").addEventListener("click", acts.heat);
  part("blind").addEventListener("click", acts.blind);
  part("blend").addEventListener("input", () => turn("blend", Number(part("blend").value)));
  part("size").addEventListener("input", () => turn("size", Number(part("size").value)));
  part("wait").addEventListener("input", () => turn("wait", Number(part("wait").value)));
  part("csv").addEventListener("click", () => save.download("csv"));
  part("json").addEventListener("click", () => save.download("json"));
  part("finish").addEventListener("click", () => save.finish());
  part("finish").hidden = !save.served;
  part("settings-open").addEventListener("click", () => { mnbatch.keys.table(part("key-table")); part("settings").showModal(); });
  for (const name of mnbatch.keys.PRESETS) part("preset").append(new Option(name, name));
  part("preset").addEventListener("input", () => { mnbatch.keys.preset(part("preset").value); mnbatch.keys.table(part("key-table")); });

  function named(name) {
    const alike = name.trim() && state.names().find((known) => known !== name.trim() && state.readAs(known) === state.readAs(name));
    part("who").hidden = !alike || state.names().includes(name.trim());
    if (!part("who").hidden) {
      bench.text("who-text", `Decisions of “${alike}” are here already. Are you the same person?`);
      part("who-same").textContent = `Yes, I am ${alike}`;
      part("who-same").onclick = () => { part("who").hidden = true; part("reviewer").value = alike; named(alike); };
      part("who-other").hidden = false;
      part("who-other").onclick = () => {
        bench.text("who-text", `Then give a name that differs from “${alike}” in more than case, blanks, dashes or letters that look alike: two names that read the same would count as one person.`);
        part("who-other").hidden = true;
        part("reviewer").focus();
        part("reviewer").select();
      };
      part("who-same").focus();
      return;
    }
    begin(name);
  }
  function begin(name) {
    state.remember(name);
    state.load(name);
    save.push();
    part("reviewer").blur();
    if (mode !== "look") { fill(); open(); }
  }
  part("reviewer").addEventListener("change", () => named(part("reviewer").value));

  let drag = null;
  part("plain").parentElement.addEventListener("pointerdown", (event) => { if (options.zoom > 1) drag = [event.clientX, event.clientY]; });
  addEventListener("pointermove", (event) => {
    if (!drag) return;
    const side = part("plain").clientWidth * options.zoom;
    options.pan = options.pan.map((at, i) => Math.max(-45, Math.min(45, at + (100 * ((i ? event.clientY : event.clientX) - drag[i])) / side)));
    drag = [event.clientX, event.clientY];
    bench.zoom(options);
  });
  addEventListener("pointerup", () => { drag = null; });

  const back = (cell) => { from = from || wanted; const start = from; select(cell, true); from = start; };
  state.onChange((cell) => {
    if (!cell) differing = null;
    else if (differing) { if (differs(cell)) differing.add(cell); else differing.delete(cell); }
    if (cell) grid.repaint(cell); else { fill(); redraw(); }
    if (!cell || cell === current) bench.show(current, options);
    // The next picture comes first.
    requestAnimationFrame(() => setTimeout(() => { count(); bench.echo(back); if (cell) differences(); }));
    if (!cell) count();
    if (!save.served) bench.loose(state.loose(), state.reviewer);
    if (!state.lasting) bench.text("saved", "This browser stores no decisions: save the review before you close the page.");
    save.push();
  });
  save.onChange(() => { bench.banner(save.fault, save.refused); ready(); });
  part("unsaved-file").addEventListener("click", save.rescue);
  part("unsaved-drop").addEventListener("click", save.discard);
  addEventListener("beforeunload", (event) => {
    if ((!state.lasting && state.all().size) || (save.served && save.fresh().length)) event.preventDefault();
  });
  mnbatch.onMaps(redraw);

  for (const flag of [...new Set(mnbatch.cells.flatMap((cell) => cell.flags))].sort()) {
    part("f-flag").append(new Option(flag.replaceAll("_", " "), flag));
  }
  for (const slide of mnbatch.page.slides) if (slide.cells) part("f-slide").append(new Option(slide.name, slide.id));
  part("f-slide").parentElement.hidden = mnbatch.page.slides.length < 2;
  const missing = mnbatch.page.slides.filter((slide) => !slide.cells);
  if (missing.length) bench.text("saved", `Not shown, because the pictures are missing: ${missing.map((slide) => slide.name).join(", ")}`);
  for (const name of ["heat", "kind", "blend", "size", "blind", "wait"]) {
    try { options[name] = JSON.parse(state.prefs.get(`mnbatch|${name}`)) ?? options[name]; } catch { /* without the preference the default is used */ }
  }
  for (const element of document.querySelectorAll("[data-js]")) element.hidden = false;
  mnbatch.keys.label();
  part("reviewer").value = state.remembered();
  change("look");
  if (part("reviewer").value) state.remember(part("reviewer").value);
  state.load(part("reviewer").value);
  select(list[0] || null);
  turn("heat", options.heat);
  const begun = location.hash === "#differences" ? "differ" : location.hash === "#review" ? "review" : location.hash === "#second" ? "second" : "";
  if (begun) change(begun);
  save.pull().then(() => { if (mode !== "look") { fill(); open(); } ready(); });
  requestAnimationFrame(() => setTimeout(mnbatch.loadMaps));
};
document.addEventListener("DOMContentLoaded", mnbatch.start);
