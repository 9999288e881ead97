// The doubtful words as a list to work through: hear, correct, or say that they are right.

import { byId, clock, make, textOf } from "./data.js";
import { changes } from "./changes.js";
import { check, stretchOf, typeOver } from "./edit.js";
import { seek } from "./player.js";
import { doubts, follow, goTo } from "./text.js";

const MOST_LISTED = 100;  // in the list at a time
const BEFORE = 1, AFTER = 1;  // seconds to hear around a place

function listDoubts() {
  const box = byId("doubtful");
  box.hidden = !doubts.length;
  byId("doubtful-count").textContent = doubts.length;
  if (!box.open) return;
  byId("doubtful-list").replaceChildren(...doubts.slice(0, MOST_LISTED).map((first, place) => {
    const text = textOf(stretchOf(first));
    const short = text.length > 60 ? `${text.slice(0, 59)}…` : text;
    const button = (wish, label, said) => make("button", { type: "button", class: "plain", "data-wish": wish, "aria-label": `${said}: ${short}` }, label);
    return make("li", { "data-place": place },
      make("p", {}, make("span", { class: "muted" }, clock(first.start)), " ", make("bdi", {}, short)),
      make("div", { class: "row" }, button("hear", "Hear", "Hear"), button("type", "Correct", "Correct"), button("right", "It is right", "It is right")));
  }));
  byId("doubtful-more").hidden = doubts.length <= MOST_LISTED;
}

const doIt = {
  hear(first) {
    goTo(first, { play: false });
    follow(true);
    seek(first.start - BEFORE, { play: true, end: stretchOf(first).at(-1).end + AFTER });
  },
  type(first) {
    goTo(first, { play: false });
    typeOver(first);
  },
  right(first, place) {
    check(stretchOf(first));
    byId("doubtful-list").children[place]?.querySelector('[data-wish="right"]')?.focus();
  },
};

export function startChecking() {
  changes.addEventListener("change", listDoubts);
  byId("doubtful").addEventListener("toggle", listDoubts);
  byId("doubtful-list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const place = Number(button.closest("li").dataset.place);
    doIt[button.dataset.wish](doubts[place], place);
  });
  listDoubts();
}
