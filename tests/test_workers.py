"""Several processes as workers over the same store."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lem.ab import Experiment, run_ab
from lem.conditions import all_conditions, choose
from lem.engines import EngineOptions, Meter, machine, resolve
from lem.engines import _worker_lists as lists
from lem.engines import workers as room
from lem.engines.builtin import NAME
from lem.engines.llamacpp import LlamaEngine, common_prefix
from lem.engines.workers import WorkersEngine
from lem.errors import LemError
from lem.kernels.load import make_kernel
from lem.probes import load_probes
from lem.records import Sampling
from lem.runs import make_plan, read_responses


def conditions():
    """Small kernels keep the real runs short."""
    kernels = [
        make_kernel("one", "Weigh who is hurt and who decides. " * 2, "test"),
        make_kernel("two", "Say plainly what you would do and why. " * 2, "test"),
    ]
    return choose(all_conditions(kernels), None, controls=False)


def plan_of(engine, probes=6, samples=1, **sampling):
    fields = {"max_tokens": 400, "temperature": 0.7 if samples > 1 else 0.0} | sampling
    return make_plan(engine, load_probes("P20")[:probes], conditions(), Sampling(**fields), samples)


@pytest.fixture
def make():
    """Engines that are closed after the test."""
    made = []

    def engine(model="echo", workers=2, **options):
        made.append(WorkersEngine(model, EngineOptions(workers=workers, **options)))
        return made[-1]

    yield engine
    for one in made:
        one.close()


@pytest.fixture
def child(monkeypatch):
    """Have workers that do something else first, such as changing the engine they will load."""

    def change(code):
        start = f"import os, sys\nfrom lem.engines import replay, worker\n{code}\nworker.main()\n"
        monkeypatch.setattr(room, "COMMAND", (sys.executable, "-c", start))

    return change


#: For `child`: what the engine does before each answer.
BEFORE = """
answer = replay.EchoEngine._answer
def changed(self, request):
    {}
    return answer(self, request)
replay.EchoEngine._answer = changed
"""

#: For `child`: whether this worker is the first one that started.
FIRST = """
import time
try:
    os.mkdir({!r})
    first = True
except FileExistsError:
    first = False
