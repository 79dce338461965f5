"""Settings, read once from the environment when a process starts."""

import os
import sys
from typing import Literal, TypeVar

import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

log: structlog.stdlib.BoundLogger = structlog.get_logger("mesh.settings")

PREFIX = "ENSEMBLE_"


class Settings(BaseSettings):
    """What every process needs; a process extends it with its own.

    Each field is read from `ENSEMBLE_<FIELD>`. OpenTelemetry keeps its own standard `OTEL_*` names.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    drain_seconds: float = 10
    """How long calls in flight may take to finish after SIGTERM, seconds."""


S = TypeVar("S", bound=Settings)


def load(cls: type[S]) -> S:
    """Read `cls` from the environment.

    Ends the process with status 2 and a list of every setting that is missing, malformed or unknown:
    a misspelt setting must never silently mean its default.
    """
    problems = [f"{name}: unknown setting" for name in sorted(_unknown(cls))]
    try:
        settings = cls()
    except ValidationError as error:
        problems += [f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
    else:
        if not problems:
            return settings
    log.critical("settings_wrong", problems=problems)
    sys.exit(2)


def _unknown(cls: type[Settings]) -> set[str]:
    known = {f"{PREFIX}{name}".upper() for name in cls.model_fields}
    return {name for name in os.environ if name.startswith(PREFIX) and name not in known}
