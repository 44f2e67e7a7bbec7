"""Two processes that form a process group and run functions of the tests, one after another."""

from __future__ import annotations

import os
import socket
import traceback

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _serve(rank, port, connection):
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2"
    )
    dist.init_process_group("gloo")
    while (asked := connection.recv()) is not None:
        function, arguments = asked
        try:
            connection.send((True, function(*arguments)))
        except Exception as error:
            connection.send((False, (error, traceback.format_exc())))
    dist.destroy_process_group()


class TwoRanks:
    """``run(function, …)`` calls a function of a module in both processes."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = mp.get_context("spawn")
        self._connections, self.processes = [], []
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, port, theirs), daemon=True)
            process.start()
            self._connections.append(ours)
            self.processes.append(process)

    def run(self, function, *arguments):
        """Return the results of both ranks; an error of the first one is raised here."""
        for connection in self._connections:
            connection.send((function, arguments))
        results = [connection.recv() for connection in self._connections]
        for fine, result in results:
            if not fine:
                error, trace = result
                print(trace)
                raise error
        return [result for _, result in results]

    def close(self):
        """End both processes."""
        for connection in self._connections:
            connection.send(None)
        for process in self.processes:
            process.join(20)
            process.kill()
