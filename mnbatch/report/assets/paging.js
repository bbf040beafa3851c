"use strict";
// Long tables a page at a time: a browser takes seconds to lay out thousands of rows. Printed, and without scripts, all rows
// are there. Sorting and filtering (report.js) go over all rows; what they leave is divided into pages again.
(() => {
  for (const tools of document.querySelectorAll("[data-pages]")) {
    const table = document.getElementById(tools.dataset.pages);
    const filters = document.querySelector(`[data-filters="${tools.dataset.pages}"]`);
    const size = Number(tools.dataset.rows);
    const [back, on, whole] = tools.querySelectorAll("button");
    const said = tools.querySelector("output");
    let page = 0;
    let all = false;

    function show() {
      const rows = Array.from(table.tBodies[0].rows, (row) => row);
      const left = rows.filter((row) => !row.hidden);
      const last = all ? 0 : Math.max(0, Math.ceil(left.length / size) - 1);
      page = Math.min(page, last);
      const first = all ? 0 : page * size;
      const end = all ? left.length : Math.min(left.length, first + size);
      left.forEach((row, place) => row.classList.toggle("later", place < first || place >= end));
      said.textContent = left.length ? `rows ${first + 1} to ${end} of ${left.length}` : "no rows";
      back.disabled = page === 0;
      on.disabled = page === last;
      whole.setAttribute("aria-pressed", String(all));
    }

    function begin() {
      page = 0;
      show();
    }

    back.addEventListener("click", () => { page -= 1; show(); });
    on.addEventListener("click", () => { page += 1; show(); });
    whole.addEventListener("click", () => { all = !all; begin(); });
    // On the document, so that report.js has sorted and filtered before.
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button.sort");
      if (button && table.contains(button)) begin();
    });
    for (const kind of ["input", "change"]) {
      document.addEventListener(kind, (event) => { if (filters && filters.contains(event.target)) begin(); });
    }
    show();
  }
})();
