import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDED = ("sbatch", "srun", "squeue", "scontrol", "slurmctld", "slurmd", "munged")


class Slurm:
    """A cluster of one node."""

    def __init__(self, folder):
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM")},
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def ask(self, *words):
        done = self._run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _run(self, *words):
        return subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            timeout=60,
        )

    def submit(self, script, *options):
        """The job's number."""
        return self.ask("sbatch", "--parsable", *options, script)

    def states(self, job):
        """Of all tasks of a job that wait or run; empty once all have ended."""
        return self._run("squeue", "-h", "-r", "-o", "%T", "-j", job).stdout.split()

    def state(self, job):
        """Of one job or task, the last that Slurm knows: ``("FAILED", "1:0")``."""
        said = self.ask("scontrol", "show", "job", job)
        found = [
            re.search(rf"\b{name}=(\S+)", said) for name in ("JobState", "ExitCode")
        ]
        return tuple(match[1] for match in found)

    def starts(self, job):
        """How often a job or task has been started again."""
        said = self.ask("scontrol", "show", "job", job)
        return int(re.search(r"\bRestarts=(\d+)", said)[1])

    def terminate(self, job):
        """SIGTERM to the steps, as on preemption and before the end of the time."""
        self.ask("scancel", "--signal=TERM", job)

    def requeue(self, job):
        """As an administrator or a failing node would."""
        self.ask("scontrol", "requeue", job)

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
        self._run("scontrol", "update", f"JobId={job}", "StartTime=now")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent and os.environ.get("PARAMCTL_INSTALL_SLURM") == "1":
        _install()
        absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        pytest.skip(
            f"slurm is not installed ({absent[0]} is not there); "
            "PARAMCTL_INSTALL_SLURM=1 installs it"
        )
    if os.geteuid() != 0:
        pytest.skip("only root may start Slurm")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        if said := _up(folder):
            pytest.skip(f"Slurm does not start here: {said[-300:]}")
        yield Slurm(folder)
    finally:
        subprocess.run([HERE / "down.sh", folder], check=False, capture_output=True)


def _up(folder):
    """What went wrong; empty if it is up."""
    up = [HERE / "up.sh", folder, *map(str, _free_ports(2))]
    log = folder / "up.log"
    with log.open("w") as stream:  # a pipe would be kept open by what stays behind
        try:
            code = subprocess.run(
                up, stdout=stream, stderr=stream, check=False, timeout=60
            ).returncode
        except subprocess.TimeoutExpired:
            code = "no end within a minute"
    return f"{code}: {log.read_text()}" if code else ""


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
