// In the place of a page whose visitor has shown no key yet, or one that may not see it.

import { byId } from "./dom.js";
import { sentence } from "./document_words.js";

const FOLLOWED = "platoon-followed"; // a link of another site was, without its cookie

byId("why").textContent = sentence(byId("why").textContent);

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ key: byId("key").value });
  byId("key").value = "";
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("/api/session", { method: "POST", headers, body });
    if (response.ok) open();
    else byId("why").textContent = sentence((await response.json()).error.message);
  } catch {
    byId("why").textContent = "Platoon cannot be reached.";
  }
});

function open() {
  sessionStorage.removeItem(FOLLOWED);
  location.reload();
}

// Browsers keep the cookie to themselves when a link of another site is followed; from here on it goes along.
if (document.body.dataset.status === "401" && !sessionStorage.getItem(FOLLOWED)) {
  const known = await fetch("/api/session").then(({ ok }) => ok, () => false);
  if (known) {
    sessionStorage.setItem(FOLLOWED, "once"); // should it not go along after all, this ends
    location.replace(location.pathname + location.search);
  }
}
