"""The library inside a process that is not its own: fork, signals, exit, environment."""

from __future__ import annotations

import signal
import subprocess

import pytest
from abi_host import RunC, RunPython


def test_every_function_says_forked_in_a_child(run_python: RunPython) -> None:
    """O16."""
    result = run_python(
        """
start()
channel.submit(refused([1]))
def in_child():
    signal.alarm(20)
    out, n, made = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_uint64(1)
    c = host.c
    for name in OPERATIONS:
        reply = host.call(engine, name, b"{}")
        assert (reply.status, reply.code) == (FORKED, "forked"), name
        assert getattr(c, "wf_" + name)(engine, None, 9, None, None) == FORKED
    status, handle, error = host.open(b"{}")
    assert (status, handle, error["error"]["code"]) == (FORKED, 0, "forked")
    assert c.wf_open(None, 9, None, None) == FORKED
    assert c.wf_close(engine, 1000) == FORKED
    assert c.wf_channel_open(engine, ctypes.byref(made)) == FORKED and made.value == 0
    assert c.wf_channel_open(engine, None) == FORKED
    assert c.wf_channel_close(channel.handle) == FORKED
    assert c.wf_channel_fd(channel.handle) == FORKED
    assert channel.submit(refused([2])) == FORKED
    assert c.wf_submit(channel.handle, None, 9) == FORKED
    assert c.wf_drain(channel.handle, 1, ctypes.byref(out), ctypes.byref(n)) == FORKED
    assert c.wf_drain(channel.handle, 1, None, None) == FORKED
    assert channel.wait(-1) == FORKED
    assert channel.cancel(1) == FORKED
    assert c.wf_main(0, None) == FORKED
    assert c.wf_abi_version() == 1 and b'"abi":1' in c.wf_build_info()
    c.wf_free(None)
tested = {"wf_" + name for name in OPERATIONS} | {
    "wf_open", "wf_close", "wf_channel_open", "wf_channel_close", "wf_channel_fd", "wf_submit",
    "wf_drain", "wf_wait", "wf_cancel", "wf_main", "wf_abi_version", "wf_build_info", "wf_free"}
assert tested == set(DECLARED)
started = time.monotonic()
child = os.fork()
if child == 0:
    try:
        in_child()
        grandchild = os.fork()
        if grandchild == 0:
            in_child()
            os._exit(0)
        os._exit(os.waitpid(grandchild, 0)[1] != 0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
assert os.waitpid(child, 0)[1] == 0
assert time.monotonic() - started < 5
assert list(channel.await_(1)) == [1]  # the parent goes on
"""
    )
    assert result.returncode == 0, result.stderr


def test_loading_alone_is_enough_for_forked(run_python: RunPython) -> None:
    """O16."""
    result = run_python(
        """
host = Host()
child = os.fork()
if child == 0:
    signal.alarm(20)
    ok = host.open(config)[0] == FORKED and b"operations" in host.c.wf_build_info()
    sys.exit(not ok)  # with all that Python does at exit
assert os.waitpid(child, 0)[1] == 0
"""
    )
    assert result.returncode == 0, result.stderr


def test_a_child_that_execs_starts_anew(run_python: RunPython) -> None:
    result = run_python(
        """
import subprocess
start()
code = "from abi_host import *; assert Host().open(b'[]')[0] == ERROR"
subprocess.run([sys.executable, "-c", code], check=True, preexec_fn=lambda: None)
"""
    )
    assert result.returncode == 0, result.stderr


def test_the_process_exits_while_calls_are_in_flight(run_python: RunPython) -> None:
    result = run_python(
        """
start()
made = host.call(engine, "create_execution", b'{"items":[{"kind":"job","name":"abi","queue":"x"}]}')
wait = b'{"id":"%s","wait_ms":600000}' % made.body["ok"]["results"][0]["id"].encode()
for token in range(1000):
    assert channel.submit(frame(token, "wait_execution", wait)) == OK
for _ in range(5):
    threading.Thread(target=host.call, args=(engine, "wait_execution", wait), daemon=True).start()
    threading.Thread(target=channel.wait, args=(-1,), daemon=True).start()
time.sleep(0.2)
print("leaving")
"""
    )
    assert (result.returncode, result.stdout) == (0, "leaving\n"), result.stderr


def test_ctrl_c_interrupts_a_wait_in_slices(run_python: RunPython) -> None:
    result = run_python(
        """
# A shell that runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
start()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
started = time.monotonic()
try:
    while channel.wait(100) == TIMEOUT:
        pass
except KeyboardInterrupt:
    print("interrupted")
assert 0.25 < time.monotonic() - started < 2
"""
    )
    assert result.stdout == "interrupted\n", result.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGQUIT", "SIGPIPE"])
