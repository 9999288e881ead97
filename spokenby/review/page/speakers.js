// The side panel: hear a speaker, show only some, name a voice or show the command that does.

import { byId, data, paragraphs, say, speakers } from "./data.js";
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

const entered = (person) => person.querySelector(".naming input").value.trim().replace(/\s+/g, " ");

function showCommand(person) {
  if (data.naming) {
    person.querySelector("[data-do=merge]").hidden = true;
    return;
  }
  const { voice } = speakers[Number(person.dataset.speaker)];
  const name = entered(person);
  const command = person.querySelector(".command");
  command.hidden = !name;
  command.querySelector("code").textContent = `spokenby voices name ${voice} ${name.startsWith("-") ? "-- " : ""}${shellWord(name)}`;
}

/** Show a speaker's new name everywhere on the page. */
function showName(place, name) {
  const before = speakers[place].name;
  speakers[place].name = name;
  if (data.edit.who[place]) data.edit.who[place].name = name;
  const giver = document.querySelector(`#givers [data-speaker="${place}"] bdi`);
  if (giver) giver.textContent = name;
  for (const paragraph of paragraphs) {
    if (paragraph.heading && paragraph.speaker === place) paragraph.heading.querySelector("bdi").textContent = name;
  }
  const lane = document.querySelector(`.lane[data-speaker="${place}"] .name`);
  lane.querySelector("bdi").textContent = lane.title = name;
  const person = document.querySelector(`.person[data-speaker="${place}"]`);
  person.querySelector("h3 bdi").textContent = name;
  for (const button of person.querySelectorAll("[aria-label]")) {
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace(before, () => name));
  }
}

/** Have the server name a voice in every transcript, and say what came of it. */
async function nameVoice(person, merge = false) {
  const told = person.querySelector(".named");
  const again = person.querySelector("[data-do=merge]");
  const place = Number(person.dataset.speaker);
  const { voice } = speakers[place];
  again.hidden = true;
  if (!entered(person)) return say("Write a name first");
  told.textContent = "Writing the transcripts…";
  try {
    const answer = await fetch(data.naming.url, {
      method: "POST",
      headers: { "X-Spokenby-Token": data.naming.token },
      body: JSON.stringify({ voice, name: entered(person), merge }),
    });
    const content = await answer.json();
    told.textContent = content.said ?? content.error;
    if (answer.ok) {
      speakers.forEach((each, other) => { if (each.voice === voice) showName(other, content.name); });
      speakers[place].voice = content.voice;
    } else if (content.taken) {
      again.textContent = `The same person: merge with ${content.taken.name}`;
      again.hidden = false;
    }
  } catch {
    told.textContent = "The server does not answer: is spokenby view still running?";
  }
  return undefined;
}

const actions = {
  name: (person) => nameVoice(person),
  merge: (person) => nameVoice(person, true),
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
  byId("people").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && data.naming && event.target.matches(".naming input")) nameVoice(event.target.closest(".person"));
  });
  byId("people").addEventListener("input", (event) => {
    const person = event.target.closest(".person");
    if (person) showCommand(person);
  });
  addEventListener("show-all", showAll);
  if (matchMedia("(max-width: 900px)").matches) byId("people").open = false;
}
