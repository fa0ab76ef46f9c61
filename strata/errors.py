"""Errors whose message is one sentence that a person can act on."""


def of_a_library(error: BaseException) -> bool:
    """Whether a library has failed, and nobody asks the program to end: a panic of one in Rust, as
    tokenizers is, is no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


class StrataError(Exception):
    """Anything Strata refuses or fails at; `str(error)` is meant to be shown to a learner."""


class ModelError(StrataError):
    """A model cannot be found, fetched, loaded, or trusted for what was asked of it."""


class InputError(StrataError):
    """A prompt, parameter or edit is empty, too long, out of range or not what was expected."""


class UnknownCodeError(InputError):
    """Nobody was given the code that was typed."""


class BusyError(StrataError):
    """The queue is full, or this learner has asked for as much as is allowed for now.

    `seconds`: about how long until it is worth another try; None if that is not known.
    """

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class CancelledError(StrataError):
    """The job was cancelled, replaced by a newer one, or ran past its deadline."""


class NotEnoughMemory(ModelError):
    """A model would not fit in what is free now; evicting an idle one may make the room."""
