"""Our connections to the children of zygotes: each connection is a child, forked for it, which ends with it."""

import asyncio
import resource
import socket

from flowy_operator.adapters.decider.asking import Asked
from flowy_operator.adapters.decider.exchange import Exchange, Finding
from flowy_operator.adapters.decider.frames import Order, Verb
from flowy_operator.adapters.decider.homes import Zygote

GRACE_S = 5.0
"""Between the child's own wall timer and ours, which is only for code that disarmed it. Long, since on a busy machine the
fork itself may wait, and a decision must not fail twice for that."""


class Connections:
    """All of them, asked or not, as long as they are connected."""

    def __init__(self) -> None:
        self._open: set[Exchange] = set()

    async def to(self, zygote: Zygote) -> Exchange:
        """Have the zygote fork a child. If there is no zygote any more, the exchange is closed already."""
        address = Order.new_address()

        def order(verb: Verb, most_bytes: int) -> bool:
            return zygote.tell(Order(verb, address, most_bytes // resource.getpagesize()))

        exchange = Exchange(order)
        self._open.add(exchange)
        exchange.closed.add_done_callback(lambda _: self._open.discard(exchange))
        try:
            await _connect(exchange, address, zygote.socket_path)
        except (ConnectionError, FileNotFoundError):
            exchange.close()
        except BaseException:
            exchange.close()
            raise
        return exchange

    def close(self) -> None:
        """End them all."""
        for exchange in tuple(self._open):
            exchange.close()


async def _connect(exchange: Exchange, address: bytes, path: str) -> None:
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.bind(address)
        await loop.sock_connect(connection, path)
        await loop.create_unix_connection(lambda: exchange, sock=connection)
    except BaseException:
        connection.close()
        raise


async def ask(exchange: Exchange, asked: Asked, grace_s: float = GRACE_S) -> Finding:
    """Ask a child that waits, and give what comes of it."""
    exchange.ask(asked.message(), asked.allowance.answer_bytes, asked.allowance.wall_ms / 1000 + grace_s)
    return await found(exchange)


async def found(exchange: Exchange) -> Finding:
    """What comes of a child that was asked. Who is cancelled here ends it."""
    try:
        return await exchange.finding
    except asyncio.CancelledError:
        exchange.close()
        raise
