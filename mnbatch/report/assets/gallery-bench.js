"use strict";
// The current cell: large, without and with its map, the decision, and the last decisions.
mnbatch.words = (() => {
  const DECISIONS = { mn: "MN", not_mn: "not MN", unsure: "unsure", not_scorable: "not scorable" };
  const CLASSES = { bridge: "bridge", bud: "bud", apoptotic: "apoptotic", necrotic: "necrotic", multinucleated: "multinucleated" };
  const said = (value) => DECISIONS[value.d] + (value.c ? ` × ${value.c}` : "")
    + (value.k && value.k.length ? ` (${value.k.map((name) => CLASSES[name] || name).join(", ")})` : "");
  const score = (cell) => (cell.p > 0.9995 ? "> 0.999" : cell.p < 0.0005 ? "< 0.001" : cell.p.toFixed(3));
  function label(cell, blind) {
    const value = mnbatch.state.of(cell);
    const parts = [cell.label];
    if (!blind) parts.push(`score ${score(cell)}`, cell.mn ? "called MN" : "not called MN");
    if (!blind && cell.flags.length) parts.push(`flags ${cell.flags.join(", ").replaceAll("_", " ")}`);
    parts.push(value ? `decided ${said(value)}` : "not decided");
    return parts.join(", ");
  }
  return { said, score, label, DECISIONS, CLASSES };
})();

