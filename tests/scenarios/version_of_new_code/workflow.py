from workflows import get_version, sleep, workflow


@workflow(name="version_of_new_code")
async def version_of_new_code() -> list[int]:
    versions = [get_version("tax", 1, 2)]
    for _ in range(2):
        await sleep(0)
        versions.append(get_version("tax", 1, 3))
    versions.append(get_version("discount", 1, 1))
    return versions
