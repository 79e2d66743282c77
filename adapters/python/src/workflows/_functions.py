"""Functions that run durably: the decorators, their options, and the registry.

@activity(retries=5, timeout="30s")
async def charge(card: str, cents: int) -> str: ...

@workflow(queue="orders")
async def order(card: str) -> str:
    return await charge.run(card, 100)

handle = await order.queue("4242")      # from anywhere
assert await charge("4242", 1)          # the plain function, for unit tests
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

from ._client import Client, client
from ._errors import ExecutionFinished
from ._handles import Handle, refuse_on_loop
from ._loop import active, refuse_inside
from ._operations import Created
from ._options import Kind, Options, checked, execution_fields, name_of
from ._payload import adapt, adapt_arguments, encode, plain_arguments, type_hints
from ._places import definition_place, is_async
from ._registry import registry

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_PLAIN = frozenset({str, int, bool, type(None)})


# The client of the worker whose function is running: what it queues goes where it came from.
current_client: contextvars.ContextVar[Client | None] = contextvars.ContextVar(
    "workflows_client", default=None
)


def home() -> Client:
    """Answers the client of the running function's worker, or the default one."""
    return current_client.get() or client()


class Function(Generic[P, R]):
    """A function that can run durably.

    `.run()` enqueues it and waits for its result; inside a workflow it is a
    durable call. `.queue()` enqueues it and answers a handle at once. Calling
    the object itself runs the plain function, with nothing durable about it.

    Once accepted, a body runs *at least* once: a worker that dies after the
    body and before its result was recorded makes another one run it again.
    """

    def __init__(self, kind: Kind, plain: Callable[..., Any], options: Options) -> None:
        options = checked(kind, options, decorator=True)
        self.kind: Kind = kind
        self.plain = plain
        self.name = name_of(plain, options)
        self._run_name, self._queue_name = f"{self.name}.run", f"{self.name}.queue"
        self.options_set = options
        self.is_external = bool(options.get("external"))
        self.is_async = is_async(plain)
        self.place = definition_place(plain)
        self.signature = inspect.signature(plain)
        self._template: dict[str, Any] | None = None
        self._awaited: str | None = None
        functools.update_wrapper(cast(Any, self), plain)

    @functools.cached_property
    def hints(self) -> Mapping[str, Any]:
        """The annotations, resolved at first use: then every name that they need is defined."""
        return type_hints(inspect.unwrap(self.plain))

    @functools.cached_property
    def result_type(self) -> Any:
        """The annotation of the result, Any when there is none."""
        return self.hints.get("return", Any)

    @functools.cached_property
    def quoted_name(self) -> str:
        """The name in JSON."""
        return encode(self.name)

    def options(self, **options: Unpack[Options]) -> Self:
        """Answers the same function with other options.

        The original is left alone, so the answer can be kept and used often.

        Args:
            queue: the queue whose workers run it.
            priority: 0 to 10, higher first. Default 5.
            delay: the earliest start from now, in seconds or as "5m".
            run_at: the earliest start, an aware datetime. Not together with delay.
            idempotency_key: a second call with the same name and key answers the first one's
                execution.
            signal: goes to the workflow with its start, or to the one that has the key already.
            retries: how many failures are followed by another attempt.
            timeout: bounds one attempt; of a workflow, the whole of it.
            See `Options` for the rest.

        Raises:
            TypeError: an unknown option, or one of the wrong type.
            ValueError: an option out of its range.

        Example:
            cart = shopping.options(idempotency_key="cart-7", signal=("add", item))
            handle = await cart.queue("cart-7")     # starts it, or adds to the one that runs
            handle = await send_mail.options(delay="5m", priority=9).queue("a@example.org")
        """
        changes = checked(self.kind, options)
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._template = other._awaited = None
        other.options_set = checked(self.kind, {**self.options_set, **changes}, decorator=True)
        return other

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Runs durably and answers the result.

        Outside a workflow it enqueues the function and waits. Inside, it is a
        durable call: the command is given when `.run()` is called, not when
        its answer is awaited, so several calls run side by side if they are
        awaited later. One that is never awaited does not keep the workflow
        from finishing, and is cancelled when the workflow ends, unless it was
        called with `.options(close_policy="detach")`.

        Raises:
            PayloadError: an argument is not JSON; it names the path of the value.
            ActivityError: inside a workflow, the function failed for good.
            ExecutionFailed: outside, the function failed for good.
        """
        replay = active()
        if replay is None:
            return self._named(self._run_name, self._run_outside(args, kwargs))
        return cast("Coroutine[Any, Any, R]", replay.call(self, args, kwargs))

    async def _run_outside(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        if self.kind == "step":
            value = self.plain(*args, **kwargs)
            return cast(R, await value if inspect.isawaitable(value) else value)
        client = home()
        created = await client.create_and_wait(self._awaited_json(args, kwargs))
        outcome = created.get("outcome")
        if outcome is not None and outcome["status"] == "completed" and "signaled" not in created:
            return adapt(outcome.get("result"), self.result_type, path="result")
        handle = self._handle(created, client)
        return await handle.result() if outcome is None else handle.outcome(outcome)

    def queue(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Handle[R]]:
        """Enqueues and answers a handle, without waiting for the result.

        Inside a workflow the execution becomes a child. It is cancelled when
        the workflow ends first, unless it was started with
        `.options(close_policy="detach")`.
        """
        replay = active()
        if replay is None:
            return self._named(self._queue_name, self._enqueue(args, kwargs))
        return cast("Coroutine[Any, Any, Handle[R]]", replay.start(self, args, kwargs))

    async def _enqueue(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Handle[R]:
        client = home()
        [created] = await client.create([self.execution(args, kwargs)])
        return self._handle(created, client)

    def _handle(self, created: Created, client: Client) -> Handle[R]:
        if created.get("signaled") is False:
            raise ExecutionFinished(
                f"the signal for {self.name} was not sent: its idempotency key belongs to execution"
                f" {created['id']}, which is over; use another key to start a new one"
            )
        return Handle(created["id"], created["created"], client, self.result_type)

    def _named(self, name: str, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Gives a coroutine the name that Python warns with when it is never awaited."""
        cast(Any, coroutine).__qualname__ = name
        return coroutine

    def queue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Enqueues from code that is not async. Never inside an event loop: it blocks."""
        refuse_inside(f"{self.name}.queue_sync()", f"await {self.name}.queue()")
        client = home()
        [created] = client.create_sync([self.execution(args, kwargs, awaited=False)])
        return self._handle(created, client)

    def run_sync(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Enqueues and waits, from code that is not async.

        Never inside an event loop: it blocks.
        """
        refuse_inside(f"{self.name}.run_sync()", f"await {self.name}.run()")
        refuse_on_loop(f"{self.name}.run_sync()", f"await {self.name}.run()")  # and queue nothing
        return self.queue_sync(*args, **kwargs).result_sync()

    def execution(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, awaited: bool = False
    ) -> dict[str, Any]:
        """Answers the new execution that a call with these arguments asks for."""
        if self.kind == "step":
            raise TypeError(
                f"{self.name} is a step, which runs inside a workflow's own worker and cannot "
                f"be queued; make it an activity"
            )
        positional, named = self.arguments(args, kwargs)
        request = self.request()
        if positional:
            request["args"] = positional
        if named:
            request["kwargs"] = named
        if awaited:
            request["awaited"] = True
        return request

    def _awaited_json(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Answers the new execution of a call that waits, in JSON: what options decide is kept."""
        head = self._awaited
        if head is None:
            head = self._awaited = encode({**self.request(), "awaited": True})[:-1]
        positional, named = self.arguments(args, kwargs)
        if positional:
            head += f',"args":{encode(positional, "args")}'
        if named:
            head += f',"kwargs":{encode(named, "kwargs")}'
        return head + "}"

    def request(self) -> dict[str, Any]:
        """Answers the fields of a new execution that its options decide."""
        template = self._template
        if template is None:
            template = self._template = execution_fields(self.kind, self.name, self.options_set)
        return template.copy()

    def arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Answers the arguments as plain JSON, normalised by the signature.

        Raises:
            TypeError: they do not fit the signature.
            PayloadError: one of them is not JSON; it names the path.
        """
        least, most = self._arity
        if not args and not kwargs and not least:
            return [], {}
        if not kwargs and least <= len(args) <= most and all(type(each) in _PLAIN for each in args):
            return list(args), {}
        try:
            return plain_arguments(self.signature, self.hints, args, kwargs)
        except TypeError:
            self.must_fit(args, kwargs)
            raise

    def must_fit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuses arguments that do not fit the signature.

        Raises:
            TypeError: they do not; it names the function.
        """
        least, most = self._arity
        if not kwargs and least <= len(args) <= most:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:  # says what is wrong, and not with which function
            raise TypeError(f"{self.name}(): {error}") from None

    def adapted(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Answers received arguments as the annotations describe them.

        Raises:
            PayloadError: one of them does not fit.
        """
        if not kwargs and (
            not args or (not self._rebuilds and all(type(each) in _PLAIN for each in args))
        ):
            return args, kwargs
        return adapt_arguments(self.signature, self.hints, args, kwargs)

    @functools.cached_property
    def _arity(self) -> tuple[int, int]:
        """How many positional arguments are sure to need no sorting."""
        kinds = [p.kind for p in self.signature.parameters.values()]
        if any(
            kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for kind in kinds
        ):
            return 1, 0
        required = sum(
            p.default is inspect.Parameter.empty for p in self.signature.parameters.values()
        )
        return required, len(kinds)

    @functools.cached_property
    def _rebuilds(self) -> bool:
        """Whether an annotation may make another value of plain JSON."""
        return any(
            hint not in (str, int, bool, type(None), Any)
            for name, hint in self.hints.items()
            if name != "return"
        )

    def _must_be_here(self) -> None:
        if self.is_external:
            raise TypeError(
                f"{self.kind} {self.name} is declared external: its code is elsewhere, and runs "
                f"through .run() and .queue() only"
            )

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} at {self.place}>"


