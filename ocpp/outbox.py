"""What has to reach the central system, in order, however often the connection is lost."""

import asyncio

from micropython import const

from .rpc import CallError, until

_PAUSE = const(30_000)  # ms before a message that wasn't answered is sent again on the same connection


class Outbox:
    """Sends what is in its queues, one message at a time; the queue added first goes first.

    A queue has peek() -> (action, payload) of its head, or None, and pop(answer), which forgets the head for good;
    answer: the payload, None for a CALLERROR, after which a queue may also keep its head and give it again when it
    wants to. Until pop() is called peek() gives the same head, since it may have to be sent again. A queue that gets
    something new to send, or is ready to give its head, calls wake().
    """

    def __init__(self, log=print, pause=_PAUSE):
        self._log = log
        self.pause = pause
        self._queues = []
        self._news = asyncio.Event()

    def add(self, queue):
        """Send what is in this queue, too."""
        self._queues.append(queue)

    def wake(self):
        """There is something new in a queue, or a reason to try again."""
        self._news.set()

    async def run(self, session):
        """Send for ever, while the session is registered."""
        while True:
            await session.accepted.wait()
            self._news.clear()
            for queue in self._queues:
                if await self._deliver(session, queue):
                    break
            else:
                await self._news.wait()

    async def _deliver(self, session, queue):
        """Send the head of a queue. Return whether there was one."""
        action = "the next message"
        answer = None
        try:
            head = queue.peek()
            if not head:
                return False
            action, payload = head
            try:
                answer = await session.call(action, payload)
            except CallError as error:
                # An answer, too: the central system has it, and doesn't want it.
                self._log("%s was answered with %s" % (action, error))
            queue.pop(answer)
        except (OSError, MemoryError) as error:
            self._log("%s will be sent again: %s" % (action, error))
            await until(self._news, self.pause)
        return True
