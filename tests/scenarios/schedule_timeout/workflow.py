from workflows import ActivityTimeout, activity, workflow


@activity(name="schedule_timeout.ask", queue="served by nobody", schedule_timeout=0.1)
async def ask() -> None: ...


@workflow(name="schedule_timeout")
async def schedule_timeout() -> str:
    try:
        await ask.run()
    except ActivityTimeout as error:
        return error.type
    return ""
