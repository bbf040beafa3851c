"use strict";
// What was decided under the server and is not in OUT yet: whole rows, each under the name of the person who decided.
//
// It belongs to the browser, not to a page, a tab or the present name: every gallery of this server tells of it and sends it.
mnbatch.outbox = (() => {
  const START = "mnbatch-unsent|";
  const rows = new Map();
  const listeners = [];
  let lasting = true;
  const tell = () => { for (const heard of listeners) heard(); };
  const keyOf = (row) => START + JSON.stringify([row.reviewer, row.slide_id, row.result_key, row.cell_id]);
  const parsed = (text) => { try { const row = JSON.parse(text); return row && row.cell_id && row.reviewer ? row : null; } catch { return null; } };

  // place: where the decision itself is kept in the browser, so that it can be marked as sent.
  function put(row, place) {
    const key = keyOf(row), kept = { ...row, place };
    rows.set(key, kept);
    try { localStorage.setItem(key, JSON.stringify(kept)); } catch { lasting = false; }
    return lasting;
  }

  // Only what was sent: a later decision on the same cell stays.
  function drop(row) {
    const key = keyOf(row), now = rows.get(key);
    if (now && now.time !== row.time) return;
    rows.delete(key);
    try { localStorage.removeItem(key); } catch { /* it was never kept, then */ }
  }

  // What another tab sent or replaced a moment ago.
  function refresh() {
    if (!lasting) return;
    for (const key of [...rows.keys()]) {
      const row = parsed(localStorage.getItem(key));
      if (row) rows.set(key, row); else rows.delete(key);
    }
  }

  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith(START)) { const row = parsed(localStorage.getItem(key)); if (row) rows.set(key, row); }
  } catch { lasting = false; }
  addEventListener("storage", (event) => {
    if (!event.key || !event.key.startsWith(START)) return;
    const row = parsed(event.newValue);
    if (row) rows.set(event.key, row); else rows.delete(event.key);
    tell();
  });

  const group = (row) => JSON.stringify([row.reviewer, row.slide_id, row.result_key]);
  // The next rows to be sent: of one person and one slide, so that what the server refuses holds nothing else back.
  function next(refused) {
    let chosen = null;
    const found = [];
    for (const row of rows.values()) {
      const of = group(row);
      if (refused.has(of) || (chosen !== null && of !== chosen)) continue;
      chosen = of;
      found.push(row);
      if (found.length === 500) break;
    }
    return found;
  }

  // "3 decisions of Ada", "4 decisions (3 of Ada, 1 of Bo)"
  function named(some) {
    const of = new Map();
    for (const row of some) of.set(row.reviewer, (of.get(row.reviewer) || 0) + 1);
    const what = some.length === 1 ? "1 decision" : `${some.length} decisions`;
    return of.size === 1 ? `${what} of ${[...of.keys()][0]}` : `${what} (${[...of].map(([who, n]) => `${n} of ${who}`).join(", ")})`;
  }

  return {
    put, drop, refresh, next, group, named, all: () => [...rows.values()], onChange: (heard) => listeners.push(heard),
    has: (row) => { const known = rows.get(keyOf(row)); return Boolean(known) && known.time === row.time; },
    get size() { return rows.size; },
  };
})();
