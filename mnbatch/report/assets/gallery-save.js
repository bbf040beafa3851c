"use strict";
// Out of the browser: as a download, or straight into OUT where `mnbatch review serve` shows the page.
//
// Under the server a decision is true when OUT has it. What could not be saved is kept in the browser, stops the queue,
// and is sent when the server is back.
mnbatch.save = (() => {
  const served = location.protocol === "http:";
  const MOST_WAITING = 25, TIMEOUT = 15000, AGAIN = 2000;
  const listeners = [];
  let fault = "", loaded = !served, timer = null;

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
    for (const [cell, value] of mnbatch.state.all()) if (!value.kept && !value.sent) rows.push([cell, value]);
    return rows;
  }

  async function ask(path, content) {
    const stop = new AbortController(), clock = setTimeout(() => stop.abort(), content && path === "_report" ? 600000 : TIMEOUT);
    const how = { signal: stop.signal };
    if (content) Object.assign(how, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
    try {
      const answer = await fetch(`${root()}/${path}`, how);
      const found = await answer.json().catch((error) => { if (answer.ok) throw error; return {}; });
      if (!answer.ok) throw Object.assign(new Error(found.error || `the server answered ${answer.status}.`), { refused: answer.status === 400 || answer.status === 409 });
      return found;
    } catch (error) {
      if (error.refused !== undefined) throw error;
      throw new Error("the server of this page does not answer.");
    } finally { clearTimeout(clock); }
  }

  const root = () => location.pathname.split("/").slice(0, 2).join("/");
  const tell = () => { for (const heard of listeners) heard(); };

  function failed(error) {
    const waiting = fresh().length;
    mnbatch.bench.text("saved", "");
    const what = waiting ? `${waiting} decision${waiting > 1 ? "s are" : " is"} not saved` : "What is decided in OUT cannot be read";
    const next = error.refused ? "Reload the page; save review.csv first, if the decisions are still wanted."
      : "Start `mnbatch review serve` again: this page goes on by itself" + (waiting ? " and sends them." : ".");
    fault = `${what}: ${error.message} ${waiting ? "Nothing is lost: this browser keeps them. " : ""}Deciding is stopped. ${next}`;
    clearTimeout(timer);
    timer = setTimeout(() => (loaded ? push() : pull()), AGAIN);
    tell();
  }

  function well() {
    fault = "";
    tell();
  }

  // One after the other: a call made while decisions are being sent waits until these and later ones are saved.
  let last = Promise.resolve(true), waiting = false;

  function push() {
    if (!served || !mnbatch.state.reviewer || !loaded) return Promise.resolve(!served || loaded);
    if (waiting) return last;
    waiting = true;
    last = last.then(async () => {
      waiting = false;
      try {
        for (let rows = fresh().slice(0, 500); rows.length; rows = fresh().slice(0, 500)) {
          await ask("_review", { decisions: rows.map((pair) => mnbatch.state.row(...pair)) });
          mnbatch.state.sent(rows);
          mnbatch.bench.text("saved", "Saved in OUT.");
        }
      } catch (error) { failed(error); return false; }
      if (fault) well();
      return true;
    });
    return last;
  }

  // What OUT holds now becomes what the page shows; decisions that it lacks stay, and are sent.
  function pull() {
    if (!served) return Promise.resolve(true);
    last = last.then(async () => {
      try {
        for (const slide of mnbatch.page.slides) {
          if (!slide.cells) continue;
          const found = await ask(`_decisions/${encodeURIComponent(slide.id)}`);
          slide.stale = found.key !== slide.key;
          if (slide.stale) continue;
          slide.altered = found.altered.length > 0;
          slide.saved = found.saved;
        }
      } catch (error) { failed(error); return false; }
      loaded = true;
      fault = "";
      mnbatch.state.load(mnbatch.state.reviewer || mnbatch.state.prefs.get("mnbatch|reviewer") || "");
      tell();
      return true;
    });
    return last.then((well) => (well ? push() : false));
  }

  // Why nothing can be decided now; "" where it can.
  function blocked(cell) {
    if (!served) return "";
    if (fault) return fault;
    if (!loaded) return "What is decided is being read from OUT.";
    if (cell && cell.slide.stale) return "This page is of an earlier result of the slide. Make the report (Finish) and reload the page.";
    if (cell && cell.slide.altered) return "The trail of this slide was changed by hand: restore it from a copy (docs/review.md).";
    return fresh().length >= MOST_WAITING ? `${fresh().length} decisions are on their way to OUT: a moment, please.` : "";
  }

  async function finish() {
    // A report without the last decisions would look complete.
    if (!(await push())) return;
    mnbatch.bench.text("saved", "Making the report …");
    try {
      const made = await ask("_report", {});
      mnbatch.bench.text("saved", made.message);
      const next = document.getElementById("next");
      next.hidden = false;
      next.lastElementChild.focus();
    } catch (error) { mnbatch.bench.text("saved", error.message); }
  }

  if (served) document.addEventListener("visibilitychange", () => { if (!document.hidden && loaded) pull(); });

  return { served, download, push, pull, finish, fresh, blocked, onChange: (heard) => listeners.push(heard), get fault() { return fault; } };
})();
