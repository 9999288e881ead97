from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from tasks.again import Again

DEPLOYMENT = UUID(int=7)


def test_the_link_opens_the_form_as_the_run_was_asked_for() -> None:
    again = Again(
        DEPLOYMENT, {"paths": ["/v"], "force": (), "language": "de", "output": None, "profile": "x"}
    )
    link = again.link("diarize", "/v/a b.mp4", ["diarize"])
    address = urlsplit(link.removeprefix("[diarize](").removesuffix(")"))
    assert address.path == f"/deployments/deployment/{DEPLOYMENT}/run"
    (parameters,) = parse_qs(address.query)["parameters"]
    assert json.loads(parameters) == {
        "paths": ["/v/a b.mp4"],
        "force": ["diarize"],
        "language": "de – German",
        "profile": "x",
    }
    assert Again(None, {}).link("diarize", "/v/a b.mp4") == ""
