"use strict";
// A line on a donor's gallery, under `mnbatch review serve --decide`: whether the donor is decided, and who is next.
(() => {
  const [, token, , donor] = location.pathname.split("/");
  const line = document.createElement("p");
  line.id = "verdict";
  line.setAttribute("role", "status");
  (document.querySelector("main") || document.body).prepend(line);

  async function show() {
    const answer = await fetch(`/${token}/_verdict/${donor}`).catch(() => null);
    if (!answer || !answer.ok) return;
    const said = await answer.json();
    line.textContent = said.text;
    if (window.mnbatch) window.mnbatch.advice = said.next_cells;
    if (said.verdict !== "open" && said.next_donor) {
      const link = document.createElement("a");
      link.href = `../${encodeURIComponent(said.next_donor)}/gallery.html`;
      link.textContent = `Next donor: ${said.next_donor}`;
      line.append(" ", link);
    }
  }

  show();
  setInterval(show, 3000);
})();
