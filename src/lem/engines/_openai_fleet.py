"""The requests of one round and the servers that share them: who sends what next, and who rests.

Servers with one prefix cache for all requests (vLLM's blocks, SGLang's tree, most clouds) are
*warmed*: the first request of a condition goes out alone, and the others follow when its first
token has come, by when the kernel is in the cache and none of them computes it again. There is no
barrier between conditions: while the last answers of one are still being made, the next is warmed.

llama.cpp's server is another case. Each of its slots has a cache of its own (``cache_prompt``) that
no other slot can read while it is in use, so that warming one slot would only keep the others
waiting. What helps there is that a slot stays with a condition: it computes the kernel for its
first request and finds it in its cache for all that follow. So every seat (a thread here, a slot
there) goes through one condition and then helps with the one that has the most left, and the kernel
is computed about once a condition instead of once a condition and slot. The slots need not be named
for that: a free one whose cache begins like the prompt is what the server picks by itself, and a
request pinned with ``id_slot`` would wait for its slot even while others are free.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from lem.engines._openai_answer import UNANSWERED, Fault
from lem.engines._openai_server import Server
from lem.engines._openai_wire import Tally, Wire, backoff
from lem.errors import LemError
from lem.records import Request, Response

#: Requests that may fail, with no success between them, before no new ones are sent.
FAILURES_IN_A_ROW = 3
#: Looks at a server that is gone before it is given up. The pauses double from half a second to
#: half a minute: one that is started again within about a minute is waited for.
LOOKS = 7
#: Conditions that a server with one prefix cache has under way: the one that ends, the next.
OPEN_GROUPS = 2
#: A common prefix shorter than this is computed as fast as waited for.
WARM_TOKENS, WARM_CHARACTERS = 128, 512


class Lane:
    """One server in one round. Its state belongs to `Work`.

    Args:
        wire: connections to it, for this round.
        server: what it is.
        seats: requests it may have in flight.
    """

    def __init__(self, wire: Wire, server: Server, seats: int) -> None:
        self.wire, self.server, self.seats = wire, server, seats
        self.slot_caches = server.kind == "llama.cpp"
        self.rests_since = 0.0
        """When its last rest began."""
        self.rests_until: float | None = None
        """None: it works."""
        self.looking = False
        self.strikes = self.absent = 0
        """Troubles since its last answer, and looks in a row that did not find it."""
        self.fault = Fault("The server was not asked", "")
        """What went wrong last."""
        self.lost: LemError | None = None
        """Why it takes no more part in the round."""


@dataclasses.dataclass(eq=False)
class Group:
    """The requests of one condition."""

    waiting: deque[Ticket]
    warmable: bool
    """They share a prefix that is worth computing first."""
    warm: set[Lane] = dataclasses.field(default_factory=set)
    warming: set[Lane] = dataclasses.field(default_factory=set)
    seats: int = 0
    """That stay with it (of lanes with slot caches)."""


@dataclasses.dataclass(eq=False)
class Ticket:
    """A request on its way to an answer."""

    request: Request
    group: Group
    tries: int = 0
    sent: float = 0.0
    bounced: set[Lane] = dataclasses.field(default_factory=set)
    """Lanes that were down when they had it: another is better."""


@dataclasses.dataclass
class Seat:
    """One thread's place at a lane."""

    lane: Lane
    group: Group | None = None
    """The condition it stays with."""


