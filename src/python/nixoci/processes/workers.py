"""Runs tasks in a few forked processes: threads would wait for the interpreter's lock."""

from __future__ import annotations

import gc
import os
import select
import struct

from nixoci.errors import NixOciError
from nixoci.processes.overlapped_hash import describe_status, end_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Sequence

#: Index of a task, length of an answer.
_NUMBER = struct.Struct("=I")

#: What an answer begins with; the rest is the result, or a pickled failure.
_RESULT = b"+"
_FAILURE = b"-"


class WorkerProcessError(NixOciError):
    """A process failed in a way that is no fault of its input.

    :param task: what it did, for people.
    :param status: as `os.waitpid` gives it, or None if it could not be learned.
    :param detail: the traceback, if the process could still tell.
    """

    def __init__(self, task: str, status: Optional[int], detail: str) -> None:
        self.task = task
        self.status = status
        self.detail = detail
        how = "failed" if detail else describe_status(status)
        super().__init__(f"The process that {task} {how}.", detail.rstrip())


class WorkerProcesses:
    """A few processes that take one task after the other.

    :param work: what a process does, given the index of its task; returns the result.
    :param tasks: by index, what the process does, to complete `The process that …`.
    """

    def __init__(self, work: Callable[[int], bytes], tasks: Sequence[str]) -> None:
        self._work = work
        self._tasks = tasks
        #: By the descriptor that its answers come from.
        self._workers: dict[int, _Worker] = {}
        self._poll = select.poll()

    def run(self, order: Sequence[int], jobs: int) -> list[bytes]:
        """Returns the results by index.

        :param order: the indices in the order in which they start.
        :param jobs: processes at the same time.
        :raises WorkerProcessError: a process died.
        :raises NixOciError: what `work` raised first; all processes are killed.
        """
        results: dict[int, bytes] = {}
        waiting = iter(order)
        try:
            for _ in range(min(jobs, len(order))):
                self._give(self._start(), next(waiting))
            while len(results) < len(order):
                for reader, _ in self._poll.poll():
                    worker = self._workers[reader]
                    results[worker.index] = self._result(worker)
                    index = next(waiting, None)
                    if index is not None:
                        self._give(worker, index)
            # Nothing is left to do, and a process that learns so ends by itself.
            for worker in list(self._workers.values()):
                self._end(worker, kill=False)
        finally:
            for worker in list(self._workers.values()):
                self._end(worker, kill=True)
        return [results[index] for index in range(len(order))]

    def _start(self) -> _Worker:
        tasks, to_worker = os.pipe()
        from_worker, answers = os.pipe()
        process = os.fork()
        if not process:
            # Nothing of the parent's state may be unwound here, whatever happens.
            try:
                gc.disable()
                # Ends of the parent's that stayed open here would hide the parent's death.
                for descriptor in (to_worker, from_worker):
                    os.close(descriptor)
                for worker in self._workers.values():
                    os.close(worker.to_worker)
                    os.close(worker.from_worker)
                self._serve(tasks, answers)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(tasks)
        os.close(answers)
        worker = self._workers[from_worker] = _Worker(process, to_worker, from_worker)
        self._poll.register(from_worker, select.POLLIN)
        return worker

    def _serve(self, tasks: int, answers: int) -> None:
        with open(answers, "wb") as pipe:
            while True:
                task = os.read(tasks, _NUMBER.size)
                if not task:
                    return
                answer = self._answer(_NUMBER.unpack(task)[0])
                pipe.write(_NUMBER.pack(len(answer)) + answer)
                pipe.flush()

    def _answer(self, index: int) -> bytes:
        """Returns what the parent gets to know: the result, or an error, or a traceback."""
        try:
            return _RESULT + self._work(index)
        except NixOciError as error:
            from pickle import dumps

            # An error's constructor takes other arguments than `args`, so its parts are sent.
            return _FAILURE + dumps((type(error), error.args, vars(error)))
        except BaseException:
            from pickle import dumps
            from traceback import format_exc

            return _FAILURE + dumps((None, format_exc(), {}))

    def _give(self, worker: _Worker, index: int) -> None:
        worker.index = index
        try:
            os.write(worker.to_worker, _NUMBER.pack(index))
        except BrokenPipeError:
            # It is dead, which shows when its answer is read.
            pass

    def _result(self, worker: _Worker) -> bytes:
        answer = b""
        size = _NUMBER.size
        while len(answer) < size:
            part = os.read(worker.from_worker, size - len(answer))
            if not part:
                raise WorkerProcessError(self._tasks[worker.index], self._end(worker, kill=True), "")
            answer += part
            if size == len(answer) == _NUMBER.size:
                size += _NUMBER.unpack(answer)[0]
        kind, content = answer[_NUMBER.size : _NUMBER.size + 1], answer[_NUMBER.size + 1 :]
        if kind == _RESULT:
            return content
        from pickle import loads

        # The bytes come from our own child through a pipe that nobody else has.
        error_type, arguments, facts = loads(content)
        if error_type is None:
            raise WorkerProcessError(self._tasks[worker.index], None, arguments)
        error = error_type.__new__(error_type)
        error.args = arguments
        vars(error).update(facts)
        raise error

    def _end(self, worker: _Worker, *, kill: bool) -> Optional[int]:
        """Ends a process (whatever it does, if `kill`) and returns its status."""
        del self._workers[worker.from_worker]
        self._poll.unregister(worker.from_worker)
        os.close(worker.from_worker)
        os.close(worker.to_worker)
        return end_process(worker.process, kill=kill)


class _Worker:
    """A process, the pipes to and from it, and the index of the task that it has."""

    def __init__(self, process: int, to_worker: int, from_worker: int) -> None:
        self.process = process
        self.to_worker = to_worker
        self.from_worker = from_worker
        self.index = -1
