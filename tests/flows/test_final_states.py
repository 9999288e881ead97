"""What a run's final state carries, and what Prefect makes of it."""

from __future__ import annotations

import logging

import pytest
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled, Completed, Crashed, Failed

from flows.final_states import UnfinishedError, failed, results_of, stopped


@pytest.mark.parametrize(
    "state", [Completed(data=["a", "b"]), failed("b failed", ["a", "b"]), stopped("", ["a", "b"])]
)
def test_results_come_back_however_the_run_ended(state) -> None:
    assert results_of(state) == ["a", "b"]


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (Failed(data=ValueError("bug")), ValueError),
        (Crashed(data=KeyboardInterrupt()), KeyboardInterrupt),
        (Cancelled(message="in the UI"), CancelledRun),
    ],
)
def test_a_run_without_results_raises(state, error) -> None:
    with pytest.raises(error):
        results_of(state)


def test_prefect_finds_an_exception_in_a_failed_run() -> None:
    with pytest.raises(UnfinishedError, match=r"^b failed$"):
        failed("b failed", ["a", "b"]).result()


@pytest.mark.parametrize(
    ("error", "lines"), [(UnfinishedError("b failed"), 0), (ValueError("bug"), 1)]
)
def test_only_what_is_news_gets_a_traceback_in_the_log(caplog, error, lines) -> None:
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    try:
        logger.error("Engine execution exited with unexpected exception", exc_info=error)
    finally:
        logger.removeHandler(caplog.handler)
    assert len({id(record) for record in caplog.records}) == lines
