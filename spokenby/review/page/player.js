// The sound: the listening copy, the served video, or one from disk.

import { byId, clock, data, duration, say } from "./data.js";

const media = byId("media");
const position = byId("position");

/** Tells "time" (while playing, each frame) and "seek". */
export const player = new EventTarget();
let until = Infinity;
let shown = -1;
let wanted = 0;  // until the sound can be sought in

export const now = () => (media.readyState ? media.currentTime : wanted);
export const isPlaying = () => !media.paused;
export const length = () => (Number.isFinite(media.duration) && media.readyState ? media.duration : duration);

/** Go to a time; play from there if `play`, and stop at `end` if it is given. */
export function seek(time, { play = false, end = Infinity } = {}) {
  wanted = Math.min(Math.max(0, time), length());
  until = end;
  if (media.readyState) media.currentTime = wanted;
  show();
  player.dispatchEvent(new Event("seek"));
  if (play) start();
}

export function start() {
  if (!media.currentSrc && !media.src) {
    say("There is no sound beside this page: open the video");
    return;
  }
  media.play().catch((error) => { if (error.name !== "AbortError") say("The sound cannot be played"); });
}

export function toggle() {
  until = Infinity;
  if (media.paused) start(); else media.pause();
}

export function setSpeed(speed) {
  media.playbackRate = speed;
  byId("speed").value = String(speed);
}

/** Take the next speed of the list, +1 or -1. */
export function changeSpeed(step) {
  const select = byId("speed");
  const next = select.options[select.selectedIndex + step];
  if (next) setSpeed(Number(next.value));
  say(`Speed ${byId("speed").value}×`);
}

function show() {
  const time = now();
  byId("playhead").style.transform = `translateX(${(100 * time) / (duration || 1)}%)`;
  if (Math.floor(time) === shown) return;
  shown = Math.floor(time);
  byId("now").textContent = clock(time);
  position.setAttribute("aria-valuenow", String(shown));
  position.setAttribute("aria-valuetext", `${clock(time)} of ${clock(duration)}`);
}

function tick() {
  show();
  player.dispatchEvent(new Event("time"));
  if (now() >= until) {
    until = Infinity;
    media.pause();
  }
  if (!media.paused) requestAnimationFrame(tick);
}

function showState() {
  const playing = !media.paused;
  document.body.classList.toggle("playing", playing);
  byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

/** Play a file from disk. It is read here and sent nowhere. */
export function open(file) {
  const before = media.currentSrc, time = now();
  const address = URL.createObjectURL(file);
  const settle = (failed) => {
    media.removeEventListener("loadedmetadata", loaded);
    media.removeEventListener("error", refused);
    if (failed) URL.revokeObjectURL(address);
  };
  const loaded = () => {
    settle(false);
    const apart = Math.abs(media.duration - duration) > 3;
    say(apart ? `${file.name} is ${clock(media.duration)} long, the transcript ${clock(duration)}: is it the same video?` : `${file.name} plays`);
  };
  const refused = () => {
    settle(true);
    load(before);
    seek(time);
    say(`This browser cannot play ${file.name}`);
  };
  media.addEventListener("loadedmetadata", loaded);
  media.addEventListener("error", refused);
  load(address);
  seek(time);
}

function load(address) {
  byId("silent").hidden = true;
  if (address) media.src = address; else media.removeAttribute("src");
  media.playbackRate = Number(byId("speed").value);
}

function tellSilent(line) {
  byId("silent").textContent = line;
  byId("silent").hidden = false;
}

export function startPlayer() {
  byId("length").textContent = clock(duration);
  position.setAttribute("aria-valuemax", String(Math.floor(duration)));
  media.addEventListener("loadedmetadata", () => {
    byId("screen").hidden = !media.videoWidth;
    media.currentTime = wanted;
    media.playbackRate = Number(byId("speed").value);
  });
  media.addEventListener("play", () => { showState(); requestAnimationFrame(tick); });
  media.addEventListener("pause", () => { wanted = media.currentTime; showState(); });
  media.addEventListener("seeked", () => { show(); player.dispatchEvent(new Event("time")); });
  media.addEventListener("error", () => {
    if (media.getAttribute("src") === data.video && data.audio) load(data.audio);
    else if (!media.src.startsWith("blob:")) tellSilent(`${data.audio || "The sound"} cannot be played: is it beside this page? You can open the video instead.`);
  });
  byId("play").addEventListener("click", toggle);
  byId("back").addEventListener("click", () => seek(now() - 5));
  byId("forward").addEventListener("click", () => seek(now() + 5));
  byId("speed").addEventListener("change", (event) => setSpeed(Number(event.target.value)));
  byId("screen").addEventListener("click", toggle);
  byId("open").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => { if (event.target.files[0]) open(event.target.files[0]); });
  listenForDrops();
  load(data.video || data.audio);
  if (!data.video && !data.audio) tellSilent("There is no listening copy beside this page. To hear it, open the video or drop it onto this page.");
  show();
}

function listenForDrops() {
  const drop = byId("drop");
  const isFile = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragover", (event) => { if (isFile(event)) { event.preventDefault(); drop.hidden = false; } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.hidden = true; });
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    drop.hidden = true;
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
}
