"use strict";
// Out of the browser: as a download, or straight into OUT where `mnbatch review serve` shows the page.
mnbatch.save = (() => {
  const served = location.protocol === "http:";
  const sent = new Map();
  let busy = false, again = false;

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

  async function push() {
    if (!served || !mnbatch.state.reviewer) return;
    if (busy) { again = true; return; }
    const rows = fresh();
    if (!rows.length) return;
    busy = true;
    try {
      await post(`${root()}/_review`, { decisions: rows.map((pair) => mnbatch.state.row(...pair)) });
      for (const [cell, value] of rows) sent.set(cell, value.t);
      mnbatch.bench.text("saved", "Saved in OUT.");
    } catch (error) {
      mnbatch.bench.text("saved", `Not saved in OUT: ${error.message} Your decisions are kept in this browser.`);
    }
    busy = false;
    if (again || fresh().length === 500) { again = false; push(); }
  }

  async function finish() {
    await push();
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
