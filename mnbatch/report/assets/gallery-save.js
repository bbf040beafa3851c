"use strict";
// Out of the browser: as a download, or straight into OUT where `mnbatch review serve` shows the page.
mnbatch.save = (() => {
  const served = location.protocol === "http:";
  const sent = new Map();

  function download(kind) {
    const text = kind === "csv" ? mnbatch.state.csv() : mnbatch.state.json();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
    link.download = `review.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function fresh() {
    const rows = [];
    for (const [cell, value] of mnbatch.state.all()) {
      if (!value.kept && sent.get(cell) !== value.t) rows.push([cell, value]);
    }
    return rows.slice(0, 500);
  }

  async function post(path, content) {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(said.error || `the server answered ${answer.status}`);
    return said;
  }

  const root = () => location.pathname.split("/").slice(0, 2).join("/");

  async function pushRows() {
    const rows = fresh();
    if (!rows.length) return;
    await post(`${root()}/_review`, { decisions: rows.map((pair) => mnbatch.state.row(...pair)) });
    for (const [cell, value] of rows) sent.set(cell, value.t);
    await pushRows();
  }

  // One after the other: a call made while decisions are being sent waits until these and later ones are saved.
  let last = Promise.resolve(true);
  let waiting = false;

  function push() {
    if (!served || !mnbatch.state.reviewer) return Promise.resolve(true);
    if (waiting) return last;
    waiting = true;
    last = last.then(async () => {
      waiting = false;
      if (!fresh().length) return true;
      try {
        await pushRows();
      } catch (error) {
        mnbatch.bench.text("saved", `Not saved in OUT: ${error.message} Your decisions are kept in this browser.`);
        return false;
      }
      mnbatch.bench.text("saved", "Saved in OUT.");
      return true;
    });
    return last;
  }

  async function finish() {
    // A report without the last decisions would look complete.
    if (!(await push())) return;
    mnbatch.bench.text("saved", "Making the report …");
    try {
      const said = await post(`${root()}/_report`, {});
      mnbatch.bench.text("saved", said.message);
      const next = document.getElementById("next");
      next.hidden = false;
      next.lastElementChild.focus();
    } catch (error) { mnbatch.bench.text("saved", error.message); }
  }

  return { served, download, push, finish, fresh };
})();
