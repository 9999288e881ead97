// Keys, as the dialog lists them.

import { byId, say } from "./data.js";
import { changeSpeed, now, seek, toggle } from "./player.js";
import { copyQuote } from "./quote.js";
import { follow, stepDoubt, stepParagraph } from "./text.js";

function doubt(step) {
  const word = stepDoubt(step);
  say(word ? `${word.text}: ${word.doubt}` : "Nothing is doubtful");
}

const keys = {
  " ": toggle,
  ArrowLeft: () => seek(now() - 5),
  ArrowRight: () => seek(now() + 5),
  "Shift ArrowLeft": () => stepParagraph(-1),
  "Shift ArrowRight": () => stepParagraph(1),
  "-": () => changeSpeed(-1),
  "+": () => changeSpeed(1),
  "=": () => changeSpeed(1),
  n: () => doubt(1),
  p: () => doubt(-1),
  c: () => copyQuote(),
  f: () => follow(true),
  "/": () => byId("query").focus(),
  "?": () => byId("keys").showModal(),
};

export function startKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (event.key === " " && event.target.closest("button, a, summary")) return;
    const shifted = event.shiftKey && event.key.startsWith("Arrow") ? `Shift ${event.key}` : event.key;
    const action = keys[shifted];
    if (!action) return;
    event.preventDefault();
    action();
  });
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("doubt").addEventListener("click", () => doubt(1));
}
