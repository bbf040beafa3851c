"use strict";
// The current cell: large, without and with its map, and the decision.
mnbatch.words = (() => {
  const DECISIONS = { mn: "MN", not_mn: "not MN", unsure: "unsure", not_scorable: "not scorable" };
  const said = (value) => DECISIONS[value.d] + (value.c ? ` × ${value.c}` : "");
  const score = (cell) => (cell.p > 0.9995 ? "> 0.999" : cell.p < 0.0005 ? "< 0.001" : cell.p.toFixed(3));
  function label(cell, blind) {
    const value = mnbatch.state.of(cell);
    const parts = [cell.label];
    if (!blind) parts.push(`score ${score(cell)}`, cell.mn ? "called MN" : "not called MN");
    if (!blind && cell.flags.length) parts.push(`flags ${cell.flags.join(", ").replaceAll("_", " ")}`);
    parts.push(value ? `decided ${said(value)}` : "not decided");
    return parts.join(", ");
  }
  return { said, score, label, DECISIONS };
})();

mnbatch.bench = (() => {
  const part = (id) => document.getElementById(id);
  const plain = part("plain"), under = part("under");
  plain.append(mnbatch.pictures.make(false));
  under.append(mnbatch.pictures.make(true));

  function text(id, words) { part(id).textContent = words; }

  function show(cell, options) {
    part("bench").classList.toggle("nothing", !cell);
    if (!cell) { text("cell-name", "No cell"); text("cell-facts", ""); text("cell-said", ""); return; }
    for (const holder of [plain, under]) mnbatch.pictures.show(holder.firstChild.firstChild, cell);
    const canvas = under.firstChild.lastChild;
    canvas.hidden = !options.heat;
    canvas.style.opacity = options.blend;
    if (options.heat) mnbatch.pictures.draw(canvas, cell, options.kind);
    const name = mnbatch.words.label(cell, options.blind);
    plain.setAttribute("aria-label", `Crop of ${name}`);
    under.setAttribute("aria-label", options.heat ? `The same crop under its ${options.kind} map` : "The same crop, map off");
    text("cell-name", cell.label);
    const facts = options.blind ? [] : [`p(MN) ${mnbatch.words.score(cell)}`, cell.mn ? "called MN" : "not called MN",
      ...cell.flags.map((flag) => flag.replaceAll("_", " "))];
    if (mnbatch.page.slides.length > 1) facts.push(cell.slide.name);
    text("cell-facts", facts.join(" · "));
    const value = mnbatch.state.of(cell);
    const again = options.mode === "review" && mnbatch.state.unconfirmed(cell) ? " – check it a second time and decide again" : "";
    text("cell-said", value ? `Your decision: ${mnbatch.words.said(value)}${again}` : "Not decided");
    for (const button of document.querySelectorAll("[data-say]")) {
      button.setAttribute("aria-pressed", String(Boolean(value) && value.d === button.dataset.say && !button.dataset.count));
    }
  }

  function progress(strata, options) {
    const drawn = strata.reduce((sum, t) => sum + t.drawn, 0), looked = strata.reduce((sum, t) => sum + t.looked, 0);
    const bar = part("progress");
    bar.max = Math.max(1, drawn);
    bar.value = looked;
    const again = mnbatch.cells.filter((cell) => cell.rank !== null && mnbatch.state.unconfirmed(cell)).length;
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
    const counted = mnbatch.cells.length, called = mnbatch.cells.filter((cell) => cell.mn).length;
    text("automatic", options.blind || !counted ? "" : `Automatic: ${((1000 * called) / counted).toFixed(1)}`);
  }

  return { show, progress, text };
})();
