// Start everything.

import { byId, data } from "./data.js";
import { startChanges } from "./changes.js";
import { startChecking } from "./checking.js";
import { startEditing } from "./edit.js";
import { startKeys } from "./keys.js";
import { startLanes } from "./lanes.js";
import { startPlayer } from "./player.js";
import { startQuote } from "./quote.js";
import { startReplacing } from "./replace.js";
import { startSaving } from "./save.js";
import { startSearch } from "./search.js";
import { startSpeakers } from "./speakers.js";
import { findDoubts, startText } from "./text.js";

startPlayer();
startLanes();
startQuote();
startSearch();
startSpeakers();
startKeys();
findDoubts();
addEventListener("beforeprint", () => { byId("people").open = true; });
startText(() => {
  for (const start of [startChanges, startEditing, startChecking, startReplacing, startSaving]) start();
  document.body.classList.add("ready");
});
