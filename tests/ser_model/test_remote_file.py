import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_model.remote_file import RemoteFile

CONTENT = random.Random(0).randbytes(1000)


class Fetches:
    """Serves ranges of CONTENT, and remembers which."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, start: int, end: int) -> bytes:
        assert 0 <= start < end <= len(CONTENT)
        self.ranges.append((start, end))
        return CONTENT[start:end]

    @property
    def num_bytes(self) -> int:
        return sum(end - start for start, end in self.ranges)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 1100)),
        st.tuples(st.just("back"), st.integers(-1000, 0)),
        st.tuples(st.just("read"), st.integers(-1, 1100)),
        st.tuples(st.just("into"), st.integers(0, 300)),
    ),
    max_size=20,
)


@given(steps=STEPS, block_bytes=st.sampled_from([1, 7, 64, 1000, 5000]))
def test_it_reads_as_a_file_does(steps: list[tuple[str, int]], block_bytes: int) -> None:
    real = io.BytesIO(CONTENT)
    remote = RemoteFile(len(CONTENT), Fetches(), block_bytes=block_bytes)
    for step, number in steps:
        if step == "seek":
            assert remote.seek(number) == real.seek(number)
        elif step == "back":
            assert remote.seek(number, io.SEEK_END) == real.seek(number, io.SEEK_END)
        elif step == "read":
            assert remote.read(number) == real.read(number)
        else:
            ours, theirs = bytearray(number), bytearray(number)
            assert remote.readinto(ours) == real.readinto(theirs)
            assert ours == theirs
        assert remote.tell() == real.tell()
        assert sum(map(len, remote._blocks.values())) <= 3 * block_bytes


@pytest.mark.parametrize("read_bytes", [1, 30, 64, 100, 999])
def test_a_pass_after_a_look_at_the_end_fetches_each_byte_once(read_bytes: int) -> None:
    fetches = Fetches()
    remote = RemoteFile(len(CONTENT), fetches, block_bytes=64)
    remote.seek(-10, io.SEEK_END)
    remote.read(10)
    remote.seek(0)
    assert b"".join(iter(lambda: remote.read(read_bytes), b"")) == CONTENT
    assert fetches.num_bytes == len(CONTENT)


def test_a_large_read_is_few_ranges() -> None:
    fetches = Fetches()
    assert RemoteFile(len(CONTENT), fetches, block_bytes=64).read() == CONTENT
    assert fetches.ranges == [(0, 512), (512, 1000)]


def test_an_empty_file_is_never_fetched() -> None:
    with RemoteFile(0, Fetches()) as remote:
        assert (remote.read(), remote.read(5), remote.readinto(bytearray(3))) == (b"", b"", 0)


def test_it_keeps_to_the_rules_of_files() -> None:
    remote = RemoteFile(len(CONTENT), Fetches())
    assert (remote.readable(), remote.seekable(), remote.writable()) == (True, True, False)
    with pytest.raises(ValueError, match="no position -1"):
        remote.seek(-1)
    remote.close()
    with pytest.raises(ValueError, match="closed"):
        remote.read(1)
