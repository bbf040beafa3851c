"use strict";
// Controls, keys, and what follows from them.
mnbatch.start = () => {
  const part = (id) => document.getElementById(id);
  const { state, grid, bench, save } = mnbatch;
  const options = { heat: true, kind: "evidence", blend: 1, size: 150, blind: false, choose: (cell) => select(cell) };
  let mode = "look", list = [], current = null;
  const KINDS = ["evidence", "attention5", "attention6"];

  const asked = {
    call: (cell) => !part("f-call").value || cell.mn === (part("f-call").value === "mn"),
    score: (cell) => cell.p >= Number(part("f-low").value || 0) && cell.p <= Number(part("f-high").value || 1),
    flag: (cell) => {
      const flag = part("f-flag").value;
      return !flag || (flag === "*" ? cell.flags.length > 0 : flag === "-" ? !cell.flags.length : cell.flags.includes(flag));
    },
    review: (cell) => {
      const wanted = part("f-review").value, said = state.of(cell);
      return !wanted || (wanted === "-" ? !said : wanted === "*" ? Boolean(said) : Boolean(said) && said.d === wanted);
    },
    slide: (cell) => !part("f-slide").value || cell.slide.id === part("f-slide").value,
  };
  const sorts = {
    score: (a, b) => b.p - a.p || a.index - b.index,
    uncertainty: (a, b) => Math.abs(a.p - a.slide.threshold) - Math.abs(b.p - b.slide.threshold) || a.index - b.index,
    position: (a, b) => a.index - b.index,
  };
  const rank = (cell) => (options.blind ? cell.blind : cell.rank);

  function fill() {
    if (mode === "review") {
      list = mnbatch.cells.filter((cell) => cell.rank !== null);
      const order = new Map(mnbatch.page.slides.map((slide, at) => [slide, at]));
      list.sort((a, b) => order.get(a.slide) - order.get(b.slide) || rank(a) - rank(b));
    } else {
      const tests = options.blind ? [asked.review, asked.slide] : Object.values(asked);
      list = mnbatch.cells.filter((cell) => tests.every((test) => test(cell)));
      list.sort(sorts[options.blind ? "position" : part("sort").value]);
    }
    bench.text("shown", mode === "look" ? `${list.length} of ${mnbatch.cells.length} cells` : "");
    grid.show(list, options);
  }

  function redraw() { bench.show(current, options); grid.refresh(); legend(); }

  function select(cell, scroll = false) {
    current = cell;
    bench.show(cell, options);
    grid.choose(cell, scroll);
    if (mode === "review") mnbatch.pictures.preload(list.slice(list.indexOf(cell) + 1, list.indexOf(cell) + 9));
  }

  function step(by) {
    if (!list.length) return;
    const at = list.indexOf(current);
    select(list[Math.min(list.length - 1, Math.max(0, at < 0 ? 0 : at + by))], true);
  }

  function next() {
    const at = list.indexOf(current);
    if (mode === "look") { if (at < list.length - 1) step(1); return; }
    const around = [...list.slice(at + 1), ...list.slice(0, at + 1)];
    const ahead = around.find((cell) => !state.of(cell)) || around.find(state.unconfirmed);
    if (ahead) select(ahead, true);
    else say("Every cell of the queue is decided, and every MN is confirmed. Save the review.");
  }

  function count() { bench.progress(mnbatch.estimate.tallies(state.of), options); }

  function say(text) { bench.text("live", text); }

  function decide(d, c = null) {
    if (!current) return;
    if (!state.reviewer) { part("reviewer").focus(); say("Type your name first, then decide."); return; }
    state.decide(current, d, c);
    say(`${current.label}: ${mnbatch.words.said({ d, c })}. ${part("progress-text").textContent}`);
    next();
  }

  function undo() {
    const cell = state.undo();
    if (!cell) { say("Nothing to undo."); return; }
    select(cell, true);
    say(`${cell.label}: undone`);
  }

  function turn(name, value) {
    if (options.blind && name === "heat" && value) { say("The map is hidden in a blind review."); return; }
    options[name] = value;
    if (options.blind) options.heat = false; // its colours tell the score
    state.prefs.put(`mnbatch|${name}`, JSON.stringify(value));
    part("heat").setAttribute("aria-pressed", String(options.heat));
    part("blind").setAttribute("aria-pressed", String(options.blind));
    document.body.dataset.blind = String(options.blind);
    part("blend").value = options.blend;
    part("size").value = options.size;
    for (const choice of document.querySelectorAll("input[name=map]")) choice.checked = choice.value === options.kind;
    if (name === "blind") { fill(); count(); if (mode === "review") open(); }
    redraw();
  }

  function legend() {
    const shown = current || mnbatch.cells[0];
    const limit = shown ? shown.slide.limit : 1;
    const absent = shown && !shown.slide.given.includes(options.kind);
    bench.text("legend", !options.heat ? "map off" : absent ? "the model of this slide has no such map" : options.kind === "evidence"
      ? `evidence: blue against MN, clear 0, amber to red for MN; full colour at ${limit} logits a position`
      : `attention of layer ${options.kind.slice(-1)}: clear 0 to teal 1`);
  }

  function open() {
    const first = list.find((cell) => !state.of(cell)) || list.find(state.unconfirmed) || list[0] || null;
    if (first) select(first, false);
  }

  function change(to) {
    mode = options.mode = to;
    document.body.dataset.mode = to;
    part("grid").hidden = to === "review";
    for (const choice of document.querySelectorAll("input[name=mode]")) choice.checked = choice.value === to;
    fill();
    if (to === "review") { open(); count(); scrollTo(0, 0); }
  }

  const typing = (target) => target.closest("input:not([type=radio], [type=range], [type=button]), select, textarea");
  const keys = {
    m: () => decide("mn"), n: () => decide("not_mn"), u: () => decide("unsure"), x: () => decide("not_scorable"),
    0: () => decide("not_mn", 0), z: undo, Backspace: undo,
    h: () => turn("heat", !options.heat), b: () => turn("blind", !options.blind),
    k: () => turn("kind", KINDS[(KINDS.indexOf(options.kind) + 1) % 3]),
    "[": () => turn("blend", Math.max(0, Math.round(10 * options.blend - 1) / 10)),
    "]": () => turn("blend", Math.min(1, Math.round(10 * options.blend + 1) / 10)),
    "-": () => turn("size", Math.max(80, options.size - 30)), "+": () => turn("size", Math.min(400, options.size + 30)),
    g: () => change("look"), r: () => change("review"),
    ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    ArrowUp: () => step(mode === "look" ? -grid.columns() : -1), ArrowDown: () => step(mode === "look" ? grid.columns() : 1),
  };
  for (let number = 1; number <= 9; number++) keys[number] = () => decide("mn", number);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const arrow = event.key.startsWith("Arrow");
    if (arrow && event.target.closest("input")) return;
    const act = keys[event.key] || keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });

  for (const id of ["sort", "f-call", "f-low", "f-high", "f-flag", "f-review", "f-slide"]) {
    part(id).addEventListener("input", () => { fill(); if (!list.includes(current)) select(list[0] || null); });
  }
  for (const choice of document.querySelectorAll("input[name=mode]")) choice.addEventListener("change", () => change(choice.value));
  for (const choice of document.querySelectorAll("input[name=map]")) choice.addEventListener("change", () => turn("kind", choice.value));
  for (const button of document.querySelectorAll("[data-say]")) {
    button.addEventListener("click", () => decide(button.dataset.say, button.dataset.count ? Number(button.dataset.count) : null));
  }
  part("undo").addEventListener("click", undo);
  part("heat").addEventListener("click", keys.h);
  part("blind").addEventListener("click", keys.b);
  part("blend").addEventListener("input", () => turn("blend", Number(part("blend").value)));
  part("size").addEventListener("input", () => turn("size", Number(part("size").value)));
  part("csv").addEventListener("click", () => save.download("csv"));
  part("json").addEventListener("click", () => save.download("json"));
  part("finish").addEventListener("click", () => save.finish());
  part("finish").hidden = !save.served;
  part("reviewer").addEventListener("change", () => { state.load(part("reviewer").value); part("reviewer").blur(); });

  state.onChange((cell) => {
    count();
    if (cell) grid.repaint(cell); else { fill(); redraw(); }
    if (!cell || cell === current) bench.show(current, options);
    if (!state.lasting) bench.text("saved", "This browser stores no decisions: save the review before you close the page.");
    save.push();
  });
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
  for (const name of ["heat", "kind", "blend", "size", "blind"]) {
    try { options[name] = JSON.parse(state.prefs.get(`mnbatch|${name}`)) ?? options[name]; } catch { /* without the preference the default is used */ }
  }
  for (const element of document.querySelectorAll("[data-js]")) element.hidden = false;
  part("reviewer").value = state.prefs.get("mnbatch|reviewer") || "";
  change("look");
  state.load(part("reviewer").value);
  select(list[0] || null);
  turn("heat", options.heat);
  requestAnimationFrame(() => setTimeout(mnbatch.loadMaps));
};
document.addEventListener("DOMContentLoaded", mnbatch.start);