class AsyncFunction(Function[P, R]):
    """A durable function that was written as a coroutine function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Runs the plain function, with nothing durable about it."""
        self._must_be_here()
        return cast("Coroutine[Any, Any, R]", self.plain(*args, **kwargs))


class SyncFunction(Function[P, R]):
    """A durable function that was written as a plain one; workers run it in a thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the plain function, with nothing durable about it."""
        self._must_be_here()
        return cast(R, self.plain(*args, **kwargs))


class Decorator(Protocol):
    """A decorator with its options already given."""

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncFunction[P, R]: ...


def _register(kind: Kind, plain: Callable[..., Any], options: Options) -> Function[..., Any]:
    if isinstance(plain, Function):
        raise TypeError(f"{plain!r} is decorated already; use one decorator for each function")
    if not callable(plain):
        raise TypeError(
            f"@{kind} decorates a function, not {plain!r}; options are given by name, as in "
            f"@{kind}(queue=...)"
        )
    if inspect.isasyncgenfunction(plain) or inspect.isgeneratorfunction(plain):
        raise TypeError(
            f"@{kind} cannot decorate the generator {plain.__qualname__}; return a list"
        )
    make: Any = AsyncFunction if is_async(plain) else SyncFunction
    function: Function[..., Any] = make(kind, plain, options)
    if not function.is_external:
        registry.add(function)
    return function


