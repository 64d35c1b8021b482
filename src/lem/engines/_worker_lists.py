"""Who does what: the lists of requests of worker processes, and what one may take over."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping, Sequence

from lem.records import Request

#: Requests of a portion at most, by how many workers have ended while they were asked.
PORTIONS = (1024, 32, 1)
#: Seconds that a worker is left alone with what it has to do. Less is not worth handing around.
PATIENCE = 2.0


def shares(requests: Sequence[Request], count: int) -> list[list[Request]]:
    """Deal requests out so that every share has its part of every condition, in the same order,
    and all samples of one prompt.

    Returns:
        At most ``count`` shares, none of them empty.
    """
    prompts = itertools.groupby(requests, key=lambda r: (r.condition, r.prompt_sha256))
    dealt: list[list[Request]] = [[] for _ in range(count)]
    for number, (_, same) in enumerate(prompts):
        dealt[number % count] += same
    return [share for share in dealt if share]


class WorkList:
    """What one worker has to do: requests it was not sent yet, and one portion that it was."""

    def __init__(self) -> None:
        self.queue: deque[Request] = deque()
        self.asked: dict[str, Request] = {}
        """Of the portion, what has no answer yet."""
        self.dropped: set[str] = set()
        """Of the portion, what needs no answer of this worker any more."""
        self.under_way = False
        self.since = -math.inf
        """When the portion was sent, or the worker started."""
        self.lasted = 0.0
        """Seconds that the last portion took."""
        self._answers, self._busy = 0, 0.0

    def start(self, patiently: bool) -> None:
        """The worker is starting; it is left alone with its queue for a while, or not."""
        self.since = time.monotonic() if patiently else -math.inf

    def next_portion(self, deaths: Mapping[str, int], wanted: Container[str]) -> list[Request]:
        """Take what is to be sent next off the queue.

        Args:
            deaths: of workers, by the key of a request they were asked.
            wanted: keys of the requests that still need an answer.
        """
        portion: list[Request] = []
        limit = times = 0
        while self.queue:
            request = self.queue[0]
            if request.key not in wanted:
                self.queue.popleft()
                continue
            if not portion:
                times = deaths.get(request.key, 0)
                limit = PORTIONS[min(times, len(PORTIONS) - 1)]
            if len(portion) == limit or deaths.get(request.key, 0) != times:
                break
            portion.append(self.queue.popleft())
        return self._end_with_condition(portion)

    def send(self, portion: Iterable[Request]) -> None:
        """A portion is under way."""
        self.asked = {request.key: request for request in portion}
        self.dropped = set()
        self.under_way, self.since = True, time.monotonic()
        self._answers, self._busy = 0, 0.0

    def answer(self, key: str, seconds: float) -> bool:
        """Take note of an answer. False: it was not asked for, or there is another."""
        self._answers += 1
        self._busy += seconds
        return self.asked.pop(key, None) is not None

    def drop(self, keys: Iterable[str]) -> list[str]:
        """Want no answer any more; returns those keys that this worker was asked."""
        mine = [key for key in keys if self.asked.pop(key, None) is not None]
        self.dropped.update(mine)
        return mine

    def finish(self) -> list[Request]:
        """The portion is over; returns what it left without an answer."""
        left = list(self.asked.values())
        self.asked, self.dropped, self.under_way = {}, set(), False
        self.lasted = time.monotonic() - self.since
        return left

    def give(self) -> list[Request]:
        """Give away the second half of what was not sent yet."""
        half = [self.queue.pop() for _ in range((len(self.queue) + 1) // 2)]
        return half[::-1]

    def spare(self, patience: float) -> int:
        """How many of the portion's last requests another worker may as well be asked.

        Answers that took so many seconds each, in so much time, ran so many side by side (Little's
        law). Those are left to it, and as many again; of the others the half.

        Args:
            patience: seconds it may take for the first answer.
        """
        elapsed = time.monotonic() - self.since
        if elapsed < (PATIENCE if self._answers else max(PATIENCE, patience)):
            return 0
        running = self._busy / elapsed
        return max(0, math.ceil((len(self.asked) - 2 * running) / 2))

    def _end_with_condition(self, portion: list[Request]) -> list[Request]:
        """Rather end between two conditions, whose kernels are computed anyway."""
        if portion and self.queue and self.queue[0].condition == portion[-1].condition:
            whole = [r for r in portion if r.condition != portion[-1].condition]
            if 2 * len(whole) >= len(portion):
                self.queue.extendleft(reversed(portion[len(whole) :]))
                return portion[: len(whole)]
        return portion


def take_over(thief: WorkList, others: Sequence[WorkList]) -> None:
    """Put on the queue of a worker that has none what another was not sent yet."""
    now = time.monotonic()
    left = [other for other in others if other.queue and now - other.since >= PATIENCE]
    if left:
        thief.queue.extend(max(left, key=lambda other: len(other.queue)).give())


def double(thief: WorkList, others: Sequence[WorkList], deaths: Container[str]) -> list[Request]:
    """Choose requests that another worker is asked already, for one that has nothing else to do.

    Those that may have ended a worker are not chosen: they would only end another.
    """
    held = Counter(key for other in others for key in other.asked)
    patience = 2 * thief.lasted
    for other in sorted(others, key=lambda other: other.spare(patience), reverse=True):
        single = [
            request for key, request in other.asked.items() if held[key] == 1 and key not in deaths
        ]
        count = min(other.spare(patience), len(single))
        if count:
            return single[-count:]
    return []