"""


def answers(engine, plan, meter=None):
    return list(engine.generate(plan.requests, meter or Meter()))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_within(seconds, pids):
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def assert_complete(plan, responses):
    """Nothing lost, nothing doubled, nothing mistaken."""
    assert sorted(r.key for r in responses) == sorted(r.key for r in plan.requests)


# --- who gets what


def test_every_share_has_its_part_of_every_condition_in_order():
    plan = plan_of(resolve("echo"), probes=7, samples=2)
    dealt = lists.shares(plan.requests, 3)
    assert sorted(r.key for share in dealt for r in share) == sorted(r.key for r in plan.requests)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 2  # one prompt more or less
    place = {r.key: i for i, r in enumerate(plan.requests)}
    for share in dealt:
        assert [place[r.key] for r in share] == sorted(place[r.key] for r in share)
        for condition in ("baseline", "one", "two"):
            mine = [r for r in share if r.condition == condition]
            assert 4 <= len(mine) <= 6
            assert {(r.probe, r.sample) for r in mine} == {
                (r.probe, sample) for r in mine for sample in range(2)
            }
    assert len(lists.shares(plan.requests[:2], 3)) == 1  # two samples of one prompt


def test_portions_end_between_conditions_and_shrink_where_a_worker_ended(monkeypatch):
    monkeypatch.setattr(lists, "PORTIONS", (10, 3, 1))
    requests = plan_of(resolve("echo")).requests  # three conditions of six
    work, wanted = lists.WorkList(), {r.key for r in requests}
    work.queue.extend(requests)
    assert work.next_portion({}, wanted) == requests[:6]
    deaths = {r.key: 1 for r in requests[6:11]} | {requests[11].key: 2, requests[12].key: 2}
    sizes = []
    while portion := work.next_portion(deaths, wanted - {requests[17].key}):
        sizes.append(len(portion))
    assert sizes == [3, 2, 1, 1, 4] and not work.queue


def test_what_is_spare_is_told_from_how_many_run_side_by_side(monkeypatch):
    work, requests = lists.WorkList(), plan_of(resolve("echo")).requests
    now = [100.0]
    monkeypatch.setattr(lists.time, "monotonic", lambda: now[0])
    work.send(requests)
    now[0] += 1.9
    assert work.spare(patience=0) == 0
    now[0] += 8.1
    assert work.spare(patience=11) == 0  # it may well be at its first answers
    assert work.spare(patience=9) == 9  # or else it hangs
    for request in requests[:4]:
        work.answer(request.key, seconds=10.0)
    assert work.spare(patience=11) == 3  # 14 left, 4 of them and 4 more are its own
    for request in requests[4:10]:
        work.answer(request.key, seconds=10.0)
    assert work.spare(patience=11) == 0


# --- the same as one process


@pytest.mark.parametrize("model", ["echo", "planted:3", "replay"])
def test_the_texts_are_those_of_one_process(make, tmp_path, model):
    if model == "replay":
        run_ab(Experiment(model="echo", limit=4, max_tokens=400), folder=tmp_path / "log")
        model = f"replay:{tmp_path / 'log'}"
        experiment = Experiment(model=model, limit=4, max_tokens=400)
        alone = run_ab(experiment, folder=tmp_path / "alone")
        plan, one = alone.plan, alone.responses
    else:
        alone = resolve(model)
        plan = plan_of(alone)
        one = answers(alone, plan)
    engine, meter = make(model), Meter()
    assert engine.info == resolve(model).info
    together = answers(engine, plan, meter)
    assert_complete(plan, together)
    told = ("final", "finish_reason", "prompt_tokens", "completion_tokens", "seed")
    assert {r.key: [getattr(r, f) for f in told] for r in together} == {
        r.key: [getattr(r, f) for f in told] for r in one
    }
    assert meter.prefilled == sum(r.prompt_tokens for r in one)
    assert meter.generated == sum(r.completion_tokens for r in one)


def test_any_unicode_passes_the_pipes(make):
    engine = make("echo")
    plan = plan_of(engine, probes=1)
    text = "line\u2028separator\x85 and \ud800 and \n"
    changed = [
        r.model_copy(update={"messages": [{"role": "user", "content": text}], "prompt": text})
        for r in plan.requests
    ]
    one = {r.key: r.final for r in resolve("echo").generate(changed, Meter())}
    assert {r.key: r.final for r in engine.generate(changed, Meter())} == one


def test_each_worker_computes_each_kernel_once(make, model_path, monkeypatch):
    monkeypatch.setattr(lists, "PATIENCE", 1e9)  # a busy machine must not make them help out
    workers, meter = make("smollm2-135m"), Meter()
    alone = LlamaEngine(model_path, NAME, threads=1)
    plan = plan_of(workers, probes=4, max_tokens=8)
    assert plan.requests == plan_of(alone, probes=4, max_tokens=8).requests
    responses = answers(workers, plan, meter)
    assert_complete(plan, responses)
    asked = sum(len(r.token_ids) for r in plan.requests)
    shared = 0
    for share in lists.shares(plan.requests, 2):
        for condition in ("baseline", "one", "two"):
            prompts = [r.token_ids for r in share if r.condition == condition]
            shared += common_prefix(prompts) * (len(prompts) - 1)
    assert meter.shared == shared > 0 and meter.prefilled == asked - shared
    assert meter.generated == sum(
        r.completion_tokens + (r.finish_reason == "stop") for r in responses
    )
    together = {r.key: r.final for r in responses}
    one = {r.key: r.final for r in alone.generate(plan.requests[4:7], Meter())}
    alone.close()
    same = [together[key].split()[:1] == text.split()[:1] for key, text in one.items()]
    assert sum(same) >= 2  # of 3: sums in another order may flip a near-tie


# --- faults


def test_a_killed_worker_loses_and_doubles_nothing(make):
    said = []
    engine = make("echo:0.03", say=said.append)
    plan = plan_of(engine, probes=10)
    responses = []
    for response in engine.generate(plan.requests, Meter()):
        responses.append(response)
        if len(responses) in (4, 15):
            os.kill(engine.pids[0], signal.SIGKILL)
    assert_complete(plan, responses)
    killed = [line for line in said if "was killed" in line]
    assert len(killed) == 2 and "it is started again" in killed[0]
    assert len(engine.pids) == 2
    assert_complete(plan, answers(engine, plan))  # and all of them go on to the next call


def test_a_request_that_ends_its_workers_is_named_when_all_others_are_done(make, child):
    probe = load_probes("P20")[2].id
    trap = f'request.probe == "{probe}" and request.condition == "one" and os.kill(os.getpid(), 9)'
    child(BEFORE.format(trap))
    engine = make("echo")
    plan = plan_of(engine)
    responses = []
    with pytest.raises(LemError) as caught:
        responses.extend(engine.generate(plan.requests, Meter()))
    assert f"{probe} under 'one' (sample 0) ended 3 worker processes" in caught.value.cause
    assert "was killed" in caught.value.cause and "It has no answer" in caught.value.consequence
    missing = {(r.probe, r.condition) for r in plan.requests} - {
        (r.probe, r.condition) for r in responses
    }
    assert missing == {(probe, "one")} and len(responses) == len(plan.requests) - 1


def test_workers_that_cannot_start_end_the_run_with_what_they_said(make, child, monkeypatch):
    child("sys.exit('no such library: libfoo')")
    monkeypatch.setattr(room, "MOST_RESTARTS", 1)
    engine = make("echo")
    with pytest.raises(LemError) as caught:
        answers(engine, plan_of(engine))
    assert "ended with exit status 1" in caught.value.cause
    assert "no such library: libfoo" in caught.value.cause
    assert "18 requests have no answer" in caught.value.consequence


def test_a_hung_worker_does_not_hold_up_the_end(make, child, monkeypatch, tmp_path):
    """The first to start hangs after two answers; the other answers all the rest."""
    monkeypatch.setattr(lists, "PATIENCE", 0.2)
    hang = "time.sleep(600) if len(done) == 2 else done.append(0)"
    child(
        FIRST.format(str(tmp_path / "taken"))
        + "done = []\n"
        + BEFORE.format(f"if first: {hang}\n    time.sleep(0.01)")
    )
    engine = make("echo")
    plan = plan_of(engine)
    began = time.monotonic()
    assert_complete(plan, answers(engine, plan))
    assert_complete(plan, answers(engine, plan))  # it still hangs; the other does it all
    assert time.monotonic() - began < 120  # it would hang for 600
    pids = engine.pids
    engine.close()
    assert len(pids) == 2 and ends_within(5, pids)


def test_an_error_in_a_worker_is_the_same_error(make, tmp_path):
    run_ab(Experiment(model="echo", limit=3, max_tokens=400), folder=tmp_path / "log")
    log = tmp_path / "log" / "responses.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if json.loads(line)["condition"] != "txt"))
    model = f"replay:{log}"
    sampling = Sampling(max_tokens=400)
    kernels = [make_kernel(name, f"Weigh who is hurt, {name}.", "test") for name in ("json", "txt")]
    arms = choose(all_conditions(kernels), None, controls=False)
    plan = make_plan(resolve(model), load_probes("P20")[:3], arms, sampling)
    with pytest.raises(LemError) as alone:
        answers(resolve(model), plan)
    engine = make(model)
    got = []
    with pytest.raises(LemError) as caught:
        got.extend(engine.generate(plan.requests, Meter()))
    assert caught.value.cause.startswith(f"{log} holds no answer for probe")
    assert caught.value.args[1:] == alone.value.args[1:]
    there = [r for r in plan.requests if r.condition != "txt"]
    assert {r.key for r in got} <= {r.key for r in there}
    assert len(list(engine.generate(there, Meter()))) == len(there)


def test_an_error_about_an_earlier_call_is_forgotten(make, child, tmp_path):
    broken = tmp_path / "broken"
    broken.touch()
    fail = f"time.sleep(0 if first else 0.7); raise LemError({str(broken)!r}, 'b', 'c')"
    child(
        FIRST.format(str(tmp_path / "taken"))
        + "from lem.errors import LemError\n"
        + BEFORE.format(f"if os.path.exists({str(broken)!r}): {fail}")
    )
    engine = make("echo")
    plan = plan_of(engine, probes=2)
    with pytest.raises(LemError, match="broken"):
        answers(engine, plan)
    broken.unlink()
    assert_complete(plan, answers(engine, plan))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("EngineInfo", "engine_version"),
        ("version", "version of lem"),
    ],
)
def test_a_worker_with_other_libraries_is_refused(make, child, change, what):
    if change == "version":
        child("worker.__version__ = '0.0.1'")
    else:
        child(
            "make = replay.EngineInfo\n"
            "replay.EngineInfo = lambda **f: make(**f | {'engine_version': '2'})"
        )
    engine = make("echo")
    with pytest.raises(LemError, match=f"runs another {what}") as caught:
        answers(engine, plan_of(engine))
    assert "would be mixed" in caught.value.consequence


@pytest.mark.parametrize(
    "garbage",
    [
        r"b'Segmentation what?\n'",
        r"""b'{"answer": {"key": "k"}, "meter": {}}\n'""",
        r"b'[' * 100000 + b'\n'",
        r"""b'{"meter": {"prefilled": 0, "shared": 0, "generated": 0, "retries": 0}, "x": 1}\n'""",
    ],
)
def test_a_worker_that_writes_garbage_is_named(make, child, garbage):
    child(f"os.write(1, {garbage})")
    engine = make("echo")
    with pytest.raises(LemError, match=r"Worker \d wrote something that is no answer"):
        answers(engine, plan_of(engine))


def test_an_answer_that_nobody_asked_for_is_garbage(make, child):
    child(
        "finished = replay.finished\n"
        "replay.finished = lambda r, **f: finished(r, **f).model_copy(update={'key': 'k'})"
    )
    engine = make("echo")
    with pytest.raises(LemError, match="is no answer to what it was asked"):
        answers(engine, plan_of(engine))


def test_what_libraries_print_and_read_does_not_disturb(make, child):
    child(BEFORE.format("print('x'); os.system('echo y; cat'); assert not sys.stdin.read()"))
    engine = make("echo")
    plan = plan_of(engine, probes=2)
    assert_complete(plan, answers(engine, plan))


# --- beginnings and ends


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_workers import *
engine = WorkersEngine({model!r}, EngineOptions(workers=2))
try:
    for number, _ in enumerate(engine.generate(plan_of(engine).requests, Meter())):
        if number == 1:
            print(*engine.pids, flush=True)
finally:
    engine.close()
"""


