// The transcript as paragraphs of words: click to play, the playing word is highlighted and followed.

import { byId, clock, make, nameOf, paragraphs, wordAt, words } from "./data.js";
import { dress } from "./lanes.js";
import { isPlaying, now, player, seek } from "./player.js";

const AT_ONCE = 40;  // paragraphs drawn before the first paint; the rest follow, as many at a time
const LINE = 29;  // height of a line, and how many letters it holds: for what is not drawn yet
const LETTERS = 68;
const wordOf = new WeakMap();
let current = null;
let following = true;
let stillUntil = 0;  // a page that scrolls under a double-click is in the way

/** Draw a paragraph's words; also after they were changed. */
export function draw(paragraph) {
  const line = paragraph.element.querySelector("p");
  const parts = [];
  paragraph.words.forEach((word, place) => {
    if (place && word.spaced) parts.push(" ");
    word.element = document.createElement("span");
    word.element.textContent = word.text;
    if (word.doubt) {
      word.element.className = "doubt";
      word.element.title = word.doubt;
    }
    wordOf.set(word.element, word);
    parts.push(word.element);
  });
  line.replaceChildren(...parts);
}

function heightOf(paragraph) {
  const letters = paragraph.words.reduce((sum, word) => sum + word.text.length + 1, 0);
  return LINE * Math.ceil(letters / LETTERS) + 7;
}

/** Return the elements of a paragraph: itself, and its heading where the speaker changes. */
export function block(paragraph, before) {
  const start = paragraph.words[0].start;
  const link = make("a", { class: "at", href: `#t=${start}` }, clock(start));
  link.title = "Play from here; a link to this place";
  const copy = make("button", { type: "button", class: "copy", "aria-label": `Copy ${clock(start)} as a quote` }, "Copy");
  copy.title = "Copy as a quote, with speaker and time (c)";
  paragraph.element = make("div", { class: "paragraph" }, link, make("p", { dir: "auto" }), copy);
  paragraph.element.style.containIntrinsicHeight = `auto ${heightOf(paragraph)}px`;
  wordOf.set(paragraph.element, paragraph.words[0]);
  draw(paragraph);
  if (before && before.speaker === paragraph.speaker) return [paragraph.element];
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  dress(swatch, paragraph.speaker);
  paragraph.heading = make("h3", { class: "speaker" }, swatch, make("bdi", {}, nameOf(paragraph)));
  return [paragraph.heading, paragraph.element];
}

/** Return the word that an element shows or belongs to; of a paragraph, its first. */
export function wordBehind(element) {
  return wordOf.get(element) ?? wordOf.get(element?.closest?.(".paragraph"));
}

export function currentWord() {
  return current;
}

/** Scroll to a word, unless it can be seen well. */
export function reveal(word, { always = false } = {}) {
  if (!word?.element || word.paragraph.element.hidden || performance.now() < stillUntil) return;
  const { top, bottom } = word.element.getBoundingClientRect();
  const fixed = getComputedStyle(document.querySelector(".player")).position === "fixed";
  const bar = document.querySelector(".player").offsetHeight;
  const [from, to] = fixed ? [0, innerHeight - bar] : [bar, innerHeight];
  const room = to - from;
  if (!always && top > from + 0.15 * room && bottom < to - 0.3 * room) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches || Math.abs(top - from) > 2 * innerHeight;
  scrollTo({ top: scrollY + top - from - 0.3 * room, behavior: still ? "instant" : "smooth" });
}

export function follow(on) {
  following = on;
  byId("follow").hidden = on || !isPlaying();
  if (on) reveal(current);
}

/** Highlight the playing word; also after words were changed. */
export function highlight() {
  const word = wordAt(now());
  if (word === current && (!word || word.element?.classList.contains("playing-word"))) return;
  current?.element?.classList.remove("playing-word");
  current?.paragraph.element?.classList.remove("playing-paragraph");
  current = word ?? null;
  if (!current?.element) return;
  current.element.classList.add("playing-word");
  current.paragraph.element.classList.add("playing-paragraph");
  if (following && isPlaying()) reveal(current);
}

