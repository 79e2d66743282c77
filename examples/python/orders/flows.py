"""What becomes of an order: a workflow, the activities that it calls, and a step.

The workflow is plain Python that may stop anywhere, for a second or for a
week, and goes on in whatever process is there by then. What it calls does
something in the world, and says with a key that it is the same thing, should
it have to be said twice.
"""

from dataclasses import dataclass
from decimal import Decimal

import outside
from workflows import ActivityError, activity, gather, sleep, step, wait_for_signal, workflow

LARGE = {"EUR": 1000, "GBP": 850, "USD": 1100, "CHF": 950, "SEK": 11000, "PLN": 4300, "JPY": 160000}


@dataclass(frozen=True)
class Order:
    number: str
    customer: str
    item: str
    quantity: int
    amount: Decimal
    currency: str
    card: str

    @property
    def is_large(self) -> bool:
        return self.amount >= LARGE[self.currency]


@dataclass(frozen=True)
class Approval:
    granted: bool
    by: str


@dataclass(frozen=True)
class Outcome:
    state: str
    detail: str


@workflow(queue="orders", timeout="1h")
async def fulfil(order: Order) -> Outcome:
    """Puts the goods aside while somebody looks at a large sum; charges; rests; writes."""
    shelf, approval = await gather(reserve.run(order), approved(order))
    if not approval.granted:
        await release.run(order)
        return Outcome("rejected", f"by {approval.by}")
    try:
        payment = await charge.run(order)
    except ActivityError as error:
        await release.run(order)
        return Outcome("declined", str(error))
    await sleep("1s")  # durable: no worker is held by it, and none has to survive it
    await receipt.run(order, payment)
    return Outcome("shipped", f"from {shelf}, {payment}")


async def approved(order: Order) -> Approval:
    """Asks nobody about small sums, and waits for an answer about large ones."""
    if not order.is_large:
        return Approval(True, "nobody")
    return await wait_for_signal("approval", Approval)


# What has begun is finished before anything new is: hence the priority.


@activity(priority=9, retries=5, initial="200ms", non_retryable=[outside.Declined])
async def charge(order: Order) -> str:
    return await outside.take(order.card, order.amount, order.currency, key=order.number)


@activity(priority=9)
def reserve(order: Order) -> str:  # not async, so it runs in a thread
    return outside.put_aside(order.item, order.quantity, key=order.number)


@activity(priority=9)
def release(order: Order) -> None:
    outside.put_back(key=order.number)


@step
def receipt(order: Order, payment: str) -> None:  # short, so it runs where the workflow does
    text = f"{order.quantity} x {order.item}, {order.amount} {order.currency}, {payment}"
    outside.send(order.customer, text, key=order.number)