mnbatch.bench = (() => {
  const part = (id) => document.getElementById(id);
  const plain = mnbatch.pictures.make(false), under = mnbatch.pictures.make(true);
  part("plain").append(plain.frame);
  part("under").append(under.frame);
  // One on each picture: a phone shows one of them.
  const bars = [part("plain"), part("under")].map((pane) => {
    const bar = document.createElement("span");
    bar.className = "scale";
    bar.hidden = true;
    pane.append(bar);
    return bar;
  });

  function text(id, words) { if (part(id).textContent !== words) part(id).textContent = words; }

  // No picture: then no name and no facts either.
  function empty(words) {
    part("bench").dataset.shown = "";
    part("bench").classList.add("nothing");
    text("waiting", words);
    for (const id of ["cell-name", "cell-facts", "cell-said", "cell-others"]) text(id, "");
    for (const id of ["plain", "under"]) part(id).setAttribute("aria-label", words);
  }

  // Picture, name, facts and decision change together, in one frame; the picture is decoded before this is called.
  function show(cell, options) {
    if (!cell) { empty("No cell"); return; }
    if (![plain, under].every((parts) => mnbatch.pictures.show(parts.picture, cell))) { empty("Loading the picture …"); return; }
    part("bench").classList.remove("nothing");
    part("bench").dataset.shown = cell.id;
    text("waiting", "");
    under.map.hidden = !options.heat;
    under.map.style.opacity = options.blend;
    if (options.heat) mnbatch.pictures.draw(under.map, cell, options.kind);
    zoom(options);
    const name = mnbatch.words.label(cell, options.blind);
    part("plain").setAttribute("aria-label", `Crop of ${name}`);
    part("under").setAttribute("aria-label", options.heat ? `The same crop under its ${options.kind} map` : "The same crop, map off");
    text("cell-name", cell.label);
    const facts = options.blind ? [] : [`p(MN) ${mnbatch.words.score(cell)}`, cell.mn ? "called MN" : "not called MN",
      ...cell.flags.map((flag) => flag.replaceAll("_", " "))];
    if (mnbatch.page.slides.length > 1) facts.push(cell.slide.name);
    text("cell-facts", facts.join(" · "));
    const value = mnbatch.state.of(cell);
    const again = options.mode === "review" && mnbatch.state.unconfirmed(cell) ? " – check it a second time and decide again" : "";
    text("cell-said", (value ? `Your decision: ${mnbatch.words.said(value)}${again}` : "Not decided") + (value && value.m ? ` · ${value.m}` : ""));
    text("cell-others", options.mode !== "differ" || options.blind ? "" : mnbatch.state.everyone(cell)
      .map(([who, one]) => `${who}: ${mnbatch.words.said(one)}${one.look === "adjudication" ? " (adjudicated)" : ""}`).join(" · "));
    for (const button of document.querySelectorAll("[data-say]")) {
      button.setAttribute("aria-pressed", String(Boolean(value) && value.d === button.dataset.say && !button.dataset.count && !button.dataset.note));
    }
    for (const button of document.querySelectorAll("[data-class]")) {
      button.setAttribute("aria-pressed", String(options.classes.has(button.dataset.class)));
    }
  }

  function zoom(options) {
    for (const { inner, picture } of [plain, under]) {
      inner.style.transform = options.zoom === 1 ? "" : `scale(${options.zoom}) translate(${options.pan[0]}%, ${options.pan[1]}%)`;
      picture.classList.toggle("pixels", options.pixels);
    }
    scale(options);
  }

  // A bar of a round length; only where the size of a pixel is known.
  function scale(options) {
    const shown = mnbatch.byId.get(part("bench").dataset.shown);
    const width = shown && shown.um ? shown.um / options.zoom : 0;
    const length = [50, 20, 10, 5, 2, 1, 0.5].find((number) => number <= width / 3) || 0.2;
    for (const bar of bars) {
      bar.hidden = !width;
      if (!width) continue;
      bar.style.width = `${(100 * length) / width}%`;
      bar.textContent = `${length} µm`;
    }
  }

  // The field round the cell, with a box round it; closed by the same key.
  function context(cell) {
    const box = part("context"), [at, x, y, left, top, wide, high] = cell.place;
    const [name, fieldLeft, fieldTop, fieldWidth, fieldHeight, file, drawn] = cell.slide.fields[at];
    part("context-picture").src = cell.slide.base + file;
    part("context-picture").alt = `Field ${name}`;
    const mark = part("context-mark").style;
    mark.left = `${(100 * (left - fieldLeft)) / fieldWidth}%`;
    mark.top = `${(100 * (top - fieldTop)) / fieldHeight}%`;
    mark.width = `${(100 * wide) / fieldWidth}%`;
    mark.height = `${(100 * high) / fieldHeight}%`;
    text("context-name", `${name}: x ${Math.round(x)}, y ${Math.round(y)} px`);
    text("context-script", `getCurrentViewer().setCenterPixelLocation(${x}, ${y})`);
    part("context-geojson").hidden = !drawn;
    part("context-geojson").lastElementChild.textContent = drawn;
    box.showModal();
  }

  // The last decisions, newest first; a click goes back to the cell. What is there already is moved, not made again.
  let echoed = new Map();
  function echo(choose) {
    const box = part("echo"), before = echoed;
    echoed = new Map(mnbatch.state.recent().map(([cell, value]) => {
      const words = mnbatch.words.said(value), known = before.get(cell);
      return [cell, known && known.words === words ? known : { words, ...echoItem(cell, value, words, choose) }];
    }));
    for (const one of echoed.values()) one.again();
    const items = [...echoed.values()].map((one) => one.item);
    for (const old of [...box.children]) if (!items.includes(old)) old.remove();
    items.forEach((item, at) => { if (box.children[at] !== item) box.insertBefore(item, box.children[at] || null); });
    part("echo-none").hidden = items.length > 0;
  }

  function echoItem(cell, value, said, choose) {
    const item = document.createElement("li"), button = document.createElement("button");
    const parts = mnbatch.pictures.make(false), words = document.createElement("span");
    button.type = "button";
    button.dataset.cell = cell.index;
    button.dataset.said = value.d;
    words.textContent = said;
    button.setAttribute("aria-label", `${cell.label}: ${said}. Show it again`);
    const both = () => { mnbatch.pictures.show(parts.picture, cell); button.classList.remove("late", "lost"); };
    // What was decided stays in sight, by the cell's name, while its picture cannot be had.
    const lost = () => { button.classList.remove("late"); button.classList.add("lost"); };
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = cell.label;
    parts.frame.append(name);
    button.append(parts.frame, words);
    if (mnbatch.pictures.ready(cell)) both();
    else { button.classList.add("late"); mnbatch.pictures.load(cell).then(both).catch(lost); }
    const again = () => { if (button.classList.contains("lost")) mnbatch.pictures.load(cell).then(both).catch(lost); };
    button.addEventListener("click", () => choose(cell));
    item.append(button);
    return { item, again };
  }

  function banner(words, refused) {
    part("banner").hidden = !words;
    text("banner-text", words);
    part("unsaved").hidden = !refused;
  }

  // From disk: whose decisions are in this browser alone. Of a file there is one a name.
  function loose(some, name) {
    const number = some.reduce((sum, pair) => sum + pair[1], 0), others = some.filter((pair) => pair[0] !== name);
    text("loose", !number ? "" : `In this browser alone, in no file yet: ${number} decision${number > 1 ? "s" : ""} (${some.map(([who, n]) => `${n} of ${who}`).join(", ")}).`
      + (others.length ? ` A file holds those of the reviewer named above: for ${others.map((pair) => pair[0]).join(", ")} take that name and save again.` : ""));
  }

  // What does not change while a page is open is made once.
  const once = (make) => { let made; return () => (made ??= make()); };
  const queue = once(() => mnbatch.cells.filter((cell) => cell.rank !== null));
  const automatic = once(() => ((1000 * mnbatch.cells.filter((cell) => cell.mn).length) / mnbatch.cells.length).toFixed(1));

  function progress(strata, options) {
    const drawn = strata.reduce((sum, t) => sum + t.drawn, 0), looked = strata.reduce((sum, t) => sum + t.looked, 0);
    const bar = part("progress");
    bar.max = Math.max(1, drawn);
    bar.value = looked;
    const again = queue().filter(mnbatch.state.unconfirmed).length;
    text("progress-text", `${looked} of ${drawn} cells of the queue decided`
      + (looked === drawn && again ? `; ${again} decided MN to be checked a second time` : ""));
    const names = ["called MN", "near the threshold", "random sample"];
    const sums = names.map((_, s) => strata.filter((t) => t.s === s));
    text("strata-text", options.blind ? "" : names.map((name, s) =>
      `${name} ${sums[s].reduce((n, t) => n + t.looked, 0)} / ${sums[s].reduce((n, t) => n + t.drawn, 0)}`).join(" · "));
    if (mnbatch.page.slides.some((slide) => slide.mode === "confirm")) {
      // The frequency needs the model's sensitivity, which the report knows: mnbatch/report/confirmation.py.
      const sum = (group, key) => strata.filter((t) => t.called === group).reduce((n, t) => n + t[key], 0);
      text("frequency", `${looked === drawn ? "Confirmed" : "So far"}: ${sum(true, "mn")} of ${sum(true, "looked")} called cells; `
        + `${sum(false, "mn")} found in ${sum(false, "looked")} random negatives. The report gives the frequency.`);
      return;
    }
    const f = mnbatch.estimate.frequency(strata);
    const done = looked === drawn ? "Reviewed" : "So far";
    text("frequency", f ? `${done}: ${f.per1000.toFixed(1)} MNBN per 1000 cells (${f.low.toFixed(1)} to ${f.high.toFixed(1)})`
      : "No reviewed frequency yet: a part of the queue has no decision.");
    text("automatic", options.blind || !mnbatch.cells.length ? "" : `Automatic: ${automatic()}`);
  }

  return { show, empty, zoom, context, echo, banner, loose, progress, text };
})();