class Work:
    """The requests of one round, shared by the threads of all its lanes.

    Args:
        requests: in the order of asking; those of one condition are brought together.
        lanes: at least one.
        tally: told of requests that have to be sent again.
    """

    def __init__(self, requests: Sequence[Request], lanes: Sequence[Lane], tally: Tally) -> None:
        #: Answers as they finish, and a None from each thread that has ended.
        self.done: queue.SimpleQueue[Response | None] = queue.SimpleQueue()
        self.lanes, self._tally = list(lanes), tally
        self._total = self._left = len(requests)
        self._failures: list[LemError] = []
        self._in_a_row, self._over = 0, False
        self._changed = threading.Condition()
        by_condition: dict[str, list[Request]] = {}
        for request in requests:
            by_condition.setdefault(request.condition, []).append(request)
        self._groups: list[Group] = []
        for same in by_condition.values():
            group = Group(deque(), _worth_warming(same))
            group.waiting.extend(Ticket(request, group) for request in same)
            self._groups.append(group)

    def next(self, seat: Seat) -> Ticket | Lane | None:
        """What a seat is to do: send a request, look whether its server is back, or leave.
        Waits until there is something."""
        lane = seat.lane
        with self._changed:
            while self._left and not self._over and lane.lost is None:
                pause = None
                if lane.rests_until is None:
                    if ticket := self._take(seat):
                        ticket.sent = time.monotonic()
                        return ticket
                elif not lane.looking:
                    pause = lane.rests_until - time.monotonic()
                    if pause <= 0:
                        lane.looking = True
                        return lane
                self._changed.wait(pause)
        return None

    def begun(self, lane: Lane, ticket: Ticket) -> None:
        """The first token of an answer has come: the condition's prefix is in the cache."""
        with self._changed:
            if ticket.sent >= lane.rests_since and lane not in ticket.group.warm:
                ticket.group.warm.add(lane)
                ticket.group.warming.discard(lane)
                self._changed.notify_all()

    def succeeded(self, lane: Lane, ticket: Ticket, response: Response) -> None:
        self.begun(lane, ticket)
        with self._changed:
            self._left -= 1
            self._in_a_row = 0
            if ticket.sent >= lane.rests_since:
                lane.strikes = 0
            self._changed.notify_all()
        self.done.put(response)

    def failed(self, lane: Lane, ticket: Ticket, error: LemError) -> None:
        """A request that is not sent again."""
        with self._changed:
            self._fail(lane, ticket, error)

    def bounced(self, lane: Lane, ticket: Ticket, fault: Fault) -> None:
        """A server seems to be down: it rests, and its request is for whoever is next."""
        with self._changed:
            ticket.tries += 1
            if ticket.sent >= lane.rests_since:  # else it is the trouble that it rests for already
                lane.fault = fault
                lane.strikes += 1
                # One among others may rest long; one alone does as the request's attempts go.
                troubles = lane.strikes if len(self._living()) > 1 else ticket.tries
                self._rest(lane, backoff(troubles) if fault.wait is None else fault.wait)
            if ticket.tries >= fault.tries:
                self._fail(lane, ticket, fault.lasting(ticket.tries))
                return
            ticket.bounced.add(lane)
            ticket.group.warming.discard(lane)
            ticket.group.waiting.appendleft(ticket)
            self._tally.add(retries=1)
            self._changed.notify_all()

    def back(self, lane: Lane) -> None:
        """A look found the server."""
        with self._changed:
            lane.looking, lane.absent, lane.rests_until = False, 0, None
            self._changed.notify_all()

    def still_gone(self, lane: Lane) -> None:
        """A look did not find the server: it rests on, or is given up."""
        fault = lane.fault
        with self._changed:
            lane.looking = False
            lane.absent += 1
            if lane.absent < LOOKS:
                self._rest(lane, backoff(lane.absent + 1))
                return
        cause = f"{fault.cause}; it has not come back since."
        self.lose(lane, LemError(cause, UNANSWERED, fault.fix))

    def lose(self, lane: Lane, error: LemError) -> None:
        """Go on without a server, if there is another."""
        with self._changed:
            lane.looking, lane.lost = False, error
            self._over = self._over or not self._living()
            self._changed.notify_all()

    def stop(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def raise_failure(self) -> None:
        """The first error, with how many requests have no answer for it."""
        lost = [lane.lost for lane in self.lanes if lane.lost]
        none_left = len(lost) == len(self.lanes)
        if not (self._failures or (none_left and self._left)):
            return
        waiting = [ticket for group in self._groups for ticket in group.waiting]
        tried = sum(ticket.tries > 0 for ticket in waiting)
        first, unsent = (*self._failures, *lost)[0], len(waiting) - tried
        missing = f"{len(self._failures) + tried} of {self._total} requests failed"
        if unsent:
            why = (
                "because no server is left"
                if none_left
                else f"after {FAILURES_IN_A_ROW} failures in a row"
            )
            missing += f", and {unsent} were not sent {why}"
        raise LemError(
            first.cause,
            f"{missing}. {first.consequence} Every answer finished before is kept.",
            f"{first.fix} Then run the same command again: it makes only what is missing.",
        )

    def _living(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.lost is None]

    def _fail(self, lane: Lane, ticket: Ticket, error: LemError) -> None:
        ticket.group.warming.discard(lane)
        self._left -= 1
        self._failures.append(error)
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_IN_A_ROW:
            self._over = True  # for good, even if one in flight still succeeds
        self._changed.notify_all()

    def _rest(self, lane: Lane, pause: float) -> None:
        lane.rests_since = time.monotonic()
        lane.rests_until = lane.rests_since + pause
        for group in self._groups:  # a server that was restarted has lost its cache
            group.warm.discard(lane)
            group.warming.discard(lane)
        self._changed.notify_all()

    def _take(self, seat: Seat) -> Ticket | None:
        groups = [group for group in self._groups if group.waiting]
        if seat.lane.slot_caches:
            return self._take_staying(seat, groups)
        lane = seat.lane
        for group in groups[:OPEN_GROUPS]:
            cold = group.warmable and lane not in group.warm
            if cold and lane in group.warming:
                continue
            if ticket := self._first_for(group, lane):
                if cold:
                    group.warming.add(lane)
                return ticket
        return None

    def _take_staying(self, seat: Seat, groups: Sequence[Group]) -> Ticket | None:
        """From the seat's own condition, or else from the one with the most left for each seat
        that stays with it."""
        others = (g for g in groups if g is not seat.group)
        most = sorted(others, key=lambda g: -len(g.waiting) / (g.seats + 1))
        own = [seat.group] if seat.group and seat.group.waiting else []
        for group in (*own, *most):
            if ticket := self._first_for(group, seat.lane):
                if group is not seat.group:
                    if seat.group:
                        seat.group.seats -= 1
                    seat.group = group
                    group.seats += 1
                return ticket
        return None

    def _first_for(self, group: Group, lane: Lane) -> Ticket | None:
        """The first request that this lane has not just failed on, if another could take it."""
        living = self._living()
        for i, ticket in enumerate(group.waiting):
            if ticket.bounced.issuperset(living):
                ticket.bounced.clear()
            if lane not in ticket.bounced:
                del group.waiting[i]
                return ticket
        return None


def _worth_warming(requests: Sequence[Request]) -> bool:
    ids = [request.token_ids for request in requests if request.token_ids is not None]
    if len(ids) == len(requests):
        return _common_prefix(ids) >= WARM_TOKENS
    return _common_prefix([request.prompt for request in requests]) >= WARM_CHARACTERS


def _common_prefix(prompts: Sequence[Sequence[Any]]) -> int:
    """Its length; 0 for a single prompt, which shares nothing."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)  # type: ignore[type-var]  # sorted, these differ first
    shorter = min(len(low), len(high))
    return next((i for i in range(shorter) if low[i] != high[i]), shorter)
