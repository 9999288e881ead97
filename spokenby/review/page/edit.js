// Correct in the text: type over a word, give words to a speaker, split and join paragraphs.

import { byId, data, make, paragraphs, say, speakers, words } from "./data.js";
import { changes, change } from "./changes.js";
import { dress } from "./lanes.js";
import { isPlaying, toggle } from "./player.js";
import { selected } from "./quote.js";
import { step } from "./save.js";
import { currentWord, doubts, goTo, reveal, stepDoubt, wordBehind } from "./text.js";

let typed = null;  // the word that is typed over, and its field
let chosen = [];
let settling = 0;
let unnamed = [];  // what is said by the person who is being named

/** Let a person type over a word. */
export function typeOver(word) {
  finish();
  if (isPlaying()) toggle();
  reveal(word);
  const input = make("input", { class: "typing", "aria-label": `Correct ${word.text}`, dir: "auto", maxlength: 2000, autocomplete: "off" });
  input.value = word.text;
  const fit = () => { input.size = Math.max(2, [...input.value].length); };
  fit();
  input.addEventListener("input", fit);
  input.addEventListener("blur", () => { if (typed?.input === input) finish(); });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;  // Enter takes what an input method suggests
    const along = { Enter: 1, Tab: 1, Escape: 0 }[event.key];
    if (along === undefined) return;
    event.preventDefault();
    if (event.key === "Escape") input.value = word.text;
    finish(event.shiftKey ? -along : along);
  });
  typed = { word, input };
  word.element.replaceChildren(input);
  input.focus();
  input.select();
}

/** Take what was typed, and go on to the next word (1), the one before (-1), or to none (0). */
function finish(along = 0) {
  if (!typed) return;
  const { word, input } = typed;
  typed = null;
  const text = input.value.trim().replace(/\s+/g, " ");
  word.element.textContent = word.text;
  const { place } = word;
  const many = words.length;
  if (text !== word.text) change([{ run: [word], new: text }]);
  const next = words[along > 0 ? place + 1 + words.length - many : place - 1];
  if (along && next) typeOver(next);
}

const MOST_WORDS = 500;  // of one correction: its text is limited where it is saved

/** Return words in rows: without those between that are hidden, and none too long. */
function rowsOf(some) {
  const rows = [];
  for (const word of some) {
    const row = rows.at(-1);
    if (row?.at(-1).place === word.place - 1 && row.length < MOST_WORDS) row.push(word);
    else rows.push([word]);
  }
  return rows;
}

function give(who, some = chosen) {
  const rows = rowsOf(some).filter((row) => row.some((word) => speakers[word.speaker]?.name !== who.name));
  getSelection().empty();
  change(rows.map((run) => ({ run, speaker: who })));
}

/** Say that words are right as they are. */
export function check(some) {
  change(rowsOf(some).map((run) => ({ run, checked: true })));
}

/** Return the words of a doubtful stretch, from its first. */
export function stretchOf(first) {
  let end = first.place;
  while (words[end]?.doubt === first.doubt) end++;
  return words.slice(first.place, end);
}

const before = (word) => words[word.paragraph.words[0].place - 1];
const canJoin = (word) => before(word) && before(word).speaker === word.speaker;

const wishes = {
  type: () => typeOver(chosen[0]),
  split: () => change([{ run: [chosen[0]], paragraph: "split" }]),
  join: () => change([{ run: [chosen[0].paragraph.words[0]], paragraph: "join" }]),
  check: () => check(chosen),
  person: () => { unnamed = chosen; byId("person-name").value = ""; byId("person").showModal(); },
};

/** Take what is selected now: the bar may lag behind. */
function choose() {
  const some = selected();
  if (some.length) chosen = some;
}

function showChosen() {
  const bar = byId("chosen");
  if (typed || byId("person").open || bar.contains(document.activeElement)) return;
  chosen = selected();
  bar.hidden = !chosen.length;
  if (!chosen.length) return;
  bar.querySelector('[data-wish="split"]').disabled = chosen[0] === chosen[0].paragraph.words[0];
  bar.querySelector('[data-wish="join"]').disabled = !canJoin(chosen[0]);
}

