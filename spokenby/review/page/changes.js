// What people corrected: each change is a correction of some words, kept in order, undone and redone.

import { byId, data, make, paragraphs, renumber, speakers, textOf, turns, UNSURE, wordFrom, words } from "./data.js";
import { drawLanes } from "./lanes.js";
import { forgetIndex, search } from "./search.js";
import { block, findDoubts, highlight } from "./text.js";

/**
 * @typedef {object} Entry
 * @property {object} correction as in corrections.json
 * @property {string} unfit why it is not applied, or ""
 * @property {number} at place of the first word that it changed
 * @property {number} size how many words stand there since
 * @property {Word[] | null} before the words that it changed; null: it changed none
 * @property {boolean} [loaded] it came with the page
 */

const LONG_PAUSE = 2;  // seconds, as in paragraphs.py

/** @type {Entry[]} */
export const entries = [];
/** Tells "change" when there is another correction, or one less. */
export const changes = new EventTarget();
let undone = [];
let lastTime = 0;

/** Return a name that tells one correction from another. */
export const sameAs = (correction) => JSON.stringify([Date.parse(correction.when), correction.start, correction.old]);

// A word typed by a person: as in corrections.py.
const PIECE = /[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff][^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]*|[^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+/gu;
const lettersOf = (text) => [...text].length;
const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

function piecesOf(text, first) {
  return text.split(/\s+/).filter(Boolean).flatMap((token, place) => token.match(PIECE)
    .map((piece, part) => ({ text: piece, spaced: (place > 0 || first.spaced) && part === 0 })));
}

/** Return new words in the place of others; those that begin or end both stay as they are. */
function retyped(run, text, following) {
  const typed = piecesOf(text, run[0]);
  const same = (piece, word) => piece.text === word.text && piece.spaced === word.spaced;
  const least = Math.min(typed.length, run.length);
  let head = 0, tail = 0;
  while (head < least && same(typed[head], run[head])) head++;
  while (tail < least - head && same(typed.at(-1 - tail), run.at(-1 - tail))) tail++;
  if (typed.length && head + tail === run.length) {
    if (head) head--; else tail--;  // only added to: they need the time of a word
  }
  const kept = run.slice(0, head), after = run.slice(run.length - tail);
  const old = run.slice(head, run.length - tail), fresh = typed.slice(head, typed.length - tail);
  if (!fresh.length) return [...kept, ...after];
  const next = after[0] ?? following;
  const start = old[0].start, end = Math.max(...old.map((word) => word.end));
  const latest = next && next.start >= start ? Math.min(end, next.start) : end;
  const letters = sum(fresh.map((piece) => lettersOf(piece.text)));
  let told = 0;
  const timed = fresh.map((piece, place) => {
    const begin = start + ((latest - start) * told) / letters;
    told += lettersOf(piece.text);
    return {
      ...old[0], ...piece, start: begin, end: start + ((latest - start) * told) / letters,
      confidence: 1, doubt: "", overlap: old.some((word) => word.overlap), begins: old[0].begins && !place,
    };
  });
  timed.at(-1).end = end;
  return [...kept, ...timed, ...after];
}

/** Put words in the place of others, and draw their paragraphs again; return the others. */
function replaceWords(at, size, fresh) {
  const near = words.slice(Math.max(at - 1, 0), at + size + 1).map((word) => word.paragraph);
  const first = near.length ? paragraphs.indexOf(near[0]) : 0;
  // One more: whether it has a heading depends on who speaks before it.
  const last = near.length ? Math.min(paragraphs.indexOf(near.at(-1)) + 1, paragraphs.length - 1) : -1;
  const old = paragraphs.slice(first, last + 1);
  const from = old.length ? old[0].words[0].place : 0;
  const many = sum(old.map((paragraph) => paragraph.words.length)) + fresh.length - size;
  const gone = words.splice(at, size, ...fresh);
  const cut = [];
  for (const word of words.slice(from, from + many)) {
    const before = cut.at(-1);
    if (before && !word.begins && before.speaker === word.speaker) before.words.push(word);
    else cut.push({ speaker: word.speaker, words: [word] });
    word.paragraph = cut.at(-1);
  }
  const drawn = cut.flatMap((paragraph, place) => block(paragraph, place ? cut[place - 1] : paragraphs[first - 1]));
  const nodes = old.flatMap((paragraph) => [paragraph.heading, paragraph.element].filter(Boolean));
  if (nodes.length) nodes[0].before(...drawn);
  else byId("text").append(make("div", { class: "part" }, ...drawn));
  for (const node of nodes) node.remove();
  for (const paragraph of cut) {
    const hidden = paragraphs.find((other) => other.speaker === paragraph.speaker)?.element.hidden ?? false;
    for (const node of [paragraph.heading, paragraph.element]) if (node) node.hidden = hidden;
  }
  paragraphs.splice(first, old.length, ...cut);
  words.forEach((word, place) => { word.place = place; });
  return gone;
}

/** Say of words whose speakers have changed where paragraphs begin. `were`: their speakers before. */
function cutAgain(run, were, previous) {
  run.forEach((word, place) => {
    const [before, was] = place ? [run[place - 1], were[place - 1]] : [previous, previous?.speaker];
    if (!before || word.speaker !== before.speaker) word.begins = true;
    else if (were[place] !== was) word.begins = word.start - before.end > LONG_PAUSE;
  });
}

/** Take the time of words from one speaker's turns, and put it to another's. */
function moveTurns(run, giver, taker) {
  const start = run[0].start, end = Math.max(...run.map((word) => word.end));
  const kept = turns.flatMap(([from, to, speaker]) => (speaker !== giver || to <= start || from >= end ? [[from, to, speaker]]
    : [[from, start, speaker], [end, to, speaker]].filter(([low, high]) => high > low)));
  if (taker !== null) kept.push([start, end, taker]);
  turns.splice(0, turns.length, ...kept.sort((a, b) => a[0] - b[0] || a[1] - b[1]));
}

function moveAllTurns(run, were, areNow) {
  for (let from = 0, to; from < run.length; from = to) {
    for (to = from + 1; to < run.length && were[to] === were[from] && areNow[to] === areNow[from];) to++;
    if (were[from] !== areNow[from]) moveTurns(run.slice(from, to), were[from], areNow[from]);
  }
}

/** Return the place of a speaker, who is added if nobody is called so. */
function speakerOf(who) {
  const { edit } = data;
  const known = edit.who.findIndex((other) => (who.label ? other.label === who.label : other.name === who.name));
  if (known >= 0) return known;
  edit.who.push(who);
  speakers.push({ label: "", name: who.name, voice: null, sample: null });
  changes.dispatchEvent(new Event("person"));
  return speakers.length - 1;
}

function apply(entry, run) {
  const { correction } = entry;
  const at = run[0].place, following = words[at + run.length];
  const fresh = (correction.new === undefined ? run : retyped(run, correction.new, following)).map((word) => ({ ...word }));
  const before = [...run];
  if (following && (correction.speaker || (!fresh.length && following.speaker === run[0].speaker))) {
    before.push(following);
    fresh.push({ ...following, begins: following.begins || (!fresh.length && run[0].begins) });
  }
  const own = following && fresh.length && before.length > run.length ? fresh.slice(0, -1) : fresh;
  if (correction.speaker) {
    const were = fresh.map((word) => word.speaker);
    const taker = speakerOf(correction.speaker);
    for (const word of own) word.speaker = taker;
    cutAgain(fresh, were, words[at - 1]);
    moveAllTurns(own, were, own.map(() => taker));
  }
  if (correction.paragraph && own.length) own[0].begins = correction.paragraph === "split";
  if (correction.checked || correction.new !== undefined) for (const word of own) Object.assign(word, { doubt: "", confidence: 1 });
  replaceWords(at, before.length, fresh);
  Object.assign(entry, { at, size: fresh.length, before });
}

/** Say where paragraphs began before a correction that came with the page, which knows words only. */
function findBeginnings(entry, here) {
  const { at, size, before, correction } = entry;
  const following = words[at + size];
  if (!correction.paragraph && here.length) before[0].begins = here[0].begins;
  if (correction.speaker) {
    const were = before.map((word, place) => (here[place] ?? here.at(-1) ?? word).speaker);
    if (following) {
      before.push({ ...following });
      were.push(following.speaker);
      entry.size++;
    }
    cutAgain(before, were, words[at - 1]);
  }
  entry.loaded = false;
}

/** Put the words back that stood there before. */
function takeBack(entry) {
  if (!entry.before) return;
  const here = words.slice(entry.at, entry.at + entry.size);
  if (entry.loaded) findBeginnings(entry, here);
  const areNow = entry.before.map((_, place) => (here[place] ?? here.at(-1) ?? entry.before[place]).speaker);
  if (entry.correction.speaker) moveAllTurns(entry.before, areNow, entry.before.map((word) => word.speaker));
  entry.after = replaceWords(entry.at, entry.size, entry.before);
}

function bringBack(entry) {
  if (!entry.before) return;
  if (entry.correction.speaker) {
    const areNow = entry.before.map((_, place) => (entry.after[place] ?? entry.after.at(-1) ?? entry.before[place]).speaker);
    moveAllTurns(entry.before, entry.before.map((word) => word.speaker), areNow);
  }
  replaceWords(entry.at, entry.before.length, entry.after);
}

/** Show what has changed, and tell it. */
function settle(some) {
  renumber();
  forgetIndex();
  if (byId("query").value) search();
  if (some.some((entry) => entry.correction.speaker)) drawLanes();
  findDoubts();
  highlight();
  changes.dispatchEvent(new Event("change"));
}

/**
 * Correct words: one change, which is undone at once.
 *
 * @param {{run: Word[], new?: string, speaker?: object, paragraph?: string, checked?: boolean}[]} wishes
 *   `run` are words in a row; of several wishes, no two name the same word.
 */
export function change(wishes) {
  if (!wishes.length) return;
  lastTime = Math.max(Date.now(), lastTime + 1);  // what is changed at once has one time
  const when = new Date(lastTime).toISOString();
  const author = byId("author").value.trim();
  // From the end: so that what is before stays where it is.
  const made = [...wishes].sort((a, b) => b.run[0].place - a.run[0].place).map(({ run, ...wish }) => {
    const end = Math.max(...run.map((word) => word.end));
    const correction = { start: run[0].start, end, old: textOf(run), ...wish, ...(author ? { author } : {}), when };
    const entry = { correction, unfit: "", at: 0, size: 0, before: null };
    apply(entry, run);
    return entry;
  });
  entries.push(...made);
  undone = [];
  settle(made);
}

/** Undo the last change; return what it was, null if there is none. */
export function undo() {
  const last = entries.findLast((entry) => !entry.unfit);
  if (!last) return null;
  const group = entries.filter((entry) => !entry.unfit && Date.parse(entry.correction.when) === Date.parse(last.correction.when));
  for (const entry of [...group].reverse()) {
    takeBack(entry);
    entries.splice(entries.indexOf(entry), 1);
  }
  undone.push(group);
  settle(group);
  return group;
}

/** Make the change again that was undone last. */
export function redo() {
  const group = undone.pop();
  if (!group) return null;
  for (const entry of group) bringBack(entry);
  entries.push(...group);
  settle(group);
  return group;
}

export const canUndo = () => entries.some((entry) => !entry.unfit);
export const canRedo = () => undone.length > 0;

/** Forget a correction that does not fit. */
export function forget(entry) {
  entries.splice(entries.indexOf(entry), 1);
  changes.dispatchEvent(new Event("change"));
}

/** Return the words that a correction is about, null if its text does not stand at its time. */
function wordsOf({ start, end, old }) {
  const wanted = old.replace(/\s+/g, "");
  for (const word of words) {
    if (Math.abs(word.start - start) > 0.01) continue;
    let text = "", place = word.place;
    while (text.length < wanted.length && place < words.length) text += words[place++].text.replace(/\s+/g, "");
    const run = words.slice(word.place, place);
    if (text === wanted && Math.abs(Math.max(...run.map((each) => each.end)) - end) < 0.01) return run;
  }
  return null;
}

/** Bring the text to what a list of corrections says that was kept in this browser. */
export function restore(corrections) {
  const wanted = new Set(corrections.map(sameAs));
  while (canUndo() && !wanted.has(sameAs(entries.findLast((entry) => !entry.unfit).correction))) undo();
  const there = new Set(entries.map((entry) => sameAs(entry.correction)));
  const missing = corrections.filter((correction) => !there.has(sameAs(correction)));
  const made = missing.map((correction) => {
    const entry = { correction, unfit: "", at: 0, size: 0, before: null };
    const run = wordsOf(correction);
    if (run) apply(entry, run);
    else entry.unfit = "not found in this transcript";
    return entry;
  });
  entries.push(...made);
  undone = [];
  if (made.length) settle(made);
  return made.length;
}

/** Read the corrections that the page came with: their words are in the text already. */
export function startChanges() {
  const { edit } = data;
  const unfit = new Map(edit.unfit);
  edit.corrections.forEach((correction, place) => {
    const [at, size, before] = edit.steps[place] ?? [0, 0, null];
    const entry = { correction, unfit: unfit.get(place) ?? "", at, size, before: null, loaded: true };
    entry.before = before?.map(([start, end, text, confidence, flags, speaker], part) => {
      const [, from, , , , who] = before[part - 1] ?? [];
      const begins = correction.paragraph === "join" || (part > 0 && (who !== speaker || start - from > LONG_PAUSE));
      const word = wordFrom([start, end, text, confidence, flags], speaker ?? null, begins);
      if (word.confidence < data.lowConfidence) word.doubt = UNSURE;
      return word;
    }) ?? null;
    entries.push(entry);
    lastTime = Math.max(lastTime, Date.parse(correction.when) || 0);
  });
}

/** Return in a few words what an entry corrects. */
export function spell({ correction }) {
  const { old, speaker, paragraph, checked } = correction;
  const parts = [];
  if (correction.new !== undefined) parts.push(correction.new.trim() ? `“${old}” → “${correction.new}”` : `“${old}” deleted`);
  else parts.push(`“${old}”`);
  if (speaker) parts.push(`said by ${speaker.name}`);
  if (paragraph) parts.push(paragraph === "split" ? "new paragraph" : "joined");
  if (checked) parts.push("checked");
  return parts.join(": ");
}