/** Go to a word, and show it. */
export function goTo(word, { play = isPlaying() } = {}) {
  follow(true);
  seek(word.start, { play });
  highlight();
  reveal(word);
}

/** Go to the paragraph before or after the playing one, among those that are shown. */
export function stepParagraph(step) {
  const shown = paragraphs.filter((paragraph) => !paragraph.element?.hidden);
  const here = current ? shown.indexOf(current.paragraph) : -1;
  const back = step < 0 && current && now() - current.paragraph.words[0].start > 2 ? 0 : step;
  const target = shown[Math.min(Math.max(here + back, 0), shown.length - 1)];
  if (target) goTo(target.words[0]);
}

/** The first word of each doubtful stretch. */
export let doubts = [];

/** Find what is doubtful; also after words were changed. */
export function findDoubts() {
  doubts = words.filter((word, place) => word.doubt && words[place - 1]?.doubt !== word.doubt);
  byId("doubts").textContent = doubts.length;
  byId("doubt").hidden = !doubts.length;
}

/** Go to the next doubtful place, or the one before; from the last to the first. */
export function stepDoubt(step) {
  const shown = doubts.filter((word) => !word.paragraph.element?.hidden);
  if (!shown.length) return null;
  const here = current ? current.place : -1;
  const target = step > 0
    ? shown.find((word) => word.place > here) ?? shown[0]
    : shown.findLast((word) => word.place < here) ?? shown.at(-1);
  goTo(target);
  return target;
}

function goToHash() {
  const time = Number(/^#t=(\d+(?:\.\d+)?)$/.exec(location.hash)?.[1] ?? NaN);
  if (Number.isNaN(time)) return;
  follow(true);
  seek(time);
  highlight();
  if (current?.paragraph.element.hidden) dispatchEvent(new Event("show-all"));  // speakers.js lifts its filter
  reveal(current, { always: true });
}

export function startText(done) {
  const text = byId("text");
  const drawSome = (from, to) => {
    const part = make("div", { class: "part" });
    let height = 0;
    for (let place = from; place < Math.min(to, paragraphs.length); place++) {
      const drawn = block(paragraphs[place], paragraphs[place - 1]);
      part.append(...drawn);
      height += heightOf(paragraphs[place]) + 43 * (drawn.length - 1);
    }
    part.style.containIntrinsicHeight = `auto ${height}px`;
    text.append(part);
  };
  const drawRest = (from) => {
    drawSome(from, from + AT_ONCE);
    if (from + AT_ONCE < paragraphs.length) setTimeout(drawRest, 0, from + AT_ONCE);
    else {
      goToHash();
      done();
    }
  };
  drawSome(0, AT_ONCE);
  setTimeout(drawRest, 0, AT_ONCE);

  text.addEventListener("click", (event) => {
    const link = event.target.closest("a.at");
    if (link) {
      event.preventDefault();
      history.replaceState(null, "", link.href);
      goTo(wordBehind(link), { play: true });
    } else if (event.target.matches("p > span") && getSelection().isCollapsed) {
      stillUntil = performance.now() + 600;
      goTo(wordBehind(event.target), { play: true });
    }
  });
  player.addEventListener("time", highlight);
  player.addEventListener("seek", highlight);
  addEventListener("hashchange", goToHash);
  const unfollow = () => { if (following && isPlaying()) follow(false); };
  for (const kind of ["wheel", "touchmove"]) addEventListener(kind, unfollow, { passive: true });
  addEventListener("keydown", (event) => {
    if (["PageUp", "PageDown", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) unfollow();
  });
  byId("follow").addEventListener("click", () => follow(true));
  byId("media").addEventListener("pause", () => { byId("follow").hidden = true; });
  byId("media").addEventListener("play", () => follow(following));
}
