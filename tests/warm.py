"""Runs of the command in processes that have loaded the libraries of training already.

Loading torch and what comes with it takes three seconds, and the suite trains hundreds of times.
Each run is a process of its own all the same: forked from one that has done nothing but import,
with its own folder, environment, arguments and streams. Nothing of ours is loaded before.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

LOADED = ["torch._dynamo", "sklearn.ensemble", "sklearn.metrics", "skl2onnx", "pandas"]


@cache
def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


def run(
    args: list[str], cwd: Path, env: dict[str, str], data: bytes | None, timeout: float
) -> tuple[int, bytes, bytes]:
    """The exit status of ``anoean ARGS``, and what it wrote to stdout and stderr."""
    with TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.touch()
        streams[0].write_bytes(data or b"")
        process = _server().Process(target=_begin, args=(args, cwd, env, streams))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"anoean {args} takes more than {timeout} s")
        return process.exitcode, streams[1].read_bytes(), streams[2].read_bytes()


def _begin(args: list[str], cwd: Path, env: dict[str, str], streams: list[Path]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [str(cwd), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    for number, (stream, mode) in enumerate(zip(streams, "rww", strict=True)):
        with stream.open(mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    sys.argv = ["anoean", *args]
    runpy.run_module("anoean_cli", run_name="__main__", alter_sys=True)
