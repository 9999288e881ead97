// Who speaks when: a lane for each speaker, bars for turns, hatched where several speak at once.

import { byId, data, duration, make, speakers, turns, words } from "./data.js";
import { now, seek } from "./player.js";

const FINEST = duration / 2000;  // what is closer or shorter cannot be told apart on a screen
const share = (time) => `${(100 * time) / (duration || 1)}%`;

/** Join spans that touch or nearly do. */
function joined(spans) {
  const found = [];
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last && start - last[1] < FINEST) last[1] = Math.max(last[1], end);
    else found.push([start, end]);
  }
  return found;
}

/** Return the spans in which at least two speak. */
function overlaps() {
  const edges = turns.flatMap(([start, end]) => [[start, 1], [end, -1]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const found = [];
  let active = 0, since = 0;
  for (const [time, step] of edges) {
    if (active >= 2 && time > since) found.push([since, time]);
    active += step;
    since = time;
  }
  return joined(found);
}

function bars(kind, spans) {
  return spans.map(([start, end]) => {
    const bar = make("i", { class: kind });
    bar.style.left = share(start);
    bar.style.width = share(Math.max(end - start, FINEST));
    return bar;
  });
}

/** Give an element the color and pattern of a speaker; both differ between neighbors. */
export function dress(element, speaker) {
  element.classList.add(speaker === null ? "nobody" : `color-${speaker % 7}`, `pattern-${(speaker ?? 0) % 5}`);
}

/** Draw the lanes; also after somebody else was found to speak. */
export function drawLanes() {
  const dimmed = [...document.querySelectorAll(".lane.dimmed")].map((lane) => Number(lane.dataset.speaker));
  const both = overlaps();
  byId("lanes").replaceChildren();
  speakers.forEach((speaker, place) => {
    const own = joined(turns.filter((turn) => turn[2] === place));
    const track = make("div", { class: "track" });
    const spoken = bars("turn", own);
    for (const bar of spoken) dress(bar, place);
    const hatched = both.flatMap(([start, end]) => own
      .map(([from, to]) => [Math.max(start, from), Math.min(end, to)])
      .filter(([from, to]) => from < to));
    const doubtful = words.filter((word) => word.doubt && word.paragraph.speaker === place).map((word) => [word.start, word.end]);
    track.append(...spoken, ...bars("overlap", hatched), ...bars("doubtful", joined(doubtful)));
    const name = make("span", { class: "name" }, make("bdi", {}, speaker.name));
    name.title = speaker.name;
    const lane = make("div", { class: "lane", "data-speaker": place, "aria-hidden": "true" }, name, track);
    lane.classList.toggle("dimmed", dimmed.includes(place));
    byId("lanes").append(lane);
  });
}

export function startLanes() {
  drawLanes();
  const bar = document.querySelector(".player");
  const measure = () => document.documentElement.style.setProperty("--player", `${bar.offsetHeight}px`);
  new ResizeObserver(measure).observe(bar);
  const field = byId("position");
  const timeAt = (event) => {
    const { left, width } = field.getBoundingClientRect();
    return (duration * (event.clientX - left)) / width;
  };
  let pressed = false;
  field.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pressed = true;
    field.setPointerCapture(event.pointerId);
    seek(timeAt(event), { play: true });
  });
  field.addEventListener("pointermove", (event) => {
    field.style.setProperty("--pointer", `${event.offsetX}px`);
    if (pressed) seek(timeAt(event));
  });
  field.addEventListener("pointerup", () => { pressed = false; });
  field.addEventListener("keydown", (event) => {
    const to = { Home: 0, End: duration, PageUp: now() - 60, PageDown: now() + 60 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      seek(to);
    }
  });
}

/** Show where the hits of a search are. */
export function markOnLanes(times) {
  byId("marks").replaceChildren(...bars("hit", joined(times.map((time) => [time, time]))));
}
