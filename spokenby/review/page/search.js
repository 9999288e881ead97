// Search: hits in the text and on the lanes, whatever the case, accents and apostrophes.

import { byId, paragraphs } from "./data.js";
import { markOnLanes } from "./lanes.js";
import { goTo } from "./text.js";

let index = null;
let hits = [];
let at = -1;
let typing = 0;

export const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").replace(/[‘’]/g, "'").toLowerCase();

/** Each paragraph as one text, and where each word begins in it. */
function build() {
  return paragraphs.map((paragraph) => {
    const begins = [];
    let text = "";
    paragraph.words.forEach((word, place) => {
      if (place && word.spaced) text += " ";
      begins.push(text.length);
      text += folded(word.text);
    });
    return { paragraph, begins, text };
  });
}

/** Forget what was read of the text: it has changed. */
export function forgetIndex() {
  index = null;
}

function find(query) {
  const found = [];
  index ??= build();
  for (const { paragraph, begins, text } of index) {
    if (!paragraph.element || paragraph.element.hidden) continue;
    for (let from = text.indexOf(query); from >= 0; from = text.indexOf(query, from + query.length)) {
      const first = begins.findLastIndex((begin) => begin <= from);
      const last = begins.findLastIndex((begin) => begin < from + query.length);
      found.push(paragraph.words.slice(first, last + 1));
    }
  }
  return found;
}

/** Search again: the query, or what is shown, has changed. */
export function search() {
  const query = folded(byId("query").value.trim().replace(/\s+/g, " "));
  for (const hit of hits) for (const word of hit) word.element.classList.remove("hit", "this-hit");
  hits = query.length > 1 || /[^\x00-\x7f]/.test(query) ? find(query) : [];
  at = -1;
  for (const hit of hits) for (const word of hit) word.element.classList.add("hit");
  markOnLanes(hits.map((hit) => hit[0].start));
  tell(query);
}

function tell(query) {
  const place = at < 0 ? "" : `${at + 1} of `;
  byId("hits").textContent = query ? `${place}${hits.length}` : "";
  for (const id of ["previous-hit", "next-hit"]) byId(id).disabled = !hits.length;
}

export function stepHit(step) {
  if (!hits.length) return;
  for (const word of hits[at] ?? []) word.element.classList.remove("this-hit");
  at = (at < 0 && step < 0 ? hits.length : at) + step;
  at = (at + hits.length) % hits.length;
  for (const word of hits[at]) word.element.classList.add("this-hit");
  tell(byId("query").value);
  goTo(hits[at][0]);
}

export function startSearch() {
  byId("query").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 120);
  });
  byId("query").addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      stepHit(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      byId("query").value = "";
      search();
      byId("query").blur();
    }
  });
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    stepHit(1);
  });
  byId("previous-hit").addEventListener("click", () => stepHit(-1));
}
