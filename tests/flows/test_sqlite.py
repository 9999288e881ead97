"""Prefect's server on SQLite: who writes waits for the others and is not refused."""

import threading
from datetime import UTC, datetime
from uuid import uuid4

import httpx

STARTS = 80


def test_requests_to_start_a_run_are_not_refused_while_others_write(prefect_server: str) -> None:
    """Without flows/sqlite.py a third of them are, which nobody repeats for a browser."""
    # A server that answers 503 closes the connection.
    with httpx.Client(base_url=prefect_server, timeout=120, headers={"Connection": "close"}) as api:
        flow = api.post("/flows/", json={"name": "busy"}).json()["id"]
        deployment = api.post("/deployments/", json={"name": "busy", "flow_id": flow}).json()["id"]
        finished = threading.Event()
        writer = threading.Thread(target=_write_until, args=(finished, prefect_server))
        writer.start()
        try:
            answers = [
                api.post(f"/deployments/{deployment}/create_flow_run", json={}).status_code
                for _ in range(STARTS)
            ]
        finally:
            finished.set()
            writer.join()
            api.delete(f"/deployments/{deployment}")
            api.delete(f"/flows/{flow}")
    assert answers == [httpx.codes.CREATED] * STARTS


def _write_until(finished: threading.Event, url: str) -> None:
    with httpx.Client(base_url=url, timeout=120, headers={"Connection": "close"}) as api:
        while not finished.wait(0.01):
            line = {
                "name": "busy",
                "level": 20,
                "message": "still at it",
                "timestamp": datetime.now(UTC).isoformat(),
                "flow_run_id": str(uuid4()),
            }
            api.post("/logs/", json=[line] * 20)
            api.post("/artifacts/", json={"key": "busy", "type": "markdown", "data": "still at it"})