def test_signals_still_reach_the_host(run_python: RunPython, name: str) -> None:
    result = run_python(
        f"""
heard = []
before = signal.getsignal(signal.{name})
start()
assert signal.getsignal(signal.{name}) == before
signal.signal(signal.{name}, lambda number, _: heard.append(number))
os.kill(os.getpid(), signal.{name})
channel.wait(10)
assert heard == [signal.{name}], heard
"""
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"])
def test_a_default_action_still_ends_the_process(run_python: RunPython, name: str) -> None:
    result = run_python(
        f"""
signal.signal(signal.{name}, signal.SIG_DFL)
start()
os.kill(os.getpid(), signal.{name})
time.sleep(10)
"""
    )
    assert result.returncode == -getattr(signal, name), result.stderr


def test_a_broken_pipe_is_still_an_exception(run_python: RunPython) -> None:
    result = run_python(
        """
start()
r, w = os.pipe()
os.close(r)
try:
    os.write(w, b"x")
except BrokenPipeError:
    print("broken")
"""
    )
    assert result.stdout == "broken\n", result.stderr


@pytest.mark.parametrize(
    ("mode", "status"), [("plain", -signal.SIGPIPE), ("loaded", -signal.SIGPIPE), ("watched", 0)]
)
def test_a_broken_pipe_is_as_before_in_c(
    run_c: RunC, config: bytes, mode: str, status: int
) -> None:
    """Go takes SIGPIPE over; what is not Go's keeps its default action."""
    assert run_c("pipe.c", mode, config.decode()).returncode == status


def test_the_environment_is_read_at_open(run_python: RunPython) -> None:
    result = run_python(
        """
host = Host()
os.environ["WORKFLOWS_DATABASE_URL"] = "no-such-scheme://"
status, _, error = host.open(b"{}")
assert status == ERROR and error["error"]["code"] == "invalid_config", error
del os.environ["WORKFLOWS_DATABASE_URL"]
import json
settings = json.loads(config)
os.environ["WORKFLOWS_DATABASE_URL"] = settings.pop("database_url")
status, engine, error = host.open(json.dumps(settings).encode())
assert status == OK, error
"""
    )
    assert result.returncode == 0, result.stderr


def test_the_command_line_runs(run_python: RunPython) -> None:
    result = run_python(
        """
host = Host()
def main(*args):
    texts = [arg.encode() for arg in args]
    return host.c.wf_main(len(texts), (ctypes.c_char_p * (len(texts) + 1))(*texts, None))
assert main("workflows", "version") == 0
assert main("workflows", "no-such-command") == 2
assert host.c.wf_main(0, None) == 0
assert host.c.wf_main(5, None) == 0
assert host.c.wf_main(-1, None) == 0
argv = (ctypes.c_char_p * 3)(b"workflows", None, b"no-such-command")
assert host.c.wf_main(3, argv) == 0
assert host.c.wf_main(1, (ctypes.c_char_p * 1)(b"workflows")) == 0
"""
    )
    assert result.returncode == 0, result.stderr
    assert "no-such-command" in result.stderr


def test_it_outlives_dlclose(run_python: RunPython) -> None:
    result = run_python(
        """
import _ctypes
start()
_ctypes.dlclose(host.c._handle)
assert channel.submit(refused([1])) == OK
assert list(channel.await_(1)) == [1]
"""
    )
    assert result.returncode == 0, result.stderr


def test_threads_come_and_go(run_python: RunPython) -> None:
    """Each foreign thread that enters Go gets a machine there, which must be given back."""
    result = run_python(
        """
start()
def use():
    for _ in range(20):
        assert host.call(engine, "get_execution", REFUSED).code == "invalid_request"
for _ in range(100):
    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
tasks = len(os.listdir("/proc/self/task"))
assert tasks < 60, tasks
"""
    )
    assert result.returncode == 0, result.stderr


def test_memory_does_not_grow(run_python: RunPython) -> None:
    result = run_python(
        """
start()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def round():
    for _ in range(20_000):
        host.call(engine, "get_execution", REFUSED)
    for first in range(0, 50_000, 500):
        assert channel.submit(refused(range(first, first + 500))) == OK
        channel.await_(500)
    for _ in range(500):
        other = host.channel(engine)
        other.submit(refused(range(20)))
        other.close()
round()
before = resident()
for _ in range(3): round()
grown = resident() - before
assert grown < 16 << 20, grown
"""
    )
    assert result.returncode == 0, result.stderr


def test_descriptors_are_given_back(run_python: RunPython) -> None:
    result = run_python(
        """
start()
def count():
    return len(os.listdir("/proc/self/fd"))
before = count()
for _ in range(200):
    other = host.channel(engine)
    os.close(other.fd())
    assert other.submit(refused(range(5))) == OK
    assert other.close() == OK
deadline = time.monotonic() + 20
while count() > before + 5:  # a reply that is late is still on its way out
    assert time.monotonic() < deadline, (before, count())
    time.sleep(0.01)
"""
    )
    assert result.returncode == 0, result.stderr


def test_threads_that_race_with_closing_are_survived(run_c: RunC, config: bytes) -> None:
    result: subprocess.CompletedProcess[str] = run_c("hammer.c", config.decode(), "20")
    assert result.returncode == 0, result.stderr[-3000:]