def start_script(model):
    """A process with two workers in the midst of their work, and their ids."""
    code = SCRIPT.format(tests=str(Path(__file__).parent), model=model)
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_running, pids))
    return parent, pids


def test_no_orphans_are_left_by_a_killed_parent():
    parent, pids = start_script("echo:0.5")
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert ends_within(5, pids)


def test_ctrl_c_ends_all_at_once():
    parent, pids = start_script("echo:0.5")
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does, to parent and workers alike
    _, said = parent.communicate(timeout=60)
    assert parent.returncode in (-signal.SIGINT, 1) and b"KeyboardInterrupt" in said
    assert not any(map(is_running, pids))


def test_closing_ends_a_worker_that_will_not(make, child):
    child(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os._exit = lambda code: None"
    )
    engine = make("echo:0.3")
    stream = engine.generate(plan_of(engine).requests, Meter())
    next(stream)
    pids = engine.pids
    began = time.monotonic()
    engine.close()
    assert not any(map(is_running, pids)) and 0.9 < time.monotonic() - began < 30
    engine.close()


def test_closing_early_leaves_a_usable_engine(make):
    engine = make("echo:0.01")
    plan = plan_of(engine)
    stream = engine.generate(plan.requests, Meter())
    next(stream)
    pids = engine.pids
    stream.close()
    assert_complete(plan, answers(engine, plan))
    assert engine.pids == pids
    assert answers(engine, plan_of(engine, probes=1))[0].final.startswith("Echo: ")
    assert list(engine.generate([], Meter())) == []


