// What the pages share: ask the server to change something, say what came of it.

export const byId = (id) => document.getElementById(id);

let fading = 0;
/** Show a line for a while, and have it read aloud. */
export function say(line) {
  const said = byId("said");
  said.textContent = line;
  said.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => said.classList.remove("shown"), 6000);
}

/** Return the server's answer, with `ok`: whether it did what it was asked for. */
export async function send(address, body, method = "POST") {
  try {
    const answer = await fetch(address, { method, headers: { "X-Spokenby-Token": document.body.dataset.token }, body });
    return { ok: answer.ok, ...(await answer.json()) };
  } catch {
    return { ok: false, error: "The server does not answer: is spokenby view still running?" };
  }
}

/** Take over a part of this page as the server shows it now; return whether that was possible. */
export async function refresh(id) {
  try {
    const answer = await fetch(location.href);
    if (!answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
    if (!fresh) return false;
    byId(id).replaceWith(document.adoptNode(fresh));
    return true;
  } catch {
    return false;
  }
}
