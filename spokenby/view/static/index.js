// The list of videos: order, filter, and what changes while a run works.

import { byId, refresh, say, send } from "./common.js";

const EVERY_MS = 5000;
const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** By the value of #sort: how two rows compare, by their data. */
const orders = {
  state: (a, b) => a.order - b.order,
  day: (a, b) => collator.compare(b.day, a.day),
  title: (a, b) => collator.compare(a.title, b.title),
  duration: (a, b) => b.duration - a.duration,
  people: (a, b) => !a.people - !b.people || collator.compare(a.people, b.people),
};

function arrange() {
  const list = byId("videos");
  if (!list) return;
  const rows = [...list.children].sort((a, b) => orders[byId("sort").value](a.dataset, b.dataset) || a.dataset.order - b.dataset.order);
  const letters = folded(byId("filter").value.trim());
  const state = byId("state").value;
  let shown = 0;
  for (const row of rows) {
    const { title, people, warnings } = row.dataset;
    const fits = !state || row.dataset.state === state || (state === "warnings" && warnings > 0);
    row.hidden = !fits || !folded(`${title} ${people}`).includes(letters);
    shown += !row.hidden;
  }
  list.append(...rows);
  byId("none").hidden = shown > 0;
}

async function follow() {
  const list = byId("videos");
  const moving = list ? list.dataset.moving : document.querySelector(".page").dataset.moving;
  if (moving && !document.hidden && !list?.contains(document.activeElement) && (await refresh("videos"))) {
    await refresh("counts");
    arrange();
  }
  setTimeout(follow, EVERY_MS);
}

async function apply(file) {
  say("Applying corrections…");
  const answer = await send("/corrections", file, "PUT");
  say(answer.said ?? answer.error);
  if (answer.ok && (await refresh("videos"))) arrange();
}

function listenForCorrections() {
  const drop = byId("drop");
  const isFile = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragover", (event) => { if (isFile(event)) { event.preventDefault(); drop.hidden = false; } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.hidden = true; });
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    drop.hidden = true;
    if (event.dataTransfer.files[0]) apply(event.dataTransfer.files[0]);
  });
  byId("apply").addEventListener("click", () => byId("corrections").click());
  byId("corrections").addEventListener("change", (event) => {
    if (event.target.files[0]) apply(event.target.files[0]);
    event.target.value = "";
  });
}

for (const id of ["sort", "state"]) byId(id).addEventListener("change", arrange);
byId("filter").addEventListener("input", arrange);
// A picture that cannot be had: what is behind it shows. Errors do not bubble.
addEventListener("error", (event) => { if (event.target.matches?.(".thumb img")) event.target.remove(); }, true);
for (const image of document.querySelectorAll(".thumb img")) if (image.complete && !image.naturalWidth) image.remove();
listenForCorrections();
arrange();
setTimeout(follow, EVERY_MS);
