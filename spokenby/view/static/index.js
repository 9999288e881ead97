// The list of videos: order, filter, and what changes while a run works.

import { byId, refresh } from "./common.js";

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

for (const id of ["sort", "state"]) byId(id).addEventListener("change", arrange);
byId("filter").addEventListener("input", arrange);
// A picture that cannot be had: what is behind it shows. Errors do not bubble.
addEventListener("error", (event) => { if (event.target.matches?.(".thumb img")) event.target.remove(); }, true);
for (const image of document.querySelectorAll(".thumb img")) if (image.complete && !image.naturalWidth) image.remove();
arrange();
setTimeout(follow, EVERY_MS);
