"""What it takes to play a cluster."""

import os
import shutil
import subprocess
import sys

TOOLS = {"runc": "runc", "nft": "nftables", "ip": "iproute2"}
"""By the Debian package that they come with."""


def missing() -> str:
    """What is not there, and how to get it; empty if nothing is missing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "containers with network namespaces need root on Linux"
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode:  # noqa: S607
        return "this machine does not let us make namespaces; in a container, --privileged would"
    absent = [f"{tool} (apt-get install {package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]
    return f"missing: {', '.join(absent)}; .ci/run fetches them" if absent else ""