def _decorate(kind: Kind, function: Callable[..., Any] | None, options: Options) -> Any:
    if function is not None:
        return _register(kind, function, options)
    # A mistake is told where it stands, not where it is used.
    checked(kind, options, decorator=True)

    def decorator(plain: Callable[..., Any], /) -> Function[..., Any]:
        return _register(kind, plain, options)

    return decorator


@overload
def job(  # pyright: ignore[reportOverlappingOverload]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncFunction[P, R]: ...
@overload
def job(function: Callable[P, R], /) -> SyncFunction[P, R]: ...
@overload
def job(**options: Unpack[Options]) -> Decorator: ...
def job(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Makes a job: a function that is queued by itself.

    It runs *at least* once on some worker of its queue, and again after a
    failure as its retries allow.

    Args:
        function: the function, where no options are given.
        name: how executions find this code. Default the function's `__qualname__`.
        queue: default "default", or the workflow's own queue inside a workflow.
        retries, timeout, priority and the rest: see `Options`.

    Example:
        @job(queue="mail", retries=5, timeout="30s")
        async def send_mail(to: str) -> None: ...
    """
    return _decorate("job", function, options)


@overload
def activity(  # pyright: ignore[reportOverlappingOverload]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncFunction[P, R]: ...
@overload
def activity(function: Callable[P, R], /) -> SyncFunction[P, R]: ...
@overload
def activity(**options: Unpack[Options]) -> Decorator: ...
def activity(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Makes an activity: a function with effects, that workflows call.

    It is an execution of its own, on any worker, and runs *at least* once.

    Args:
        function: the function, where no options are given.
        name: how executions find this code. Default the function's `__qualname__`.
        queue: default the workflow's own queue.
        retries, timeout, priority and the rest: see `Options`.

    Example:
        @activity(retries=5, timeout="30s")
        async def charge(card: str, cents: int) -> str: ...

        @activity(name="charge", queue="payments", external=True)  # a worker in Node runs it
        async def charge(card: str, cents: int) -> str: ...
    """
    return _decorate("activity", function, options)


@overload
def step(  # pyright: ignore[reportOverlappingOverload]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncFunction[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> SyncFunction[P, R]: ...
@overload
def step(**options: Unpack[Options]) -> Decorator: ...
def step(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Makes a step: a short function with effects that runs inside the workflow's own worker.

    Its result is one event of the workflow's history, so it costs one write
    where an activity costs several. It runs *at least* once. It holds the
    workflow's slot while it runs: what takes long belongs into an activity.

    Args:
        function: the function, where no options are given.
        name: how history finds this code. Default the function's `__qualname__`.
        retries, timeout: see `Options`; queues and priorities have no meaning here.

    Example:
        @step
        def read_config(path: str) -> dict[str, str]: ...
    """
    return _decorate("step", function, options)


@overload
def workflow(  # pyright: ignore[reportOverlappingOverload]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncFunction[P, R]: ...
@overload
def workflow(function: Callable[P, R], /) -> SyncFunction[P, R]: ...
@overload
def workflow(**options: Unpack[Options]) -> Decorator: ...
def workflow(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Makes a workflow: a function that survives its worker.

    Its code is a pure function of its history: it is run again from the start,
    with recorded results, whenever it goes on elsewhere. So it must not read
    clocks, random numbers, files or the network itself; it calls activities
    and steps for that, and `workflows.now()`, `uuid4()` and `random()`.

    Args:
        function: the function, where no options are given.
        name: how executions find this code. Default the function's `__qualname__`.
        queue: default "default".
        version: of the code, for whoever reads an execution.
        timeout: bounds the whole workflow, however often it is suspended.

    Example:
        @workflow(queue="orders", timeout="24h")
        async def order(card: str) -> str:
            return await charge.run(card, 100)
    """
    return _decorate("workflow", function, options)
