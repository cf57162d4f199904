"""The output ring: bounded, timed, redacted, followed."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.supervisor.output import LogGap, LogLine, Logs, OutputRing, Redactor

SECRET = "sk-0123456789"
NOBODY = Redactor({})
HIDE = Redactor({"MY_API_KEY": SECRET, "PATH": "/usr/bin", "TOKENIZERS": "true"})


def texts(ring: OutputRing, tail: int | None = None) -> list[str]:
    return [line.text for line in Logs(ring, tail=tail, follow=False)]


def in_trio(test: object) -> None:
    async def main() -> None:
        result = test()  # type: ignore[operator]
        if result is not None:
            await result

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_lines_of_two_streams_with_their_times() -> None:
    async def test() -> None:
        ring = OutputRing(1000, NOBODY)
        ring.add("stdout", 1, b"one\ntw")
        await trio.sleep(5)
        ring.add("stderr", 1, b"oops\n")
        ring.add("stdout", 1, b"o\r\nrest")
        start = trio.current_time() - 5
        assert list(Logs(ring, tail=None, follow=False)) == [
            LogLine(start, "stdout", 1, "one"),
            LogLine(start + 5, "stderr", 1, "oops"),
            LogLine(start, "stdout", 1, "two"),
            LogLine(start + 5, "stdout", 1, "rest"),
        ]
        assert texts(ring, tail=2) == ["two", "rest"]
        assert texts(ring, tail=0) == []

    in_trio(test)


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(1, 200))
def test_never_more_than_the_bound_and_always_the_newest(chunks: list[bytes], bound: int) -> None:
    def test() -> None:
        ring = OutputRing(bound, NOBODY)
        for chunk in chunks:
            ring.add("stderr", 1, chunk)
            kept = b"".join(each.data for each in ring.since(0))
            assert len(kept) <= bound
        whole = b"".join(chunks)
        assert whole.endswith(kept if chunks else b"")
        if len(whole) <= bound and b"\r" not in whole:
            assert "\n".join(texts(ring)) == whole.removesuffix(b"\n").decode("utf-8", "replace")

    in_trio(test)


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(20, 400))
def test_a_secret_is_never_shown_however_it_is_cut(cuts: list[int], bound: int) -> None:
    def test() -> None:
        data = (f"a {SECRET} b\n{SECRET}{SECRET}\n" * 10).encode()
        ring = OutputRing(bound, HIDE)
        for cut in [*cuts, len(data)]:
            ring.add("stderr", 1, data[:cut])
            data = data[cut:]
        shown = "\n".join(texts(ring))
        # not whole, and no piece of it that would be worth guessing the rest of
        assert all(SECRET[n : n + 6] not in shown for n in range(len(SECRET) - 5))

    in_trio(test)


def test_only_what_looks_like_a_secret_is_blotted_out() -> None:
    def test() -> None:
        ring = OutputRing(1000, HIDE)
        ring.add("stderr", 1, f"true /usr/bin {SECRET}\n".encode())
        assert texts(ring) == ["true /usr/bin [MY_API_KEY]"]

    in_trio(test)


def test_a_flood_without_a_line_end_is_shown_in_pieces() -> None:
    def test() -> None:
        ring = OutputRing(1 << 20, HIDE)
        for _ in range(100):
            ring.add("stdout", 1, b"x" * 65536)
        assert sum(len(chunk.data) for chunk in ring.since(0)) <= 1 << 20
        shown = texts(ring)
        assert len(shown) > 10
        assert set("".join(shown)) == {"x"}

    in_trio(test)


def test_following_goes_on_until_the_end() -> None:
    async def test() -> None:
        ring = OutputRing(1000, NOBODY)
        ring.add("stderr", 1, b"before\nhalf")
        seen: list[str] = []

        async def follow() -> None:
            async for line in Logs(ring, tail=None, follow=True):
                assert isinstance(line, LogLine)
                seen.append(line.text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == ["before"]
            ring.add("stderr", 1, b" and half\nlast")
            await trio.testing.wait_all_tasks_blocked()
            assert seen == ["before", "half and half"]
            ring.close()
        assert seen == ["before", "half and half", "last"]
        assert [line.text async for line in Logs(ring, tail=1, follow=True)] == ["half and half", "last"]  # type: ignore[union-attr]

    in_trio(test)


def test_a_follower_that_is_too_slow_is_told() -> None:
    async def test() -> None:
        ring = OutputRing(20, NOBODY)
        follower = Logs(ring, tail=None, follow=True).__aiter__()
        ring.add("stderr", 1, b"first\n")
        assert isinstance(first := await follower.__anext__(), LogLine)
        assert first.text == "first"
        for n in range(10):
            ring.add("stderr", 1, b"number %d\n" % n)
        gap = await follower.__anext__()
        assert isinstance(gap, LogGap)
        assert gap.lost_bytes == 8 * 9
        rest = [await follower.__anext__()]
        assert [line.text for line in rest if isinstance(line, LogLine)] == ["number 9"]

    in_trio(test)
