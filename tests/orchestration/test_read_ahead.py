"""The queue between reading and scoring: bounded by audio, and never a deadlock."""

import threading

import numpy as np
import pytest

from orchestration.hearing import ConditionAudio, ConditionEnd
from orchestration.read_ahead import ReadAhead, StoppedError
from ser_model.schema import Reason, SegmentError, Stage

SECOND = np.zeros(16_000, np.float32)


def heard(segment_id: str, audio: np.ndarray | SegmentError = SECOND) -> ConditionAudio:
    return ConditionAudio(condition="clean", window=0, segment_id=segment_id, audio=audio)


def feed(queue: ReadAhead, num_segments: int, put: list[int]) -> threading.Thread:
    def run() -> None:
        try:
            for number in range(num_segments):
                queue.put(heard(str(number)))
                put.append(number)
            queue.close()
        except StoppedError:
            put.append(-1)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_all_that_is_put_comes_out_in_its_order() -> None:
    queue, put = ReadAhead(max_s=3.0), []
    thread = feed(queue, 100, put)
    assert [item.segment_id for item in queue] == [str(number) for number in range(100)]
    thread.join()


def test_the_reader_waits_where_it_is_full() -> None:
    queue, put = ReadAhead(max_s=3.0), []
    thread = feed(queue, 10, put)
    taken = iter(queue)
    for num_taken in range(1, 11):
        next(taken)
        assert len(put) <= num_taken + 3
    thread.join()
    assert put == list(range(10))


def test_one_segment_has_room_however_long_it_is() -> None:
    queue = ReadAhead(max_s=0.5)
    queue.put(heard("long"))
    queue.close()
    assert [item.segment_id for item in queue] == ["long"]


def test_errors_of_segments_and_ends_of_conditions_take_no_room() -> None:
    queue = ReadAhead(max_s=1.0)
    for number in range(1000):
        queue.put(heard(str(number), SegmentError(Stage.READ, Reason.NOT_AUDIO, "")))
        queue.put(ConditionEnd(condition="clean"))
    queue.close()
    assert len(list(queue)) == 2000


def test_an_error_of_the_reader_comes_behind_what_was_read() -> None:
    queue = ReadAhead()
    queue.put(heard("first"))
    queue.close(OSError("gone"))
    taken = iter(queue)
    assert next(taken).segment_id == "first"
    with pytest.raises(OSError, match="gone"):
        next(taken)


def test_stopping_lets_a_waiting_reader_go() -> None:
    queue, put = ReadAhead(max_s=2.0), []
    thread = feed(queue, 10, put)
    next(iter(queue))
    queue.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert put[-1] == -1


def test_stopping_lets_a_waiting_scorer_go() -> None:
    queue = ReadAhead()
    threading.Timer(0.05, queue.stop).start()
    with pytest.raises(StoppedError):
        next(iter(queue))
    assert queue.starved_s > 0
