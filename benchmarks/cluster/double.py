"""The API double as a process: `python -m benchmarks.cluster.double FOLDER`.

Writes `kubeconfig` into the folder once it answers, and runs until it is told to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.support.kube_api import KubeApi


async def main(folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with KubeApi(namespaces=("aristobot",), deployments_get_ready=True) as api:
        written = api.write_kubeconfig(folder / "kubeconfig.new")
        os.replace(written, folder / "kubeconfig")
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
