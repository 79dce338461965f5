"""Whom a program runs as. PostgreSQL refuses to run as root, so that root lends it an unprivileged user."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A system user; by default, whoever runs us."""

    uid: int | None = None
    gid: int | None = None
    setpriv: str | None = None
    """Path of util-linux's `setpriv`, if it is to change the user."""

    def command(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command line that runs `command` as this user.

        The one capability lets the user reach binaries and data below folders that only root may enter, such as
        root's home. Containers grant root `dac_override`, but not the narrower `dac_read_search`. The securebit lets it
        count in access(2) as well, by which PostgreSQL looks for its own programs.
        """
        if self.setpriv is None:
            return command
        user = (f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups")
        capability = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
        return (self.setpriv, *user, *capability, "--securebits=+no_setuid_fixup", *command)

    @property
    def spawn_uid(self) -> int | None:
        """The user to be changed to when the process is spawned, where there is no `setpriv`."""
        return None if self.setpriv else self.uid

    @property
    def spawn_gid(self) -> int | None:
        return None if self.setpriv else self.gid

    def own(self, path: Path) -> None:
        """Give the file or folder to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def unprivileged() -> Account:
    """Ourselves, or `nobody` when we are root."""
    import pwd  # noqa: PLC0415 - does not exist on Windows

    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid, shutil.which("setpriv"))
