"""kill -9 at any moment loses no finished answer."""

import random
import signal
import subprocess
import sys
import time

from lem.ab import Experiment, run_ab
from lem.runs import read_responses

KILLS = 20


def test_sigkill_at_20_random_moments(tmp_path, model_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"Kernel {name}: weigh who is hurt. " * 8)
    arguments = ["ab", "--kernel", f"one={tmp_path / 'one.txt'}"]
    arguments += ["--kernel", f"two={tmp_path / 'two.txt'}", "--max-tokens", "24"]
    arguments += ["--parallel", "4", "--quiet", "--run", str(tmp_path / "killed")]
    command = [sys.executable, "-m", "lem", *arguments]
    rng = random.Random(1)
    kept: dict[str, str] = {}
    hit = 0
    for number in range(KILLS):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        log = tmp_path / "killed" / "responses.jsonl"
        before = log.stat().st_size if log.exists() else 0
        while process.poll() is None and (not log.exists() or log.stat().st_size <= before):
            time.sleep(0.01)  # wait for an answer of its own, so that every kill hits at work
            if number % 4 == 0:
                break  # but every fourth kill may also hit the start
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        hit += process.wait() == -signal.SIGKILL
        if log.exists():
            raw = log.read_bytes()
            assert raw[: raw.rfind(b"\n") + 1].count(b"\n") >= len(kept)
        found = {r.key: r.model_dump_json() for r in read_responses(tmp_path / "killed")}
        assert kept.items() <= found.items()  # whatever was finished is there, unchanged
        kept = found
    assert hit >= KILLS // 2, "most kills came after the end: make the run longer"
    assert len(kept) > 0
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    responses = read_responses(tmp_path / "killed")
    assert kept.items() <= {r.key: r.model_dump_json() for r in responses}.items()
    unbroken = run_ab(
        Experiment(
            kernels=[(n, str(tmp_path / f"{n}.txt")) for n in ("one", "two")], max_tokens=24
        ),
        folder=tmp_path / "unbroken",
    )
    keys = [r.key for r in responses]
    assert len(keys) == len(set(keys)) == 63
    assert set(keys) == {r.key for r in unbroken.responses}
