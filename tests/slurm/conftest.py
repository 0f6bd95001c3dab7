import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDED = ("sbatch", "srun", "squeue", "slurmctld", "slurmd", "munged")


class Slurm:
    """A cluster of one node."""

    def __init__(self, folder):
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM")},
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def ask(self, *words):
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env=self.environment
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def states(self, job):
        """Of all tasks of a job; empty once Slurm has forgotten it."""
        words = ("squeue", "-h", "-r", "-o", "%T", "-j", str(job))
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env=self.environment
        )
        return done.stdout.split()

    def wait(self, job, timeout=240, hurry=True):
        """Until a job has ended; requeued ones, that would wait, are started."""
        start = ran = time.monotonic()
        while states := self.states(job):
            now = time.monotonic()
            assert now - start < timeout, self.ask("squeue")
            ran = ran if set(states) == {"PENDING"} else now
            # at once, the node would take the new start for the old one, and kill it
            if hurry and now - ran > 8:
                self.hurry(job)
                ran = now
            time.sleep(0.5)

    def hurry(self, job):
        words = ("scontrol", "update", f"JobId={job}", "StartTime=now")
        subprocess.run(words, capture_output=True, check=False, env=self.environment)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent and os.environ.get("PARAMCTL_INSTALL_SLURM") == "1":
        _install()
        absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        pytest.skip(
            f"{absent[0]} is not there; PARAMCTL_INSTALL_SLURM=1 installs Slurm"
        )
    if os.geteuid() != 0:
        pytest.skip("only root may start Slurm")
    folder = tmp_path_factory.mktemp("slurm")
    up = [HERE / "up.sh", folder, *map(str, _free_ports(2))]
    try:
        done = subprocess.run(up, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"Slurm does not start here: {done.stderr[-300:]}")
        yield Slurm(folder)
    finally:
        subprocess.run([HERE / "down.sh", folder], check=False, capture_output=True)


def _install():
    """On Debian and its like, as root."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = ["--no-install-recommends", "slurm-wlm", "munge"]
    for words in (["update"], ["install", "-y", *packages]):
        try:
            subprocess.run(
                ["apt-get", "-q", *words],
                env=environment,
                capture_output=True,
                timeout=180,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
