"use strict";
// A grid of which only the rows in sight are in the document, so that thousands of cells scroll smoothly.
// A tile is seen with its picture, name and score or not at all; the first screenful is seen as a whole.
mnbatch.grid = (() => {
  const GAP = 10, CAPTION = 44, SPARE_ROWS = 2, ROWS_AHEAD = 8;
  const box = document.getElementById("grid");
  const tiles = new Map();
  let list = [], place = new Map(), chosen = null, columns = 1, width = 150, options = {};
  box.dataset.opening = "true";

  // Not innerHeight: Firefox refuses it to a page that is being left while a frame is still due.
  const inSight = () => document.documentElement.clientHeight;

  function tile(cell) {
    const element = document.createElement("div"), parts = mnbatch.pictures.make(true);
    element.className = "tile";
    element.id = `cell-${cell.index}`;
    element.setAttribute("role", "option");
    element.append(parts.frame);
    Object.assign(element, { parts });
    for (const name of ["score", "said", "src"]) {
      const part = document.createElement("span");
      part.className = name;
      element.append(part);
    }
    element.addEventListener("click", (event) => options.choose(cell, event));
    return element;
  }

  function put(element, at) {
    element.style.width = `${width}px`;
    element.style.transform = `translate(${(at % columns) * (width + GAP)}px, ${Math.floor(at / columns) * (width + CAPTION + GAP)}px)`;
    element.style.order = at; // on paper
    element.setAttribute("aria-posinset", at + 1);
    element.setAttribute("aria-setsize", list.length);
  }

  function paint(element, cell) {
    put(element, place.get(cell));
    element.setAttribute("aria-selected", String(cell === chosen || options.picked.has(cell)));
    element.dataset.picked = String(options.picked.has(cell));
    if (!mnbatch.pictures.show(element.parts.picture, cell)) {
      // A picture that is on the page already stays there meanwhile.
      if (!("said" in element.dataset)) { element.dataset.wait = "true"; element.setAttribute("aria-label", "Loading"); }
      mnbatch.pictures.load(cell).then(() => { if (tiles.get(cell) === element && place.has(cell)) paint(element, cell); })
        .catch(() => { element.dataset.wait = "failed"; element.setAttribute("aria-label", "The picture cannot be loaded"); open(); });
      return;
    }
    delete element.dataset.wait;
    open();
    const value = mnbatch.state.of(cell);
    const [, score, word, src] = element.children, canvas = element.parts.map;
    canvas.hidden = !options.heat;
    canvas.style.opacity = options.blend;
    if (options.heat) mnbatch.pictures.draw(canvas, cell, options.kind);
    score.textContent = options.blind ? "" : mnbatch.words.score(cell);
    score.classList.toggle("mn", !options.blind && cell.mn);
    word.textContent = value ? mnbatch.words.said(value) : "";
    src.textContent = cell.label;
    element.dataset.said = value ? value.d : "";
    element.setAttribute("aria-label", mnbatch.words.label(cell, options.blind));
  }

  // Shows the grid when no tile in the window waits any more.
  function open() {
    const seen = (tile) => tile.getBoundingClientRect().top < inSight();
    if (box.dataset.opening && ![...tiles.values()].some((tile) => tile.dataset.wait === "true" && seen(tile))) delete box.dataset.opening;
  }

  function render(everything) {
    if (box.hidden) return;
    const room = box.clientWidth;
    columns = Math.max(1, Math.floor((room + GAP) / (options.size + GAP)));
    width = (room - GAP * (columns - 1)) / columns;
    const row = width + CAPTION + GAP;
    box.style.height = `${Math.ceil(list.length / columns) * row}px`;
    const top = -box.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor(top / row) - SPARE_ROWS) * columns;
    const to = Math.min(list.length, (Math.ceil((top + inSight()) / row) + SPARE_ROWS) * columns);
    const wanted = new Set(list.slice(from, Math.max(from, to)));
    for (const [cell, element] of tiles) if (!wanted.has(cell)) { element.remove(); tiles.delete(cell); }
    for (const cell of wanted) {
      const known = tiles.get(cell);
      if (known && !everything) continue;
      const element = known || tile(cell);
      if (!known) { tiles.set(cell, element); box.append(element); }
      paint(element, cell);
    }
    mnbatch.pictures.preload(list.slice(to, to + ROWS_AHEAD * columns));
    open();
    if (chosen && tiles.has(chosen)) box.setAttribute("aria-activedescendant", `cell-${chosen.index}`);
    else box.removeAttribute("aria-activedescendant");
  }

  function show(cells, changed) {
    options = changed;
    list = cells;
    place = new Map(cells.map((cell, at) => [cell, at]));
    render(true);
  }

  function repaint(cell) {
    const element = box.hidden ? null : tiles.get(cell);
    if (element && place.has(cell)) paint(element, cell);
  }

  function choose(cell, scroll) {
    const before = chosen;
    chosen = cell;
    for (const one of [before, cell]) if (one) repaint(one);
    if (scroll && place.has(cell) && !box.hidden) {
      const row = width + CAPTION + GAP, head = 0;
      const top = box.getBoundingClientRect().top + Math.floor(place.get(cell) / columns) * row;
      if (top < head) scrollBy(0, top - head - GAP);
      else if (top + row > inSight()) scrollBy(0, top + row - inSight());
    }
    render(false);
  }

  let waiting = false;
  function soon(everything) {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; render(everything); });
  }
  addEventListener("scroll", () => soon(false), { passive: true });
  addEventListener("resize", () => soon(true));

  const between = (one, other) => {
    const [from, to] = [place.get(one) ?? 0, place.get(other) ?? 0].sort((a, b) => a - b);
    return list.slice(from, to + 1);
  };
  const shown = (cell) => tiles.has(cell) && !tiles.get(cell).dataset.wait;

  return { show, repaint, choose, between, shown, refresh: () => render(true), columns: () => columns };
})();
