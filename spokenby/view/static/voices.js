// Voices: hear samples, name, merge, keep apart. What was typed elsewhere stays.

import { byId, refresh, say, send } from "./common.js";

const player = byId("player");
let queue = [];
let until = Infinity;
let button = null;

function stop() {
  player.pause();
  queue = [];
  button?.classList.remove("now");
  button = null;
}

function playNext() {
  if (!queue.length) return stop();
  const [sound, start, end] = queue.shift();
  until = Number(end);
  const begin = () => {
    player.currentTime = Number(start);
    player.play().catch((error) => { if (error.name !== "AbortError") fail(); });
  };
  const address = new URL(sound, location.href).href;
  if (player.src === address && player.readyState) begin();
  else {
    player.src = address;
    player.addEventListener("loadedmetadata", begin, { once: true });
    player.load();
  }
  return undefined;
}

function fail() {
  stop();
  say("This sound cannot be played");
}

function play(pressed, stretches) {
  const same = pressed === button;
  stop();
  if (same) return;
  button = pressed;
  button.classList.add("now");
  queue = stretches;
  playNext();
}

player.addEventListener("timeupdate", () => {
  if (button && player.currentTime >= until) {
    until = Infinity;
    player.pause();
    playNext();
  }
});
player.addEventListener("ended", () => { if (button) playNext(); });
player.addEventListener("error", () => { if (button) fail(); });

/** Show the voices as they are now; what was typed and not sent stays. */
async function showAgain(after) {
  const typed = [...document.querySelectorAll(".named input")].filter((input) => input.value !== input.defaultValue).map((input) => [input.id, input.value]);
  const inputs = [...document.querySelectorAll("section:first-of-type .named input")];
  const next = inputs[inputs.findIndex((input) => input.closest(".voice") === after) + 1]?.id;
  stop();
  if (!(await refresh("content"))) return;
  for (const [id, value] of typed) if (byId(id) && id !== `name-${after.dataset.voice}`) byId(id).value = value;
  (byId(next) ?? document.querySelector(".named input") ?? byId("main")).focus({ preventScroll: true });
}

async function change(what, body, voice) {
  voice.classList.add("busy");
  const answer = await send(`/voices/${what}`, JSON.stringify(body));
  voice.classList.remove("busy");
  if (answer.ok) {
    say([answer.said, ...(answer.notes ?? [])].join(" · "));
    await showAgain(voice);
  }
  return answer;
}

async function name(voice, merge = false) {
  const problem = voice.querySelector(".problem");
  const join = voice.querySelector("[data-do=join]");
  const wanted = voice.querySelector(".named input").value;
  problem.textContent = "";
  join.hidden = true;
  const answer = await change("name", { voice: Number(voice.dataset.voice), name: wanted, merge }, voice);
  if (answer.ok) return;
  problem.textContent = answer.error;
  if (answer.taken) {
    join.textContent = `The same person: merge with ${answer.taken.name}`;
    join.hidden = false;
  }
}

async function ask(what, body, voice) {
  const answer = await change(what, body, voice);
  if (!answer.ok) say(answer.error);
}

const actions = {
  join: (voice) => name(voice, true),
  both: (voice, pressed) => play(pressed, JSON.parse(pressed.dataset.sounds)),
  // The voice with a name keeps it; of two without, the neighbor keeps its number.
  merge: (voice, pressed) => ask("merge", { keep: Number(pressed.closest("[data-other]").dataset.other), drop: Number(voice.dataset.voice) }, voice),
  apart: (voice, pressed) => ask("apart", { voice: Number(voice.dataset.voice), other: Number(pressed.closest("[data-other]").dataset.other) }, voice),
  split: (voice, pressed) => ask("split", { voice: Number(voice.dataset.voice), video: pressed.dataset.video, speaker: pressed.dataset.speaker }, voice),
};

addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  if (pressed.matches(".play")) play(pressed, [[pressed.dataset.sound, pressed.dataset.start, pressed.dataset.end]]);
  else if (pressed.dataset.do) actions[pressed.dataset.do](pressed.closest(".voice"), pressed);
});
addEventListener("submit", (event) => {
  if (!event.target.matches(".named")) return;
  event.preventDefault();
  name(event.target.closest(".voice"));
});
