// Start everything. An editor of the transcript would be one more part, started here.

import { byId } from "./data.js";
import { startKeys } from "./keys.js";
import { startLanes } from "./lanes.js";
import { startPlayer } from "./player.js";
import { startQuote } from "./quote.js";
import { startSearch } from "./search.js";
import { startSpeakers } from "./speakers.js";
import { doubts, startText } from "./text.js";

startPlayer();
startLanes();
startQuote();
startSearch();
startSpeakers();
startKeys();
byId("doubts").textContent = doubts.length;
byId("doubt").hidden = !doubts.length;
addEventListener("beforeprint", () => { byId("people").open = true; });
startText(() => document.body.classList.add("ready"));
