"use strict";
// A grid of which only the rows in sight are in the document, so that thousands of cells scroll smoothly.
mnbatch.grid = (() => {
  const GAP = 10, CAPTION = 44, SPARE_ROWS = 2;
  const box = document.getElementById("grid");
  const tiles = new Map();
  let list = [], place = new Map(), chosen = null, columns = 1, width = 150, options = {};

  // Not innerHeight: Firefox refuses it to a page that is being left while a frame is still due.
  const inSight = () => document.documentElement.clientHeight;

  function tile(cell) {
    const element = document.createElement("div");
    element.className = "tile";
    element.id = `cell-${cell.index}`;
    element.setAttribute("role", "option");
    element.append(mnbatch.pictures.make(true));
    for (const name of ["score", "said", "src"]) {
      const part = document.createElement("span");
      part.className = name;
      element.append(part);
    }
    element.addEventListener("click", () => options.choose(cell));
    return element;
  }

  function paint(element, cell) {
    const said = mnbatch.state.of(cell), at = place.get(cell);
    const [frame, score, word, src] = element.children;
    mnbatch.pictures.show(frame.firstChild, cell);
    const canvas = frame.lastChild;
    canvas.hidden = !options.heat;
    canvas.style.opacity = options.blend;
    if (options.heat) mnbatch.pictures.draw(canvas, cell, options.kind);
    score.textContent = options.blind ? "" : mnbatch.words.score(cell);
    score.classList.toggle("mn", !options.blind && cell.mn);
    word.textContent = said ? mnbatch.words.said(said) : "";
    src.textContent = cell.label;
    element.dataset.said = said ? said.d : "";
    element.setAttribute("aria-label", mnbatch.words.label(cell, options.blind));
    element.setAttribute("aria-posinset", at + 1);
    element.setAttribute("aria-setsize", list.length);
    element.setAttribute("aria-selected", String(cell === chosen));
    element.style.width = `${width}px`;
    element.style.transform = `translate(${(at % columns) * (width + GAP)}px, ${Math.floor(at / columns) * (width + CAPTION + GAP)}px)`;
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
      paint(element, cell);
      if (!known) { tiles.set(cell, element); box.append(element); }
    }
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
    const element = tiles.get(cell);
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

  return { show, repaint, choose, refresh: () => render(true), columns: () => columns };
})();
