"""Runs a test's function as several ranks: processes of one gloo group on this machine."""

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 240  # seconds for all ranks to answer
HEAVY = ("vidgen.mesh", "vidgen.engine.train", "vidgen.weights.shards", "vidgen_zero.engine", "vidgen_stdit.stdit3")
PRELOADED = [*HEAVY, *(plugin.value for plugin in entry_points(group="vidgen"))]
"""What takes seconds to import, once for all ranks of a session."""


class Rank(NamedTuple):
    """A process, and the connection that its answer comes by."""

    pid: int
    answers: Connection
    process: BaseProcess


def on_ranks(function: Callable[..., Any], size: int, *arguments: Any) -> list[Any]:
    """What `function(world, *arguments)` returns on each of `size` ranks; `world` is `vidgen.mesh.connect`'s.

    function: of a module's top level. Arguments and results are pickled: plain data and CPU tensors.
    Raises: AssertionError, with the first rank's traceback, when one fails or gives no answer.
    """
    with started(function, size, *arguments) as processes:
        return [_answer(rank, process.answers) for rank, process in enumerate(processes)]


@contextmanager
def started(function: Callable[..., Any], size: int, *arguments: Any) -> Iterator[list["Rank"]]:
    """As `on_ranks`, without waiting for answers. At the end the ranks have a few seconds to end by themselves."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    where = (function.__code__.co_filename, function.__name__)
    port, ranks = _free_port(), []
    for rank in range(size):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_rank, args=(theirs, rank, size, port, where, arguments), daemon=True)
        process.start()
        theirs.close()
        ranks.append(Rank(process.pid or 0, ours, process))
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.process.join(timeout=5)
            rank.process.kill()


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
