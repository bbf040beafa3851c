"use strict";
// Sorting, filtering and the heat map switch. Everything is readable without it; its controls are hidden until it runs.
(() => {
  for (const part of document.querySelectorAll("[data-js]")) part.hidden = false;

  // A table that is wider than its place can be moved with the keys, and only such a one is a stop of the Tab key.
  function stops() {
    for (const box of document.querySelectorAll(".scroll")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute("tabindex");
    }
  }
  stops();
  addEventListener("resize", stops);
  document.addEventListener("toggle", stops, true);

  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  function value(row, column) {
    const cell = row.cells[column];
    const key = cell.dataset.sort;
    return key === undefined ? cell.textContent.trim() : key;
  }

  // Rows without a value stay at the end in both directions: a failed slide is neither the lowest nor the highest.
  function compare(a, b, numeric, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numeric ? Number(a) - Number(b) : collator.compare(a, b));
  }

  function sortBy(head) {
    const table = head.closest("table");
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const numeric = head.dataset.kind === "number";
    const rows = Array.from(table.tBodies[0].rows, (row) => [value(row, head.cellIndex), row]);
    rows.sort((a, b) => compare(a[0], b[0], numeric, ascending ? 1 : -1));
    table.tBodies[0].append(...rows.map((pair) => pair[1]));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.sort");
    if (button) sortBy(button.closest("th"));
  });

  for (const tools of document.querySelectorAll("[data-filters]")) {
    const table = document.getElementById(tools.dataset.filters);
    const [text, status, output] = ["input", "select", "output"].map((tag) => tools.querySelector(tag));
    const rows = Array.from(table.tBodies[0].rows);
    const apply = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const hay = row.textContent.toLowerCase();
        row.hidden = !(words.every((word) => hay.includes(word)) && (!status.value || row.dataset.status === status.value));
        shown += row.hidden ? 0 : 1;
      }
      output.textContent = shown === rows.length ? `${rows.length} shown` : `${shown} of ${rows.length} shown`;
    };
    text.addEventListener("input", apply);
    status.addEventListener("change", apply);
    apply();
  }

  // Where the page is now: a copied or renamed folder has its own name, which no stored page could know.
  const out = document.querySelector("[data-out]");
  if (out && location.protocol === "file:") {
    const name = location.pathname.split("/").slice(-2 - Number(out.dataset.out))[0];
    try {
      out.querySelector("bdi").textContent = decodeURIComponent(name);
      out.hidden = !name;
    } catch {
      out.hidden = true;
    }
  }

  // Under `mnbatch review serve`: what a gallery could not save yet is in this browser, and not in what this page says.
  function unsaved() {
    const found = new Map(), slides = new Set();
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith("mnbatch-unsent|")) continue;
      const [who, slide] = JSON.parse(key.slice(15));
      found.set(who, (found.get(who) || 0) + 1);
      slides.add(slide);
    }
    return [found, slides];
  }
  function warn() {
    const [found, slides] = unsaved();
    let line = document.getElementById("unsaved-decisions");
    if (!line && found.size) {
      line = document.createElement("p");
      line.id = "unsaved-decisions";
      line.setAttribute("role", "alert");
      document.querySelector("main").prepend(line);
    }
    if (!line) return;
    line.hidden = !found.size;
    if (!found.size) return;
    const root = location.pathname.split("/").slice(0, 2).join("/"), link = document.createElement("a");
    link.href = `${root}/slides/${encodeURIComponent([...slides][0])}/gallery.html`;
    link.textContent = "Open a gallery: it sends them";
    line.replaceChildren(`Decisions in this browser that OUT has not confirmed, and that this page may lack: ${[...found].map(([who, n]) => `${n} of ${who}`).join(", ")}. `, link);
  }
  if (location.protocol === "http:") {
    try { warn(); addEventListener("storage", warn); } catch { /* a browser that keeps nothing has nothing unsaved */ }
  }

  // Folded parts are opened before printing.
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });

  const cells = document.querySelector("[data-map]");
  if (!cells) return;
  const toggle = document.querySelector("[data-toggle-heat]");
  function switchHeat() {
    const on = cells.dataset.heat === "off";
    cells.dataset.heat = on ? "on" : "off";
    toggle.setAttribute("aria-pressed", String(on));
  }
  toggle.addEventListener("click", switchHeat);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input[type=search], select, textarea");
    if (event.key === "h" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) switchHeat();
  });
  for (const choice of document.querySelectorAll("input[name=map]")) {
    choice.addEventListener("change", () => {
      cells.dataset.map = choice.value;
      for (const key of document.querySelectorAll("[data-key]")) key.hidden = key.dataset.key !== choice.value;
    });
  }
})();
