"use strict";
// Long tables a page at a time: a browser takes seconds to make thousands of rows. They come inside <noscript>, which without
// scripts is the whole table, and with them one text: of it no more becomes elements than what is on the screen. Sorting and
// the filter read the text, by the rules of report.js; printed, all rows that the filter leaves are there.
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const SIGNS = { "&lt;": "<", "&gt;": ">", "&#34;": '"', "&#39;": "'", "&amp;": "&" };

  // The page was written with these five escapes alone, so that no tag can be part of a name.
  const plain = (text) => text.replace(/&(lt|gt|#34|#39|amp);/g, (sign) => SIGNS[sign]);
  const words = (html) => plain(html.replace(/<[^>]*>/g, ""));

  function value(row, column) {
    const cell = row.split(/<t[dh](?=[ >])/, column + 2)[column + 1];
    const end = cell.indexOf(">");
    const key = /data-sort="([^"]*)"/.exec(cell.slice(0, end));
    return key ? plain(key[1]) : words(cell.slice(end + 1)).trim();
  }

  function compare(a, b, numeric, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numeric ? Number(a) - Number(b) : collator.compare(a, b));
  }

  for (const tools of document.querySelectorAll("[data-pages]")) {
    const kept = document.querySelector(`[data-rows-of="${tools.dataset.pages}"]`);
    const filter = document.querySelector(`[data-find="${tools.dataset.pages}"]`);
    const size = Number(tools.dataset.rows);
    const [back, on, whole] = tools.querySelectorAll("button");
    const said = tools.querySelector("output");
    const [find, status, found] = ["input", "select", "output"].map((tag) => filter.querySelector(tag));
    const [head, body] = kept.textContent.split("<tbody>");
    const rows = body.split("</tr>").slice(0, -1);
    const holder = document.createElement("div");
    holder.innerHTML = `${head}<tbody></tbody></table>`;
    const table = holder.firstElementChild;
    kept.replaceWith(table);

    let texts = null;
    let order = rows.map((_, row) => row);
    let left = order;
    let page = 0;
    let all = false;

    function draw(first, end) {
      table.tBodies[0].innerHTML = left.slice(first, end).map((row) => `${rows[row]}</tr>`).join("");
    }

    function show() {
      const last = all ? 0 : Math.max(0, Math.ceil(left.length / size) - 1);
      page = Math.min(page, last);
      const first = all ? 0 : page * size;
      const end = all ? left.length : Math.min(left.length, first + size);
      draw(first, end);
      said.textContent = left.length ? `rows ${first + 1} to ${end} of ${left.length}` : "no rows";
      back.disabled = page === 0;
      on.disabled = page === last;
      whole.setAttribute("aria-pressed", String(all));
    }

    function begin() {
      page = 0;
      show();
    }

    function apply() {
      const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (wanted.length) texts ??= rows.map((row) => words(row).toLowerCase());
      const mark = status.value && `<tr data-status="${status.value}"`;
      left = order.filter((row) => wanted.every((word) => texts[row].includes(word)) && rows[row].includes(mark));
      found.textContent = left.length === rows.length ? `${rows.length} shown` : `${left.length} of ${rows.length} shown`;
      begin();
    }

    // Rows without a value stay at the end in both directions; rows of one value keep their order.
    function sortBy(cell) {
      const ascending = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
      cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const numeric = cell.dataset.kind === "number";
      const keys = rows.map((row) => value(row, cell.cellIndex));
      order = [...order].sort((a, b) => compare(keys[a], keys[b], numeric, ascending ? 1 : -1));
      apply();
    }

    back.addEventListener("click", () => { page -= 1; show(); });
    on.addEventListener("click", () => { page += 1; show(); });
    whole.addEventListener("click", () => { all = !all; begin(); });
    table.addEventListener("click", (event) => {
      const button = event.target.closest("button.sort");
      if (!button) return;
      // report.js would sort the rows that are drawn.
      event.stopPropagation();
      sortBy(button.closest("th"));
    });
    find.addEventListener("input", apply);
    status.addEventListener("change", apply);
    addEventListener("beforeprint", () => draw(0, left.length));
    addEventListener("afterprint", show);
    apply();
  }
})();
