"""The one tree of errors, and the exit code each branch ends a command with.

Every message names the value that was given (``!r``), what is allowed, and what to do. Errors take
one string, so that they survive pickling between Ray processes.
"""

from __future__ import annotations


class SteRayError(Exception):
    """Base of all errors raised on purpose; on its own it means a fault of ours."""

    exit_code = 1


class UserError(SteRayError):
    """The command cannot work as it was given: fix the input and run it again."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration file, override or environment variable is wrong."""


class ToolTemplateError(ConfigError):
    """A chat template writes calls of tools in a form that cannot be told."""


class NoToolsError(ToolTemplateError):
    """A chat template knows no tools."""


class ToolSpecError(UserError):
    """A tool specification is wrong: the message names file, field and remedy."""


class RunConflictError(UserError):
    """The run URI already holds artifacts made with another configuration."""


class StageInputError(UserError):
    """A stage lacks the artifacts of an earlier stage, or they cannot be used."""


class EndpointError(UserError):
    """The model endpoint cannot be used: it refuses the key or the request, for example."""


class EndpointUnreachableError(EndpointError):
    """Nobody answers at the endpoint's address: a mistake, or a server that is down for now."""


class EndpointRefusalError(EndpointError):
    """It refused a minimal request too: whatever it minds now, it may take another day."""


class TemporaryError(SteRayError):
    """Something outside failed that may work later: run the same command again."""

    exit_code = 75


class ProviderUnavailableError(TemporaryError):
    """The model endpoint kept failing after all retries."""


class StoreError(TemporaryError):
    """The artifact store cannot be read or written."""


class RunLockedError(TemporaryError):
    """Another process owns the run."""


class ReplayMismatchError(UserError):
    """A recorded answer belongs to another request: prompts or code changed under a journal."""


class RecordingMissError(UserError):
    """Only recorded answers of tools are allowed, and there is none for a call."""


class BudgetExhaustedError(UserError):
    """The budget allows no further call; what is finished is kept and the run can go on later."""


class DecodingError(SteRayError):
    """A local model cannot be decoded with, for another reason than the memory of one batch."""


class TrainingError(SteRayError):
    """Training cannot go on, for example because the loss is not a number."""
