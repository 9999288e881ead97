"""Prefect's server on SQLite: who writes waits for the others and is not refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import httpx

STARTS = 80


def test_requests_to_start_a_run_are_not_refused_while_others_write(prefect_server: str) -> None:
    """Without tasks/prefect_patches.py a third of them are, which nobody repeats for a browser."""
    # A server that answers 503 closes the connection.
    with httpx.Client(base_url=prefect_server, timeout=120, headers={"Connection": "close"}) as api:
        flow = api.post("/flows/", json={"name": "busy"}).json()["id"]
        deployment = api.post("/deployments/", json={"name": "busy", "flow_id": flow}).json()["id"]
        finished = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            writer = thread.submit(_write_until, finished, prefect_server)
            try:
                answers = [
                    api.post(f"/deployments/{deployment}/create_flow_run", json={}).status_code
                    for _ in range(STARTS)
                ]
            finally:
                finished.set()
        api.delete(f"/deployments/{deployment}")
        api.delete(f"/flows/{flow}")
    assert answers == [httpx.codes.CREATED] * STARTS
    assert writer.result() >= 4  # a slow writer is one, too


def test_who_reads_within_a_transaction_does_not_wait_for_its_own_lock(prefect_server: str) -> None:
    """Prefect asks for the work pool, in a session of its own, while it writes to a queue."""
    with httpx.Client(base_url=prefect_server, timeout=120) as api:
        api.post("/work_pools/", json={"name": "busy", "type": "process"}).raise_for_status()
        queue = "/work_pools/busy/queues/default"
        for paused in (True, False):
            changed = api.patch(queue, json={"is_paused": paused})
            assert changed.status_code == httpx.codes.NO_CONTENT
            assert api.get(queue).json()["is_paused"] is paused
        api.delete("/work_pools/busy")


def _write_until(finished: threading.Event, url: str) -> int:
    """Write all the time; return how often."""
    count = 0
    with httpx.Client(base_url=url, timeout=120, headers={"Connection": "close"}) as api:
        while not finished.wait(0.01):
            line = {
                "name": "busy",
                "level": 20,
                "message": "still at it",
                "timestamp": datetime.now(UTC).isoformat(),
                "flow_run_id": str(uuid4()),
            }
            api.post("/logs/", json=[line] * 20).raise_for_status()
            page = {"key": "busy", "type": "markdown", "data": "still at it"}
            api.post("/artifacts/", json=page).raise_for_status()
            count += 2
    return count
