// Copy words as a quote, with speaker, time and video.

import { byId, clock, data, nameOf, say, textOf, words } from "./data.js";
import { currentWord, wordBehind } from "./text.js";

/** Return the words that are selected in the text, in order. */
export function selected() {
  const selection = getSelection();
  if (selection.isCollapsed || !selection.rangeCount) return [];
  const range = selection.getRangeAt(0);
  if (!range.intersectsNode(byId("text"))) return [];
  const some = words.filter((word) => word.element && !word.paragraph.element.hidden && range.intersectsNode(word.element));
  // A word of which no letter is selected.
  if (some.length && some[0].element.contains(range.startContainer) && range.startOffset === range.startContainer.length) some.shift();
  if (some.length > 1 && some.at(-1).element.contains(range.endContainer) && !range.endOffset) some.pop();
  return some;
}

/** Return a quote: a line for each change of speaker. */
export function quote(some) {
  const lines = [];
  for (const word of some) {
    const last = lines.at(-1);
    if (last && last[0].paragraph.speaker === word.paragraph.speaker) last.push(word);
    else lines.push([word]);
  }
  if (lines.length === 1) {
    return `“${textOf(some)}” (${nameOf(some[0].paragraph)}, ${clock(some[0].start)}, ${data.name})`;
  }
  const said = lines.map((line) => `${nameOf(line[0].paragraph)} (${clock(line[0].start)}): “${textOf(line)}”`);
  return [...said, `(${data.name})`].join("\n");
}

/** Put a text on the clipboard, and say so. */
export async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");  // where a page may not use the clipboard itself
    area.value = text;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) return say("This browser does not let the page copy");
  }
  return say(done);
}

/** Copy the selected words; without any, a paragraph: the given one, or the playing one. */
export function copyQuote(paragraph = currentWord()?.paragraph) {
  const some = selected();
  const chosen = some.length ? some : paragraph?.words ?? [];
  if (chosen.length) copy(quote(chosen), "Copied with speaker and time");
  else say("Select some words to copy");
}

export function startQuote() {
  byId("text").addEventListener("click", (event) => {
    if (!event.target.matches("button.copy")) return;
    const { paragraph } = wordBehind(event.target);
    const some = selected();
    copy(quote(some.length && some.some((word) => word.paragraph === paragraph) ? some : paragraph.words), "Copied with speaker and time");
  });
}
