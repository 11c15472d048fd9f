// Whose key this browser has shown, and how that ends.

import { byId, h } from "./dom.js";

/** Show the page that asks for a key, if none is known any more: it comes in the place of this one. */
export function askAgainIf(status) {
  if (status === 401) location.reload();
}

/** Ask for a key again if the session has ended: a WebSocket does not say why it was refused. */
export async function checkSession() {
  const response = await fetch("/api/session").catch(() => null);
  if (response) askAgainIf(response.status);
}

/** Offer to end the session, where there is one. */
export async function showSession() {
  const response = await fetch("/api/session").catch(() => null);
  if (!response?.ok) return;
  const { key } = await response.json();
  if (!key) return;
  const end = h("button", { type: "button", className: "quiet", id: "log-out", title: `The key is ${key}` }, "Log out");
  end.onclick = async () => {
    await fetch("/api/session", { method: "DELETE" }).catch(() => null);
    location.reload();
  };
  byId("session").append(end);
}
