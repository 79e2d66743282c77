from scenario import other
from workflows import activity, workflow


class OutOfFunds(Exception):
    pass


class BankError(Exception):
    pass


@activity(name="chain_of_causes.charge", retries=1, initial=0.01)
async def charge() -> None:
    try:
        raise OutOfFunds("account is empty")
    except OutOfFunds as error:
        raise BankError("declined") from error


@workflow(name="chain_of_causes.child")
async def child() -> None:
    await other(charge).run()


@workflow(name="chain_of_causes")
async def chain_of_causes() -> None:
    await other(child).run()
