"use strict";
// The cells of the page. Each slide's data.js calls mnbatch.slide, its maps.js mnbatch.maps: nothing is fetched.
// A property of the window, so that a browser driver can see it too (a `const` is hidden from other worlds).
window.mnbatch = (() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const slides = new Map(page.slides.map((slide) => [slide.id, slide]));
  const cells = [], byId = new Map();
  const listeners = [];

  function slide(data) {
    const known = slides.get(data.id);
    if (!known || known.cells) return;
    Object.assign(known, data, { cells: [] });
    const twice = new Set(data.twice || []);
    let strip = 0, within = 0;
    for (let at = 0; at < data.cell.length; at++) {
      if (within === data.strips[strip][0]) { strip++; within = 0; }
      const cell = {
        slide: known, at, index: cells.length, strip, within: within++,
        id: data.prefix + data.cell[at],
        label: (data.prefix + data.cell[at]).slice(data.id.length + 1).split("/").pop(),
        p: data.p[at], mn: data.mn[at] === "1",
        flags: (data.flags[at] || []).map((k) => data.flagNames[k]),
        stratum: Number(data.stratum[at]),
        rank: data.rank[at] ?? null, blind: data.blind[at] ?? null, twice: twice.has(at),
        um: data.um ? data.um[at] : null, place: data.place ? data.place[at] : null,
      };
      known.cells.push(cell);
      cells.push(cell);
      byId.set(cell.id, cell);
    }
  }

  function maps(id, packed) {
    const known = slides.get(id);
    if (!known) return;
    known.maps = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    for (const heard of listeners) heard();
  }

  function loadMaps() {
    for (const known of page.slides) {
      if (!known.cells) continue;
      const script = document.createElement("script");
      script.src = known.base + "maps.js";
      document.head.append(script);
    }
  }

  return { page, cells, byId, slide, maps, loadMaps, onMaps: (heard) => listeners.push(heard) };
})();