function listGivers() {
  byId("givers").replaceChildren(...data.edit.who.map((who, place) => {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    dress(swatch, place);
    const button = make("button", { type: "button", class: "plain", "data-speaker": place }, swatch, make("bdi", {}, who.name));
    button.title = place < 9 ? `Said by ${who.name} (${place + 1})` : `Said by ${who.name}`;
    return button;
  }));
}

/** Show at the side a person whom the transcript did not have. */
function addPerson() {
  listGivers();
  const place = speakers.length - 1;
  const { name } = speakers[place];
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  dress(swatch, place);
  const only = make("button", { type: "button", class: "plain", "data-do": "only", "aria-pressed": "false", "aria-label": `Show only ${name}` }, "Only");
  document.querySelector(".people").append(make("li", { class: "person", "data-speaker": place },
    make("h3", {}, swatch, make("bdi", {}, name)), make("div", { class: "row" }, only)));
}

function stepWord(along, extend) {
  const selection = getSelection();
  const begun = extend && !selection.isCollapsed;
  const from = begun ? wordBehind(selection.focusNode.parentElement) : currentWord();
  const next = extend && !begun && from ? from : words[(from?.place ?? -1) + along];
  if (!next) return;
  if (!extend) {
    selection.empty();
    goTo(next, { play: false });
    return;
  }
  const anchor = (begun && wordBehind(selection.anchorNode.parentElement)) || next;
  const back = next.place < anchor.place;
  const [first, last] = [anchor.element.firstChild, next.element.firstChild];
  selection.setBaseAndExtent(first, back ? first.length : 0, last, back ? 0 : last.length);
  reveal(next);
}

function checkDoubt() {
  const here = currentWord();
  const first = chosen.length ? null : doubts.findLast((word) => here && word.place <= here.place);
  const some = chosen.length ? chosen : first ? stretchOf(first) : [];
  if (!some.length || (first && !some.includes(here))) return say("Go to a doubtful place first (n)");
  getSelection().empty();
  check(some);
  const next = stepDoubt(1);
  return say(next ? `Checked. Next: ${next.text}` : "Checked: nothing is doubtful any more");
}

const editKeys = {
  Enter: () => { const word = chosen[0] ?? currentWord(); if (word) typeOver(word); },
  ".": () => stepWord(1, false),
  ",": () => stepWord(-1, false),
  ">": () => stepWord(1, true),
  "<": () => stepWord(-1, true),
  k: checkDoubt,
};

function onKey(event) {
  if (document.querySelector("dialog[open]") || event.target.closest("input, select, textarea")) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey && ["z", "y"].includes(event.key.toLowerCase())) {
    event.preventDefault();
    step(event.key.toLowerCase() === "z" && !event.shiftKey);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.closest("button, a, summary")) return;
  if (!getSelection().isCollapsed) choose();
  const who = chosen.length && data.edit.who[Number(event.key) - 1];
  const action = who ? () => give(who) : editKeys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

export function startEditing() {
  const text = byId("text"), bar = byId("chosen");
  listGivers();
  changes.addEventListener("person", addPerson);
  changes.addEventListener("change", () => {
    chosen = [];  // words that may be gone
    bar.hidden = true;
  });
  text.addEventListener("dblclick", (event) => {
    if (!event.target.matches("p > span")) return;
    getSelection().empty();
    typeOver(wordBehind(event.target));
  });
  document.addEventListener("selectionchange", () => {
    clearTimeout(settling);
    settling = setTimeout(showChosen, 120);
  });
  bar.addEventListener("pointerdown", (event) => event.preventDefault());  // or the selection goes
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    choose();
    if (!button || !chosen.length) return;
    if (button.dataset.speaker) give(data.edit.who[button.dataset.speaker]);
    else {
      wishes[button.dataset.wish]();
      if (button.dataset.wish !== "person") getSelection().empty();
    }
    button.blur();
    bar.hidden = true;
  });
  byId("person").addEventListener("close", () => {
    const name = byId("person-name").value.trim().replace(/\s+/g, " ");
    if (byId("person").returnValue === "give" && name) give(data.edit.who.find((who) => who.name === name) ?? { name }, unnamed);
    byId("person").returnValue = "";
  });
  addEventListener("keydown", onKey);
}
