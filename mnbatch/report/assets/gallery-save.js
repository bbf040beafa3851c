"use strict";
// Out of the browser: as a download, or straight into OUT where `mnbatch review serve` shows the page.
//
// Under the server a decision is true when OUT has it. It is sent under the name of the person who took it, whoever is
// named now. What could not be saved is kept in the browser, stops the queue, and is sent when the server is back.
mnbatch.save = (() => {
  const served = location.protocol === "http:";
  const MOST_WAITING = 25, TIMEOUT = 15000, AGAIN = 2000, SLOW = 1000, LONGEST = 60000, KEPT_ALIVE = 50000;
  const { outbox } = mnbatch;
  const listeners = [];
  // away: why nothing can be saved. refused: what the server says to rows of one person and slide, by their group.
  let away = "", refused = new Map(), loaded = !served, timer = null, pause = AGAIN;

  function offer(name, kind, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function download(kind) {
    offer(`review.${kind}`, kind, kind === "csv" ? mnbatch.state.csv() : mnbatch.state.json());
    mnbatch.state.filed();
  }

  const fresh = () => outbox.all();
  const stuck = () => (refused.size ? fresh().filter((row) => refused.has(outbox.group(row))) : []);

  async function ask(path, content) {
    const stop = new AbortController(), clock = setTimeout(() => stop.abort(), content && path === "_report" ? 600000 : TIMEOUT);
    const how = { signal: stop.signal };
    if (content) Object.assign(how, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
    // What is on its way when the page is closed arrives all the same.
    if (path === "_review" && how.body.length < KEPT_ALIVE) how.keepalive = true;
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
  const kept = (rows) => `Nothing is lost: this browser keeps ${rows.length === 1 ? "it" : "them"}`;
  const are = (rows) => `${outbox.named(rows)} ${rows.length === 1 ? "is" : "are"} not saved`;

  // What stands over the picture until all is in OUT: whose decisions, how many, why, and what to do.
  function fault() {
    const held = stuck(), rows = fresh();
    if (away) {
      return `${rows.length ? are(rows) : "What is decided in OUT cannot be read"}: ${away} ${rows.length ? `${kept(rows)}. ` : ""}`
        + `Deciding is stopped. Start \`mnbatch review serve\` again: this page goes on by itself${rows.length ? ` and sends ${rows.length === 1 ? "it" : "them"}.` : "."}`;
    }
    if (!held.length) return "";
    const why = [...new Set(refused.values())].join(" ");
    return `${are(held)}: ${why} ${kept(held)}, and tries again.${own(held) ? " Deciding is stopped: reload the page." : ""} `
      + "What is of an earlier result can be saved as a file and then removed here.";
  }
  // Whether this person's next decision would be refused like these.
  const own = (held) => held.some((row) => row.reviewer === mnbatch.state.reviewer && mnbatch.byId.has(row.cell_id)
    && mnbatch.byId.get(row.cell_id).slide.key === row.result_key);

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => (loaded ? push() : pull()), pause);
    pause = away ? AGAIN : Math.min(LONGEST, 2 * pause);
  }

  function failed(error) {
    mnbatch.bench.text("saved", "");
    away = error.message;
    later();
    tell();
  }

  // One after the other, also of several tabs: a call made while decisions are being sent waits until these and later
  // ones are saved.
  let last = Promise.resolve(true), waiting = false;
  const alone = (work) => (navigator.locks ? navigator.locks.request("mnbatch-send", work) : work());

  function push() {
    if (!served || !loaded) return Promise.resolve(!served);
    if (waiting) return last;
    waiting = true;
    last = last.then(() => alone(() => { waiting = false; return drain(); }));
    return last;
  }

  async function drain() {
    const before = fault(), said = new Map();
    outbox.refresh();
    const slow = setTimeout(() => mnbatch.bench.text("saved", `${outbox.named(fresh())} on the way to OUT …`), SLOW);
    try {
      for (let rows = outbox.next(said); rows.length; rows = outbox.next(said)) {
        try {
          await ask("_review", { decisions: rows.map(({ place, ...row }) => row) });
          mnbatch.state.sent(rows);
          mnbatch.bench.text("saved", "Saved in OUT.");
        } catch (error) {
          if (!error.refused) throw error;
          said.set(outbox.group(rows[0]), error.message);
        }
      }
    } catch (error) { failed(error); return false; } finally { clearTimeout(slow); }
    away = "";
    // What was removed meanwhile is no longer refused.
    const left = new Set(fresh().map(outbox.group));
    refused = new Map([...said].filter((pair) => left.has(pair[0])));
    if (refused.size) later(); else pause = AGAIN;
    if (before || refused.size) tell();
    return !refused.size;
  }

  // What OUT holds now becomes what the page shows; decisions that it lacks stay, and are sent. Done when OUT is read: a
  // page that opened its first cell after the sending would change the cell under a person who decides already.
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
      away = "";
      const older = mnbatch.state.adopt();
      if (older) mnbatch.bench.text("saved", `${older} unsaved decision${older > 1 ? "s were" : " was"} left out: the same person decided later in another browser.`);
      mnbatch.state.load(mnbatch.state.reviewer);
      tell();
      push();
      return true;
    });
    return last;
  }

  // Why nothing can be decided now; "" where it can.
  function blocked(cell) {
    if (!served) return "";
    if (away || (refused.size && own(stuck()))) return fault();
    if (!loaded) return "What is decided is being read from OUT.";
    if (cell && cell.slide.stale) return "This page is of an earlier result of the slide. Make the report (Finish) and reload the page.";
    if (cell && cell.slide.altered) return "The trail of this slide was changed by hand: restore it from a copy (docs/review.md).";
    const coming = outbox.size < MOST_WAITING ? 0 : outbox.size - stuck().length;
    return coming >= MOST_WAITING ? `${coming} decisions are on their way to OUT: a moment, please.` : "";
  }

  // What the server refuses for good leaves the browser as a file, and when a person says so.
  function rescue() {
    const rows = stuck().map(({ place, ...row }) => row);
    offer("review-unsaved.json", "json", JSON.stringify({ format: "mnbatch-review", version: 1, decisions: rows.filter((row) => row.decision !== "withdrawn") }, null, 1) + "\n");
  }
  function discard() {
    const rows = stuck();
    if (!rows.length || !confirm(`Remove ${outbox.named(rows)} from this browser? OUT does not have them.`)) return;
    mnbatch.state.sent(rows, false);
    refused = new Map();
    tell();
    pull();
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
  // Another tab may be closed before it could send: then this one does.
  outbox.onChange(() => { tell(); if (outbox.size && !away) setTimeout(push, AGAIN); });

  return {
    served, download, push, pull, finish, fresh, blocked, rescue, discard, onChange: (heard) => listeners.push(heard),
    get fault() { return fault(); }, get refused() { return refused.size > 0; },
  };
})();
