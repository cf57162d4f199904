"""Records over real pipes: full pipes, broken pipes, half records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest
import trio
import trio.testing

from pi_trio.process import FdReceivePipe, FdSendPipe
from pi_trio.protocol import MalformedRecord
from pi_trio.transport import PipeTransport
from tests.support import run


@attrs.define
class Other:
    """The other side: what Pi would hold."""

    stdin: int
    stdout: int

    def hang_up(self) -> None:
        for fd in (self.stdin, self.stdout):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = -1


@contextmanager
def connected() -> Iterator[tuple[PipeTransport, Other]]:
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    send, receive = FdSendPipe(our_out), FdReceivePipe(our_in)
    other = Other(their_in, their_out)
    try:
        yield PipeTransport(send, receive), other
    finally:
        other.hang_up()
        send.close()
        receive.close()


def read_all(fd: int) -> bytes:
    data = b""
    while chunk := os.read(fd, 1 << 16):
        data += chunk
    return data


def test_records_that_do_not_fit_are_written_whole_and_in_order() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            records = [b'{"n":%d,"x":"%s"}\n' % (n, b"x" * 50_000) for n in range(20)]
            for record in records:
                transport.send_nowait(record)  # far more than a pipe holds, and no writer yet
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.run_sender)
                transport.close_sending()
                assert await trio.to_thread.run_sync(read_all, other.stdin) == b"".join(records)

    run(main)


def test_what_is_there_already_is_received_without_waiting() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            assert transport.receive_nowait() == ()
            os.write(other.stdout, b'{"a":1}\n{"b":2}\n{"c"')
            assert transport.receive_nowait() == [b'{"a":1}', b'{"b":2}']
            assert transport.receive_nowait() == ()
            os.write(other.stdout, b":3}\n")
            other.hang_up()
            assert transport.receive_nowait() == [b'{"c":3}']
            assert transport.receive_nowait() == (), "of the end it says nothing"
            with pytest.raises(trio.EndOfChannel):
                await transport.receive()

    run(main)


def test_close_sending_lets_the_queue_out_first() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            transport.send_nowait(b"{}\n")
            transport.close_sending()
            transport.close_sending()
            assert read_all(other.stdin) == b"{}\n"
            with pytest.raises(trio.ClosedResourceError):
                transport.send_nowait(b"{}\n")
            await transport.run_sender()

    run(main)


def test_a_reader_that_is_gone_breaks_it() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.run_sender)
                await trio.testing.wait_all_tasks_blocked()
                other.hang_up()
                with pytest.raises(trio.BrokenResourceError):
                    transport.send_nowait(b"{}\n")
                with pytest.raises(trio.BrokenResourceError):
                    transport.send_nowait(b"{}\n")
            # the writer noticed too, and ended

    run(main)


def test_a_record_that_was_cut_off_is_never_continued() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.run_sender)
                transport.send_nowait(b"x" * 1_000_000 + b"\n")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            with pytest.raises(trio.BrokenResourceError):
                transport.send_nowait(b"{}\n")
            sent = await trio.to_thread.run_sync(read_all, other.stdin)
            assert 0 < len(sent) < 1_000_000
            assert set(sent) == {ord("x")}

    run(main)


def test_a_pi_that_never_reads_does_not_take_our_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi_trio.transport.pipes._MAX_QUEUED_BYTES", 200_000)

    async def main() -> None:
        with connected() as (transport, _):
            with pytest.raises(trio.WouldBlock):
                for _ in range(1000):
                    transport.send_nowait(b"x" * 9_999 + b"\n")

    run(main)


def test_receiving_until_the_end_and_half_a_record_at_it() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            os.write(other.stdout, b'{"a":1}\r\nnot json\n\n{"b":')
            assert list(await transport.receive()) == [b'{"a":1}', b"not json", b""]
            os.write(other.stdout, b'2}\n{"half')
            assert list(await transport.receive()) == [b'{"b":2}']
            os.close(other.stdout)
            other.stdout = -1
            (cut,) = await transport.receive()
            assert cut == MalformedRecord("the stream ended inside this record", b'{"half')
            for _ in range(2):
                with pytest.raises(trio.EndOfChannel):
                    await transport.receive()

    run(main)


def test_a_cancelled_receive_loses_nothing() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            with trio.move_on_after(0):
                await transport.receive()
            os.write(other.stdout, b'{"a":')
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.receive)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            os.write(other.stdout, b"1}\n")
            assert list(await transport.receive()) == [b'{"a":1}']

    run(main)


def test_an_interrupted_receive_returns_nothing_and_loses_nothing() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            transport.interrupt()  # nobody waits: nothing happens
            os.write(other.stdout, b'{"a":')
            received: list[object] = []

            async def receive() -> None:
                received.append(await transport.receive())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()
                transport.interrupt()
            assert received == [()]
            os.write(other.stdout, b"1}\n")
            assert list(await transport.receive()) == [b'{"a":1}']

    run(main)


def test_a_receive_is_interrupted_before_it_has_begun_to_wait_for_the_pipe_too() -> None:
    """Its first turn of the scheduler is for the others, and one of them may have a reason."""

    @attrs.define(eq=False)
    class Interrupt(trio.abc.Instrument):
        transport: PipeTransport

        def before_io_wait(self, timeout: float) -> None:
            trio.lowlevel.remove_instrument(self)
            self.transport.interrupt()

    async def main() -> None:
        with connected() as (transport, other):
            trio.lowlevel.add_instrument(Interrupt(transport))
            assert list(await transport.receive()) == []
            os.write(other.stdout, b"{}\n")
            assert list(await transport.receive()) == [b"{}"]

    run(main)


def test_a_cancelled_receive_reads_nothing_though_there_is_something() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            os.write(other.stdout, b"{}\n")
            with trio.CancelScope() as scope:
                scope.cancel()
                await transport.receive()
            assert scope.cancelled_caught
            assert list(await transport.receive()) == [b"{}"]

    run(main)


def test_a_reader_of_what_does_not_end_lets_others_run() -> None:
    async def main() -> None:
        with connected() as (transport, other):
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                for _ in range(20):
                    os.write(other.stdout, b"{}\n")
                    assert list(await transport.receive()) == [b"{}"]
                nursery.cancel_scope.cancel()
            assert turns >= 19

    run(main)
