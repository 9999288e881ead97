"""Name a voice, in every transcript."""

from collections import Counter
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import final_states
from flows.parameters import titled
from spokenby.wording import count_of
from tasks.identification import Naming, rename_voice


@flow(name="name-voice", flow_run_name="name {voice}: {name}", persist_result=False)
def name_voice(
    voice: Annotated[str, titled("Voice")],
    name: Annotated[str, titled("Name")],
    merge: Annotated[bool, titled("Merge with the voice that has this name")] = False,
) -> State[Naming]:
    """Name a voice, in every transcript.

    A transcript that was edited by hand stays as it is, and is listed in the run's log.

    Args:
        voice: As transcripts show it: Speaker 7, or its present name.
        name: Of the person.
        merge: If somebody has this name already, both are one person. Else that is an error.
    """
    naming = rename_voice(voice, name, merge=merge)
    counts = Counter(each.state for each in naming.rewritten)
    message = (
        f"{' and '.join(naming.change.before)} is {naming.change.name} now;"
        f" {count_of(counts['written'], 'transcript')} written again"
    )
    if counts["edited"]:
        message += (
            f", {counts['edited']} edited by hand and kept; to write these, too, run:"
            " spokenby voices identify --overwrite-edited"
        )
    if failed := [each for each in naming.rewritten if each.state == "failed"]:
        causes = "; ".join(f"{each.folder}: {each.note}" for each in failed)
        return final_states.failed(f"{causes} ({message})", naming)
    return Completed(message=message, data=naming)
