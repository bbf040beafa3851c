"use strict";
// Signs the donor's result where `mnbatch review serve` shows the page; from disk the form stays hidden.
(() => {
  const form = document.getElementById("sign");
  if (!form || location.protocol !== "http:") return;
  form.hidden = false;
  const part = (name) => document.getElementById(`sign-${name}`);
  const root = location.pathname.split("/").slice(0, 2).join("/");
  // The reviewer of the gallery is usually the person who signs.
  try { part("name").value = sessionStorage.getItem("mnbatch|reviewer") || localStorage.getItem("mnbatch|reviewer") || ""; } catch { /* it is typed, then */ }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    part("said").textContent = "Signing …";
    const content = {
      donor: form.dataset.donor, digest: form.dataset.digest, name: part("name").value, role: part("role").value,
      reason: part("reason") ? part("reason").value : "",
    };
    try {
      const answer = await fetch(`${root}/_sign`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
      });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(said.error || `the server answered ${answer.status}`);
      location.hash = "signoff";
      location.reload();
    } catch (error) {
      part("said").textContent = `Not signed: ${error.message}`;
      button.disabled = false;
    }
  });
})();
