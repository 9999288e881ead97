// Replace a word or some words everywhere, after a look at each place.

import { byId, clock, make, nameOf, paragraphs, say, textOf } from "./data.js";
import { change } from "./changes.js";
import { folded } from "./search.js";

const MOST_PLACES = 500;  // places in the preview; more at the next turn
const LONGEST = 60;  // words that a search may hold
const EDGE = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu;
let places = [];

/** Return each place where the words stand, whatever punctuation is around them. */
function placesOf(query, exact) {
  const form = (text) => (exact ? text.normalize("NFC") : folded(text));
  const inner = (text) => text.replace(EDGE, "") || text;
  const wanted = inner(form(query).replace(/\s+/g, ""));
  const found = [];
  for (const { words: line } of wanted ? paragraphs : []) {
    for (let from = 0; from < line.length; from++) {
      let text = "";
      for (let to = from; to < Math.min(from + LONGEST, line.length); to++) {
        text += form(line[to].text).replace(/\s+/g, "");
        if (inner(text) === wanted) {
          found.push(line.slice(from, to + 1));
          from = to;
          break;
        }
        if (!text.includes(wanted[0]) || text.length > wanted.length + 20) break;
      }
      if (found.length === MOST_PLACES) return found;
    }
  }
  return found;
}

/** Return the new text of a place: with the punctuation and the capital that the old one had. */
function replaced(run) {
  const text = textOf(run), by = byId("replace-new").value.trim(), query = byId("replace-old").value.trim();
  const before = /^[^\p{L}\p{N}]*/u.exec(text)[0], after = /[^\p{L}\p{N}]*$/u.exec(text)[0];
  if (!by || before.length === text.length) return by;
  const capital = !byId("replace-exact").checked && /^\p{Lu}/u.test(text.slice(before.length)) && /^\p{Ll}/u.test(query) && /^\p{Ll}/u.test(by);
  const [first, ...rest] = by;
  return before + (capital ? first.toUpperCase() + rest.join("") : by) + after;
}

function preview() {
  places = placesOf(byId("replace-old").value, byId("replace-exact").checked).filter((run) => replaced(run) !== textOf(run));
  byId("replace-list").replaceChildren(...places.map((run, place) => {
    const line = run[0].paragraph.words;
    const at = line.indexOf(run[0]);
    const box = make("input", { type: "checkbox", "data-place": place });
    box.checked = true;
    const shown = make("bdi", {}, `${textOf(line.slice(Math.max(0, at - 5), at))} `, make("del", {}, textOf(run)), " ", make("ins", {}, replaced(run)), ` ${textOf(line.slice(at + run.length, at + run.length + 5))}`);
    return make("li", {}, make("label", {}, box, make("span", { class: "muted" }, `${clock(run[0].start)} ${nameOf(run[0].paragraph)}`), shown));
  }));
  count();
}

const ticked = () => [...byId("replace-list").querySelectorAll("input:checked")].map((box) => places[box.dataset.place]);

function count() {
  const many = ticked().length;
  byId("replace-count").textContent = byId("replace-old").value.trim() ? `${many} of ${places.length}${places.length === MOST_PLACES ? " or more" : ""} places` : "";
  byId("replace-do").disabled = !many;
  byId("replace-do").textContent = byId("replace-new").value.trim() ? `Replace ${many}` : `Delete ${many}`;
}

export function startReplacing() {
  const dialog = byId("replace");
  byId("replace-open").addEventListener("click", () => {
    const some = getSelection().toString().trim();
    if (some && some.length < 100) byId("replace-old").value = some;
    preview();
    dialog.showModal();
  });
  for (const id of ["replace-old", "replace-new", "replace-exact"]) byId(id).addEventListener("input", preview);
  byId("replace-list").addEventListener("change", count);
  byId("replace-do").addEventListener("click", () => {
    const some = ticked();
    dialog.close();
    change(some.map((run) => ({ run, new: replaced(run) })));
    say(`Replaced in ${some.length} place${some.length === 1 ? "" : "s"}: Ctrl Z undoes it`);
  });
}
