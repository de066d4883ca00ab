from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from ser_model.training.batches import epochs, read_ahead, read_batch
from ser_model.training.examples import Example, InputStore
from ser_model.training.recipe import Recipe

RecipeMaker = Callable[..., Recipe]
ExampleMaker = Callable[..., list[Example]]


def test_an_epoch_sees_every_segment_once_and_each_epoch_anew(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("batch_size=4")
    examples = example_maker(recipe, 21, seed=0)
    first, second = islice(epochs(examples, recipe), 2)
    for epoch in (first, second):
        assert sorted(s.index for batch in epoch for s in batch) == list(range(21))
        assert {len(batch) for batch in epoch} == {4, 5}
    assert first != second
    (skipped,) = islice(epochs(examples, recipe), 1, 2)
    assert skipped == second


def test_crops_are_even_and_within_their_segments(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("batch_size=4", "crop_s=0.6", "lengths=crop")
    examples = example_maker(recipe, 20, seed=0)
    starts = set()
    for epoch in islice(epochs(examples, recipe), 5):
        for batch in epoch:
            inputs_BT, num_inputs_B, _ = read_batch(examples, batch)
            assert set(num_inputs_B.tolist()) == {inputs_BT.shape[1]}
            for stretch, row in zip(batch, inputs_BT, strict=True):
                whole = examples[stretch.index].read()
                assert len(row) <= 0.6 / examples[stretch.index].duration_s * len(whole) + 1
                assert torch.equal(row, whole[stretch.start : stretch.start + len(row)])
                starts.add(stretch.start)
    assert len(starts) > 5


def test_padded_batches_lose_nothing(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("batch_size=4", "crop_s=null", "lengths=pad")
    examples = example_maker(recipe, 64, seed=0)
    (epoch,) = islice(epochs(examples, recipe), 1)
    num_padding, num_places = 0, 0
    for batch in epoch:
        inputs_BT, num_inputs_B, _ = read_batch(examples, batch)
        for stretch, row, num in zip(batch, inputs_BT, num_inputs_B.tolist(), strict=True):
            assert torch.equal(row[:num], examples[stretch.index].read())
            assert not row[num:].any()
        num_padding += int((inputs_BT.shape[1] - num_inputs_B).sum())
        num_places += inputs_BT.shape[0] * inputs_BT.shape[1]
    assert num_padding < 0.1 * num_places, "similar lengths stand together"


def test_reading_ahead_changes_nothing_and_parts_may_be_empty(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("batch_size=4")
    examples = example_maker(recipe, 12, seed=0)
    (epoch,) = islice(epochs(examples, recipe), 1)
    batches = [*epoch, []]
    ahead = list(read_ahead(examples, batches))
    assert ahead[-1] is None
    for batch, inputs in zip(epoch, ahead, strict=False):
        assert all(
            torch.equal(a, b)
            for a, b in zip(inputs[:2], read_batch(examples, batch)[:2], strict=True)
        )


def test_transcripts_go_with_their_rows_and_decide_the_order_of_equal_lengths(
    recipe_maker: RecipeMaker,
) -> None:
    examples = [
        Example(
            segment_id=str(number),
            duration_s=1.0,
            inputs=torch.zeros(0),
            truth=torch.zeros(3),
            transcript=None if number == 0 else "word " * number,
        )
        for number in range(16)
    ]
    epoch = next(epochs(examples, recipe_maker("batch_size=4")))
    numbers = []
    for batch in epoch:
        _, _, transcripts = read_batch(examples, batch)
        assert transcripts == [examples[stretch.index].transcript or "" for stretch in batch]
        numbers.append(sorted(stretch.index for stretch in batch))
    assert sorted(numbers) == [list(range(at, at + 4)) for at in range(0, 16, 4)]


def test_inputs_beyond_the_limit_go_to_a_file_and_come_back(tmp_path: Path) -> None:
    inputs = [torch.randn(n, 3) for n in (5, 7, 1, 4)]
    store = InputStore(tmp_path / "new" / "inputs.f32", max_memory_bytes=60)
    kept = [store.keep(row) for row in inputs]
    assert [isinstance(row, torch.Tensor) for row in kept] == [True, False, False, False]
    assert (tmp_path / "new" / "inputs.f32").stat().st_size == 4 * 3 * 12
    for row, found in zip(inputs, kept, strict=True):
        example = Example(segment_id="", duration_s=1.0, inputs=found, truth=torch.zeros(3))
        assert torch.equal(example.read(), row)
        assert example.num_inputs == len(row)
    store.delete()
    assert not list((tmp_path / "new").iterdir())
