// The page of the vocabulary: add what was corrected again and again.

import { refresh, say, send } from "./common.js";

addEventListener("click", async ({ target }) => {
  if (!target.dataset.line) return;
  target.disabled = true;
  const answer = await send("/vocabulary", JSON.stringify({ line: target.dataset.line }));
  say(answer.said ?? answer.error);
  if (answer.ok) await refresh("content");
  else target.disabled = false;
});
