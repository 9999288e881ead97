// Keep corrections: saved where the page is served, else in this browser, and for download.

import { byId, clock, data, make, say } from "./data.js";
import { canRedo, canUndo, changes, entries, forget, redo, restore, spell, undo } from "./changes.js";
import { copy } from "./quote.js";

const WAIT_MS = 800;  // after the last change, before it is saved
const session = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
let times = 0;  // this page has written so many files
let unsaved = false;
let sending = false;
let waiting = 0;

const shelf = {  // a browser may forbid it, above all for files
  read(key) {
    try { return localStorage.getItem(`spokenby:${key}`); } catch { return null; }
  },
  write(key, text) {
    try {
      if (text === null) localStorage.removeItem(`spokenby:${key}`);
      else localStorage.setItem(`spokenby:${key}`, text);
    } catch { /* not kept: the page warns before it is left */ }
  },
};
const kept = () => `corrections:${data.edit.video}`;

/** Return the content of corrections.json. */
function fileOf() {
  return JSON.stringify({
    schema_version: 1,
    video: data.edit.video,
    name: data.name.slice(0, 1000),
    revision: `${session}-${++times}`,
    builds_on: data.edit.revision,
    corrections: entries.map((entry) => entry.correction),
  }, null, 1);
}

function keep(downloaded) {
  const corrections = entries.map((entry) => entry.correction);
  shelf.write(kept(), JSON.stringify({ revision: data.edit.revision, downloaded, corrections }));
}

function showSaved(line, failed = false) {
  for (const shown of document.querySelectorAll(".saved")) {
    shown.textContent = line;
    shown.title = line;
    shown.classList.toggle("failed", failed);
  }
  byId("save-again").hidden = !failed;
  if (failed) say(line);
}

/** Show how much was corrected, and what does not fit. */
function showEntries() {
  const lost = entries.filter((entry) => entry.unfit);
  const many = entries.length - lost.length;
  byId("corrected").textContent = many ? `${many} correction${many === 1 ? "" : "s"}` : "Nothing is corrected";
  byId("undo").disabled = !canUndo();
  byId("redo").disabled = !canRedo();
  byId("unfit").hidden = !lost.length;
  byId("unfit-count").textContent = `${lost.length} ${lost.length === 1 ? "does" : "do"} not fit`;
  byId("unfit-list").replaceChildren(...lost.map((entry) => {
    const button = make("button", { type: "button", class: "plain", "aria-label": `Discard ${spell(entry)}` }, "Discard");
    button.addEventListener("click", () => forget(entry));
    return make("li", {}, make("bdi", {}, `${clock(entry.correction.start)} ${spell(entry)}`), make("span", { class: "muted" }, entry.unfit), button);
  }));
}

async function send() {
  clearTimeout(waiting);
  if (sending) return;  // it is sent once more then
  sending = true;
  unsaved = false;
  showSaved("Saving…");
  try {
    const answer = await fetch(data.save.url, {
      method: "PUT",
      headers: { "Content-Type": "application/json", "X-Spokenby-Token": data.save.token },
      body: fileOf(),
    });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.error ?? `the server answers ${answer.status}`);
    if (!unsaved) shelf.write(kept(), null);
    const lost = told.unfit?.length ? `; ${told.unfit.length} not applied: ${told.unfit.map(String).join("; ")}` : "";
    showSaved(`Saved ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}${lost}`);
  } catch (error) {
    unsaved = true;
    const line = error instanceof TypeError ? "the server cannot be reached" : error.message;
    showSaved(`Not saved: ${line}`, true);
    sending = false;
    return;
  }
  sending = false;
  if (unsaved) send();
}

function download() {
  const address = URL.createObjectURL(new Blob([fileOf()], { type: "application/json" }));
  make("a", { href: address, download: "corrections.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  unsaved = false;
  keep(true);
  showSaved("Downloaded");
  byId("apply").hidden = false;
}

function changed() {
  showEntries();
  unsaved = true;
  keep(false);
  if (!data.save) {
    showSaved("Not downloaded yet");
    byId("download").classList.add("due");
    return;
  }
  showSaved("Saving…");
  clearTimeout(waiting);
  waiting = setTimeout(send, WAIT_MS);
}

/** Take over what was corrected on this page before, and neither saved nor applied since. */
function takeOver() {
  let found;
  try { found = JSON.parse(shelf.read(kept()) ?? "null"); } catch { found = null; }
  if (!found || !Array.isArray(found.corrections)) return;
  const before = entries.length;
  // What was undone counts only while the transcript is the same.
  const list = found.revision === data.edit.revision ? found.corrections : [...entries.map((entry) => entry.correction), ...found.corrections];
  const many = restore(list);
  if (!many && entries.length === before) shelf.write(kept(), null);
  else if (found.downloaded) { unsaved = false; keep(true); }
  if (many) say(`${many} unsaved correction${many === 1 ? " is" : "s are"} here again`);
}

/** Undo or redo, and say what. */
export function step(back) {
  const group = back ? undo() : redo();
  const more = group?.length > 1 ? ` and ${group.length - 1} more` : "";
  say(group ? `${back ? "Undone" : "Done again"}: ${spell(group[0])}${more}` : `Nothing to ${back ? "undo" : "do again"}`);
}

export function startSaving() {
  byId("author").value = shelf.read("author") ?? "";
  byId("author").addEventListener("change", () => shelf.write("author", byId("author").value.trim() || null));
  byId("undo").addEventListener("click", () => step(true));
  byId("redo").addEventListener("click", () => step(false));
  byId("save-again").addEventListener("click", send);
  byId("download").hidden = Boolean(data.save);
  byId("download").addEventListener("click", download);
  byId("copy-apply").addEventListener("click", () => copy("spokenby correct corrections.json", "Copied: run it in the folder of the download"));
  showEntries();
  changes.addEventListener("change", changed);
  takeOver();
  addEventListener("beforeunload", (event) => {
    if (unsaved || sending) event.preventDefault();
  });
}