def test_planning_starts_nobody(make):
    engine = make("echo", workers=3)
    plan = plan_of(engine, probes=1)
    assert engine.facts.system == "supported" and engine.pids == []
    assert len(answers(engine, plan)) == 3 and len(engine.pids) == 3
    assert engine.foreign_tokens("a<|im_end|>") and not engine.foreign_tokens("a")


def test_servers_do_not_go_with_workers():
    options = EngineOptions(workers=2, base_urls=("http://127.0.0.1:9/v1",))
    with pytest.raises(LemError, match="not for servers"):
        WorkersEngine("openai:x", options)


# --- the machine


def test_workers_are_spread_over_devices_and_share_what_there_is(make, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(machine, "usable_cores", lambda: 10)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plain = make("echo", workers=4)
    for worker in plain._workers:
        assert plain._options_of(worker)["device"] is None
    engine = make("echo", workers=4)
    info = engine.info.model_copy(update={"engine": "transformers"})
    monkeypatch.setattr(engine._planner, "info", info)
    devices = [engine._options_of(worker)["device"] for worker in engine._workers]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    worker = engine._workers[3]
    assert engine._options_of(worker)["threads"] == 2
    assert {"say", "workers"}.isdisjoint(engine._options_of(worker))
    worker.starts = 1
    environment = engine._environment(worker)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert float(environment["LEM_MEMORY_SHARE"]) == 1 / 4
    assert float(environment["LEM_DEVICE_MEMORY_SHARE"]) == 1 / 2
    worker.starts = 2  # it ended, perhaps for its memory
    assert float(engine._environment(worker)["LEM_MEMORY_SHARE"]) == 1 / 8
    named = make("echo", workers=2, threads=3)
    named.options = dataclasses.replace(named.options, device="cuda:1")
    monkeypatch.setattr(named._planner, "info", info)
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    assert [named._options_of(w)["device"] for w in named._workers] == ["cuda:1"] * 2
    assert named._environment(named._workers[0])["OMP_NUM_THREADS"] == "3"


def files(root, contents):
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


MOUNT = "31 23 0:28 / {place} rw,relatime - {kind} cgroup rw,{options}\n"


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A machine with 1 GB free and 8 cores."""
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv(machine.MEMORY_SHARE, raising=False)
    files(tmp_path, {"proc/meminfo": "MemTotal: 9999999 kB\nMemAvailable: 1000000 kB\n"})
    return tmp_path


def test_limits_of_a_version_2_group_and_of_those_around_it(proc):
    assert (machine.usable_cores(), machine.free_memory()) == (8, 1_024_000_000)
    mount = MOUNT.format(place=proc / "cg", kind="cgroup2", options="nsdelegate")
    inner, outer = "cg/outer/inner", "cg/outer"
    files(proc, {"proc/self/cgroup": "0::/outer/inner\n", "proc/self/mountinfo": mount})
    files(proc, {f"{inner}/memory.max": "max\n", f"{inner}/cpu.max": "max 100000\n"})
    files(proc, {f"{outer}/memory.max": "500000000\n", f"{outer}/cpu.max": "250000 100000\n"})
    files(proc, {f"{outer}/memory.current": "300000000\n", f"{inner}/memory.current": "5\n"})
    files(proc, {f"{outer}/memory.stat": "anon 1\ninactive_file 50000000\n"})
    assert (machine.usable_cores(), machine.free_memory()) == (2, 250_000_000)
    files(proc, {f"{outer}/memory.current": "600000000\n", f"{outer}/cpu.max": "5000 100000"})
    assert (machine.usable_cores(), machine.free_memory()) == (1, 0)


def test_limits_of_version_1_groups_where_the_mount_is_the_group(proc, monkeypatch):
    mounts = MOUNT.format(place=proc / "mem", kind="cgroup", options="memory")
    mounts += MOUNT.format(place=proc / "cpu", kind="cgroup", options="cpu,cpuacct")
    groups = "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n"
    files(proc, {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts})
    files(proc, {"mem/memory.limit_in_bytes": "200000000", "mem/memory.usage_in_bytes": "100"})
    files(proc, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"})
    assert (machine.usable_cores(), machine.free_memory()) == (3, 199_999_900)
    files(proc, {"cpu/cpu.cfs_quota_us": "-1", "mem/memory.limit_in_bytes": "9223372036854771712"})
    assert (machine.usable_cores(), machine.free_memory()) == (8, 1_024_000_000)
    monkeypatch.setenv(machine.MEMORY_SHARE, "0.25")
    assert machine.free_memory() == 256_000_000
    for nonsense in ("", "x", "0", "-1", "7", "nan"):
        monkeypatch.setenv(machine.MEMORY_SHARE, nonsense)
        assert machine.memory_share() == 1


# --- a whole run


def test_a_run_with_workers_is_resumed_by_one_process(tmp_path):
    """The log of several workers, cut short, is gone on with by one, and the other way round."""
    experiment = Experiment(model="echo", limit=6, max_tokens=400)
    one = run_ab(experiment, folder=tmp_path / "one")
    two = run_ab(experiment, folder=tmp_path / "two", options=EngineOptions(workers=2))
    assert {r.key: r.final for r in one.responses} == {r.key: r.final for r in two.responses}
    log = tmp_path / "two" / "responses.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:7]))
    again = run_ab(experiment, folder=tmp_path / "two")
    assert again.new_answers == len(one.responses) - 7
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:9]))
    run_ab(experiment, folder=tmp_path / "two", options=EngineOptions(workers=2))
    assert len(read_responses(tmp_path / "two")) == len(one.responses)


def children_of(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("the system does not list children")
    return [int(word) for word in listed.read_text().split()]


def test_lem_ab_survives_the_loss_of_a_worker(tmp_path):
    command = [sys.executable, "-m", "lem", "ab", "--model", "echo:0.05", "--workers", "2"]
    command += ["--max-tokens", "300", "--run", str(tmp_path / "run")]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = tmp_path / "run" / "responses.jsonl"
    while run.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.01)
    workers = children_of(run.pid)
    os.kill(workers[0], signal.SIGKILL)
    said = " ".join(run.communicate(timeout=120)[1].decode().split())
    assert run.returncode == 0, said
    assert "was killed, as the system does" in said and "it is started again" in said
    assert len(read_responses(tmp_path / "run")) == 63
    assert not any(map(is_running, workers))
