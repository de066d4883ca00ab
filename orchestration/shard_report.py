"""What came of an attempt at a shard: its commits, and what the time was spent on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from orchestration.commits import Commit
from ser_model.batch_runner import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Seconds of a worker by what they were spent on; stages overlap, so they add up to more.

    Attributes:
        read_s: reading and decoding audio.
        augment_s: augmenting it for conditions.
        score_s: the model.
        starved_s: the scoring thread waiting for audio of the shard in its hands.
        write_s: writing predictions and committing them.
    """

    read_s: float = 0.0
    augment_s: float = 0.0
    score_s: float = 0.0
    starved_s: float = 0.0
    write_s: float = 0.0

    def __add__(self, other: StageTimes) -> StageTimes:
        return StageTimes(
            read_s=self.read_s + other.read_s,
            augment_s=self.augment_s + other.augment_s,
            score_s=self.score_s + other.score_s,
            starved_s=self.starved_s + other.starved_s,
            write_s=self.write_s + other.write_s,
        )

    def limited_by(self, worker_s: float) -> str:
        """Return what took most of the time.

        Args:
            worker_s: how long all workers together were there.
        """
        what_is_waited_for = (
            "reading audio" if self.read_s >= self.augment_s else "augmenting audio"
        )
        shares = {
            "the model": self.score_s,
            what_is_waited_for: self.starved_s,
            "writing and handing out shards": worker_s - self.score_s - self.starved_s,
        }
        return max(shares, key=shares.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What became of one attempt at a shard.

    Attributes:
        commits: for each condition, in the order in which they were scored, the record that
            counts, of this attempt or of one that was faster.
        workload: what this attempt put through the model.
        times: what it took.
    """

    commits: tuple[Commit, ...]
    workload: Workload
    times: StageTimes

    @property
    def shard(self) -> int:
        """Number of the shard."""
        return self.commits[0].shard

    @property
    def num_segments(self) -> int:
        """Its segments, once for each condition."""
        return sum(commit.num_segments for commit in self.commits)

    @property
    def audio_s(self) -> float:
        """Seconds of audio that were scored, under all conditions together."""
        return sum(commit.audio_s for commit in self.commits)

    @property
    def num_rejections_by_reason(self) -> dict[str, int]:
        """Rejections under all conditions by their reason code, most of them first."""
        counts: Counter[str] = Counter()
        for commit in self.commits:
            counts.update(commit.num_rejections_by_reason)
        return dict(counts.most_common())
