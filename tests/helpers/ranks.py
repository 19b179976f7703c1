"""Runs a test's function as several ranks: processes of one gloo group on this machine."""

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PATIENCE = 240  # seconds for all ranks to answer
PRELOADED = ["vidgen.mesh", "vidgen.engine.train", "vidgen.weights.shards", "vidgen_zero.engine"]
"""What takes seconds to import, once for all ranks of a session."""


def on_ranks(function: Callable[..., Any], size: int, *arguments: Any) -> list[Any]:
    """What `function(world, *arguments)` returns on each of `size` ranks; `world` is `vidgen.mesh.connect`'s.

    function: of a module's top level. Arguments and results are pickled: plain data and CPU tensors.
    Raises: AssertionError, with the first rank's traceback, when one fails or gives no answer.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    where = (function.__code__.co_filename, function.__name__)
    port, started = _free_port(), []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(theirs, rank, size, port, where, arguments), daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    try:
        return [_answer(rank, connection) for rank, (_, connection) in enumerate(started)]
    finally:
        for process, _ in started:
            process.join(timeout=5)
            process.kill()


def _answer(rank: int, connection: Connection) -> Any:
    assert connection.poll(PATIENCE), f"rank {rank} gave no answer in {PATIENCE} s"
    try:
        good, value = pickle.loads(connection.recv_bytes())
    except EOFError:
        raise AssertionError(f"rank {rank} died") from None
    assert good, f"rank {rank}:\n{value}"
    return value


def _rank(
    connection: Connection, rank: int, size: int, port: int, where: tuple[str, str], arguments: tuple[Any, ...]
) -> None:
    import torch
    from vidgen import mesh

    torch.set_num_threads(1)
    launched = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(launched if size > 1 else {})
    try:
        answer = (True, _load(*where)(mesh.connect(torch.device("cpu")), *arguments))
    except BaseException:
        answer = (False, traceback.format_exc())
    connection.send_bytes(pickle.dumps(answer))  # by value: tensors would be sent as memory of this process
    connection.close()
    os._exit(0)  # a rank that failed must not wait for the others


def _load(file: str, name: str) -> Callable[..., Any]:
    spec = spec_from_file_location(Path(file).stem, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
