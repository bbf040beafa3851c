"use strict";
// Which key does what: a person may change it, and it fits keyboards without brackets, Latin letters or a row of digits.
mnbatch.keys = (() => {
  const ACTIONS = {
    mn: ["m", "MN"], not_mn: ["n", "not MN"], unsure: ["u", "unsure"], not_scorable: ["x", "not a scorable cell"],
    undo: ["z", "undo"], bridge: ["q", "nucleoplasmic bridge"], bud: ["w", "nuclear bud"], apoptotic: ["a", "not scorable: apoptotic"],
    necrotic: ["s", "not scorable: necrotic"], multinucleated: ["e", "not scorable: multinucleated"], comment: ["c", "comment"],
    heat: ["h", "map on, off"], kind: ["k", "next map"], blendDown: [",", "map weaker"], blendUp: [".", "map stronger"],
    zoomIn: ["+", "larger"], zoomOut: ["-", "smaller"], pixels: ["p", "pixels sharp or smooth"],
    darker: ["d", "darker"], brighter: ["l", "brighter"], contrastDown: ["j", "less contrast"], contrastUp: ["o", "more contrast"],
    invert: ["i", "invert"], channel: ["t", "next colour channel"], blind: ["b", "blind"], review: ["r", "review"],
    look: ["g", "gallery"], differ: ["v", "cells on which reviewers differ"], full: ["f", "full screen"], criteria: ["?", "scoring criteria"],
    context: ["y", "the field round the cell"],
  };
  const PRESETS = {
    "m / n": {}, "f = MN, j = not MN": { mn: "f", not_mn: "j", full: "y", contrastDown: "m", context: "n" },
    "a = MN, l = not MN": { mn: "a", not_mn: "l", apoptotic: "n", brighter: "m" },
  };
  const ALSO = { Backspace: "undo", "[": "blendDown", "]": "blendUp", "=": "zoomIn", _: "zoomOut" };
  let chosen = {};
  try { chosen = JSON.parse(mnbatch.state.prefs.get("mnbatch|keys")) || {}; } catch { /* the default keys, then */ }

  const key = (action) => chosen[action] || ACTIONS[action][0];
  function byKey() {
    const found = new Map(Object.entries(ALSO));
    for (const action of Object.keys(ACTIONS)) if (!chosen[action] && !found.has(key(action))) found.set(key(action), action);
    for (const action of Object.keys(chosen)) if (ACTIONS[action]) found.set(key(action), action);
    return found;
  }
  let table = byKey();

  // The action or the digit of a key; by its place on the keyboard where its letter means nothing here.
  function of(event) {
    const plain = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const known = table.get(event.key) || table.get(plain);
    if (known) return known;
    if (/^[0-9]$/.test(plain)) return plain;
    const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code || "");
    if (digit && !event.shiftKey) return digit[1];
    const letter = /^Key([A-Z])$/.exec(event.code || "");
    return letter && plain.length === 1 && plain > "\u007f" ? table.get(letter[1].toLowerCase()) : undefined;
  }

  function keep(change) {
    chosen = change;
    mnbatch.state.prefs.put("mnbatch|keys", JSON.stringify(chosen));
    table = byKey();
    label();
  }

  // Two actions on one key would be a slip in waiting: the other gets the key that this one had.
  function set(action, wanted) {
    const next = { ...chosen }, other = table.get(wanted);
    if (other && other !== action) next[other] = key(action);
    next[action] = wanted;
    keep(next);
  }

  function label() {
    for (const part of document.querySelectorAll("kbd[data-action]")) part.textContent = key(part.dataset.action);
    for (const part of document.querySelectorAll("[data-key]")) part.setAttribute("aria-keyshortcuts", key(part.dataset.key));
  }

  function table_of(box) {
    box.replaceChildren(...Object.entries(ACTIONS).map(([action, [, words]]) => {
      const row = document.createElement("label"), field = document.createElement("input");
      field.type = "text";
      field.readOnly = true;
      field.value = key(action);
      field.dataset.set = action;
      field.addEventListener("keydown", (event) => {
        if (["Tab", "Escape", "Shift", "Control", "Alt", "Meta", "Enter"].includes(event.key) || /^[0-9]$/.test(event.key)) return;
        event.preventDefault();
        event.stopPropagation();
        set(action, event.key.length === 1 ? event.key.toLowerCase() : event.key);
        table_of(box);
        box.querySelector(`[data-set=${action}]`).focus();
      });
      row.append(words, field);
      return row;
    }));
  }

  return { of, key, set, preset: (name) => keep({ ...PRESETS[name] }), PRESETS: Object.keys(PRESETS), table: table_of, label };
})();
