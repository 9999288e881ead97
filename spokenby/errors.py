"""Errors with a message for people, and whether a retry can help."""


class SpokenbyError(Exception):
    """State in one line what went wrong, where, and what to do next.

    Args:
        problem: what happened, naming the file or setting concerned.
        next_step: what the reader can do about it, an imperative sentence without full stop.
    """

    def __init__(self, problem: str, next_step: str = "") -> None:
        # Both arguments go to Exception so that the error survives pickling between processes.
        super().__init__(problem, next_step)
        self.problem = problem
        self.next_step = next_step

    def __str__(self) -> str:
        line = f"{self.problem}: {self.next_step}" if self.next_step else self.problem
        return " ".join(line.split())


class InputError(SpokenbyError):
    """The input or a setting is at fault: trying again cannot help, so it is never retried."""


class TransientError(SpokenbyError):
    """The surroundings are at fault (a hung process, a full device): retried."""


class StoppedError(SpokenbyError):
    """The user asked to stop. What was finished is kept; the next run continues there."""
