"""Templates for clusters and the page about them parse, and name what there is."""

import ast
import math
import re
import shlex
from pathlib import Path

import pytest
import yaml

from configs import quickstart

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
TEMPLATES = LAUNCH / "templates"
PAGE = ROOT / "docs" / "clusters.md"
TEXTS = [PAGE, TEMPLATES / "README.md", *sorted(TEMPLATES.glob("*.yaml"))]
UNTESTED = "Not run on a real cluster"
CONTINUE, HOPELESS = 75, {1, 2}  # exit codes
FOREIGN = {"env", "zone", "worker", "command", "no-cache-dir"}  # of other tools


def calls_of(tree):
    """Names of the flags that a piece of a module defines."""
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "").startswith("DEFINE_")
    }


def flags_of(launcher):
    """Flags of ``python -m launch.LAUNCHER``, by its source and what it imports."""
    source = (LAUNCH / f"{launcher}.py").read_text()
    found = calls_of(ast.parse(source))
    if "_stage" in source:
        for node in ast.parse((LAUNCH / "_stage.py").read_text()).body:
            of_workers = getattr(node, "name", "") == "_define_worker_flags"
            if not of_workers or "dry_run.dry_run" in source:
                found |= calls_of(node)
    return found


def all_flags():
    launchers = [p.stem for p in LAUNCH.glob("*.py") if p.stem[0] != "_"]
    return set().union(*map(flags_of, launchers))


def commands_of(text):
    """Launchers with the flags that follow them, lines joined at a backslash."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for match in re.finditer(r"python -m launch\.(\w+)([^\n`&;|#]*)", joined):
        yield match[1], re.findall(r"(?<![\w=-])--([a-z_]+)(?=[=\s\"]|$)", match[2])


def documents(name):
    return list(yaml.safe_load_all((TEMPLATES / name).read_text()))


@pytest.fixture
def job():
    """The job of the slice."""
    (jobset,) = documents("jobset.yaml")
    (replicated,) = jobset["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


@pytest.fixture
def container(job):
    (container,) = job["template"]["spec"]["containers"]
    return container


@pytest.fixture
def task():
    (task,) = documents("skypilot.yaml")
    return task


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_text_says_that_it_is_untested(path):
    assert UNTESTED in path.read_text()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_command_exists(path):
    for launcher, given in commands_of(path.read_text()):
        assert (LAUNCH / f"{launcher}.py").exists(), launcher
        for flag in given:
            known = flags_of(launcher)
            assert flag in known or flag.removeprefix("no") in known, (launcher, flag)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_launcher_flag_and_setting_exists(path):
    text = path.read_text()
    named = re.findall(r"(?<![\w/.-])launch\.([a-z_]+)", text)
    assert all((LAUNCH / f"{name}.py").exists() for name in named), named
    known = all_flags() | FOREIGN
    for flag in re.findall(r"(?<![\w=-])--([a-z][a-z_-]*)", text):
        assert flag in known or flag.removeprefix("no") in known, flag
    config = quickstart.get_config().to_dict()
    for section, name in re.findall(r"config\.([a-z]+)\.([a-z_]+)", text):
        assert name in config[section], (section, name)


def test_the_page_names_commands_at_all():
    found = list(commands_of(PAGE.read_text()))
    named = {launcher for launcher, _ in found}
    assert named >= {"accentuate", "fit_encoding", "slurm", "status", "verify"}
    assert ("slurm", "gpus") in {
        (name, flag) for name, given in found for flag in given
    }


@pytest.mark.parametrize(
    "wrong", ["python -m launch.slurm --gpu=1", "python -m launch.verify --config=x"]
)
def test_a_flag_that_a_launcher_has_not_is_seen(wrong):
    ((launcher, (flag,)),) = commands_of(wrong)
    assert flag not in flags_of(launcher)


@pytest.mark.parametrize("path", TEXTS[:2], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert anchor in {slug(head) for head in heads}, target


def slug(head):
    """As GitHub makes the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")


def test_the_hosts_of_the_slice_add_up(job, container):
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"] > 1
    selector = job["template"]["spec"]["nodeSelector"]
    topology = selector["cloud.google.com/gke-tpu-topology"]
    chips = math.prod(map(int, topology.split("x")))
    assert (
        chips == job["completions"] * container["resources"]["limits"]["google.com/tpu"]
    )


def test_the_slice_is_started_again_unless_that_is_hopeless(job, container):
    (jobset,) = documents("jobset.yaml")
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    policy = jobset["spec"]["failurePolicy"]
    (rule,) = policy["rules"]
    assert policy["maxRestarts"] > 1
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert rule["onExitCodes"]["operator"] == "In"
    assert set(rule["onExitCodes"]["values"]) == HOPELESS
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_the_slice_works_in_its_volume(job, container):
    assert container["command"][:3] == ["python", "-m", "launch.accentuate"]
    program = container["command"]
    assert dict(commands_of(shlex.join(program))) == {
        "accentuate": ["workdir", "distributed"]
    }
    (mount,) = container["volumeMounts"]
    (volume,) = job["template"]["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert f"--workdir={mount['mountPath']}/" in " ".join(program)
    block = re.search(
        r"```yaml\n(.*?)```", (TEMPLATES / "README.md").read_text(), re.DOTALL
    )
    claim = yaml.safe_load(block[1])
    assert claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_nodes_are_as_many_processes(task):
    assert task["num_nodes"] > 1
    program = task["run"]
    for flag, value in {
        "processes": '"$SKYPILOT_NUM_NODES"',
        "process": '"$SKYPILOT_NODE_RANK"',
        "coordinator": '"$head:8476"',
        "distributed": "on",
    }.items():
        assert re.search(rf"--{flag}={re.escape(value)}(\s|$)", program), flag
    assert 'head=$(echo "$SKYPILOT_NODE_IPS" | head -n1)' in program


def test_the_job_recovers_from_a_stop_in_its_region(task):
    resources = task["resources"]
    recovery = resources["job_recovery"]
    assert recovery["recover_on_exit_codes"] == [CONTINUE]
    assert recovery["strategy"] == "FAILOVER"
    assert resources["infra"].count("/") == 1  # a cloud and a region
    used = re.findall(r"\$([A-Z]+)\b", task["run"] + task["setup"])
    assert {name for name in used if not name.startswith("SKY")} <= task["envs"].keys()
