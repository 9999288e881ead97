// The side panel: hear a speaker, show only some, and the command that names a voice.

import { byId, paragraphs, say, speakers } from "./data.js";
import { dress } from "./lanes.js";
import { seek } from "./player.js";
import { copy } from "./quote.js";
import { search } from "./search.js";
import { follow } from "./text.js";

const only = new Set();

/** Return a word as a shell takes it literally: sh, or PowerShell on Windows. */
export function shellWord(text) {
  const windows = /^Win/.test(navigator.platform);
  return `'${text.replaceAll("'", windows ? "''" : "'\\''")}'`;
}

function filter() {
  for (const paragraph of paragraphs) {
    const hide = only.size > 0 && !only.has(paragraph.speaker);
    if (paragraph.element) paragraph.element.hidden = hide;
    if (paragraph.heading) paragraph.heading.hidden = hide;
  }
  for (const part of document.querySelectorAll(".lane, .person")) {
    part.classList.toggle("dimmed", only.size > 0 && !only.has(Number(part.dataset.speaker)));
  }
  search();
  const names = [...only].map((place) => speakers[place].name);
  say(names.length ? `Only ${names.join(", ")}` : "All speakers");
}

function showAll() {
  only.clear();
  for (const button of document.querySelectorAll('[data-do="only"]')) button.setAttribute("aria-pressed", "false");
  filter();
}

function showCommand(person) {
  const { voice } = speakers[Number(person.dataset.speaker)];
  const name = person.querySelector("input").value.trim().replace(/\s+/g, " ");
  const command = person.querySelector(".command");
  command.hidden = !name;
  command.querySelector("code").textContent = `spokenby voices name ${voice} ${name.startsWith("-") ? "-- " : ""}${shellWord(name)}`;
}

const actions = {
  sample(person) {
    const { sample, name } = speakers[Number(person.dataset.speaker)];
    if (!sample) return say(`${name} has no words to hear`);
    follow(true);
    return seek(sample[0], { play: true, end: sample[1] });
  },
  only(person, button) {
    const place = Number(person.dataset.speaker);
    if (!only.delete(place)) only.add(place);
    button.setAttribute("aria-pressed", String(only.has(place)));
    filter();
  },
  rename(person, button) {
    const naming = person.querySelector(".naming");
    naming.hidden = !naming.hidden;
    button.setAttribute("aria-expanded", String(!naming.hidden));
    showCommand(person);
    if (!naming.hidden) naming.querySelector("input").focus();
  },
  "copy-command"(person) {
    copy(person.querySelector("code").textContent, "Copied: run it in a terminal");
  },
};

export function startSpeakers() {
  for (const person of document.querySelectorAll(".person")) {
    dress(person.querySelector(".swatch"), Number(person.dataset.speaker));
  }
  byId("people").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (button) actions[button.dataset.do](button.closest(".person"), button);
  });
  byId("people").addEventListener("input", (event) => {
    const person = event.target.closest(".person");
    if (person) showCommand(person);
  });
  addEventListener("show-all", showAll);
  if (matchMedia("(max-width: 900px)").matches) byId("people").open = false;
}
