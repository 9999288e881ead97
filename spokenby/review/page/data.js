// The transcript as the page works with it, and how times are written.

/**
 * @typedef {object} Word
 * @property {number} start seconds from the start of the video
 * @property {number} end
 * @property {string} text
 * @property {number} confidence 0 to 1
 * @property {boolean} spaced a space is written before it, unless it comes first
 * @property {boolean} overlap somebody else spoke at the same time
 * @property {string} doubt why not to trust it, or ""
 * @property {number | null} speaker place in `speakers`
 * @property {boolean} begins a paragraph begins with it, also where the speaker stays
 * @property {Paragraph} paragraph
 * @property {number} place in `words`
 * @property {HTMLElement} [element]
 *
 * @typedef {object} Paragraph
 * @property {number | null} speaker place in `speakers`
 * @property {Word[]} words never empty
 * @property {HTMLElement} [element]
 */

export const data = JSON.parse(document.getElementById("data").textContent);
export const { speakers, turns, duration } = data;

/** Return a word from what the page was given. */
export function wordFrom([start, end, text, confidence, flags], speaker, begins) {
  return { start, end, text, confidence, spaced: !(flags & 1), overlap: Boolean(flags & 2), doubt: "", speaker, begins };
}

/** @type {Paragraph[]} */
export const paragraphs = data.paragraphs.map(({ speaker, words }) => {
  const paragraph = { speaker, words: [] };
  paragraph.words = words.map((word, place) => ({ ...wordFrom(word, speaker, !place), paragraph }));
  return paragraph;
});

/** All words in the order of the text. @type {Word[]} */
export const words = paragraphs.flatMap((paragraph) => paragraph.words);

/** All words in the order of time: people may speak at once. @type {Word[]} */
export let byTime = [];

/** Number the words; also after they were changed. */
export function renumber() {
  words.forEach((word, place) => { word.place = place; });
  byTime = [...words].sort((a, b) => a.start - b.start || a.place - b.place);
}

renumber();

export const UNSURE = "The recognizer is not sure of this word";
for (const word of words) {
  if (word.confidence < data.lowConfidence) word.doubt = UNSURE;
}
for (const [start, end, reason] of data.doubtful) {
  for (let at = firstFrom(start); at < byTime.length && byTime[at].start < end; at++) byTime[at].doubt = reason;
}

/** Return the place in `byTime` of the first word that starts at this time or later. */
export function firstFrom(time) {
  let low = 0, high = byTime.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byTime[middle].start < time) low = middle + 1; else high = middle;
  }
  return low;
}

/** Return the last word that has started at this time; undefined before the first. */
export function wordAt(time) {
  return byTime[firstFrom(time + 0.001) - 1];
}

/** Return the name of a paragraph's speaker. */
export function nameOf(paragraph) {
  return paragraph.speaker === null ? data.unknown : speakers[paragraph.speaker].name;
}

/** Return words as they are written. */
export function textOf(some) {
  return some.map((word, place) => (place && word.spaced ? " " : "") + word.text).join("");
}

/** Return a time as 1:02:03 or 2:03, rounded down. */
export function clock(time) {
  const whole = Math.max(0, Math.floor(time));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(seconds)}` : `${minutes}:${pad(seconds)}`;
}

export const byId = (id) => document.getElementById(id);

/** Return an element with attributes and content; text stays text. */
export function make(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

let fading = 0;
/** Show a line for a moment, and have it read aloud. */
export function say(line) {
  const said = byId("said");
  said.textContent = line;
  said.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => said.classList.remove("shown"), 3000);
}
