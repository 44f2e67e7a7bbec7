"""Batched greedy decoding: the same as one by one, and it ends where it should."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch

from ste_ray.core.replies.stop_texts import OBSERVATION_STOP
from ste_ray.errors import DecodingError
from ste_ray.generation.decode import Completion, Decoding, generate, plan_batches
from ste_ray.generation.model import LocalModel
from ste_ray.generation.stopping import StopOnText

EVERYTHING = Decoding(max_new_tokens=120, batch_size=4, stop_texts=())


def random_prompts(count: int, vocab_size: int) -> list[list[int]]:
    generator = random.Random(5)
    return [
        [generator.randrange(3, vocab_size) for _ in range(generator.randint(1, 90))]
        for _ in range(count)
    ]


def taught_prompts(model: LocalModel, lessons: dict[str, str]) -> list[list[int]]:
    tokenizer = model.tokenizer
    return [[tokenizer.bos_token_id, *tokenizer.encode(prompt)] for prompt in lessons]


def test_batched_equals_one_by_one(random_model: LocalModel) -> None:
    prompts = random_prompts(21, len(random_model.tokenizer))
    one_by_one = [
        generate(random_model, [prompt], Decoding(max_new_tokens=24))[0] for prompt in prompts
    ]
    assert len({completion.text for completion in one_by_one}) > 10
    for batch_size in (4, 21):
        decoding = Decoding(max_new_tokens=24, batch_size=batch_size)
        assert generate(random_model, prompts, decoding) == one_by_one


@pytest.mark.parametrize("batch_tokens", [1, 150, 400, 10_000])
def test_a_bound_on_the_tokens_of_a_batch_changes_no_answer(
    random_model: LocalModel, batch_tokens: int
) -> None:
    prompts = random_prompts(21, len(random_model.tokenizer))
    free = Decoding(max_new_tokens=24)
    bounded = dataclasses.replace(free, batch_tokens=batch_tokens)
    assert generate(random_model, prompts, bounded) == generate(random_model, prompts, free)


def test_batches_are_bounded_by_rows_and_by_tokens() -> None:
    lengths = [10, 700, 100, 100, 90, 20, 10, 5_000]
    decoding = Decoding(max_new_tokens=100, batch_size=3, batch_tokens=1_000)
    batches = plan_batches(lengths, decoding)
    # The longest first; one that is too long on its own is decoded on its own.
    assert batches == [[7], [1], [2, 3, 4], [5, 0, 6]]
    assert plan_batches(lengths, dataclasses.replace(decoding, batch_tokens=450)) == [
        [7],
        [1],
        [2, 3],
        [4, 5],
        [0, 6],
    ]
    free = dataclasses.replace(decoding, batch_tokens=None)
    assert plan_batches(lengths, free) == [[7, 1, 2], [3, 4, 5], [0, 6]]
    assert plan_batches([], decoding) == []


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_every_token_is_told_when_it_comes(
    taught_model: LocalModel, lessons: dict[str, str], batch_size: int
) -> None:
    told: list[int] = []
    completions = generate(
        taught_model,
        taught_prompts(taught_model, lessons),
        Decoding(max_new_tokens=120, batch_size=batch_size),
        on_tokens=told.append,
    )
    assert sum(told) == sum(completion.num_tokens for completion in completions)
    assert max(told) == batch_size


def test_equals_plain_greedy_without_a_cache(random_model: LocalModel) -> None:
    (prompt,) = random_prompts(1, len(random_model.tokenizer))
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(12):
            logits = random_model.model(torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
    expected = random_model.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    (completion,) = generate(random_model, [prompt], Decoding(max_new_tokens=12))
    assert completion == Completion(expected, 12, cut=True)


def test_answer_ends_at_the_end_token(taught_model: LocalModel, lessons: dict[str, str]) -> None:
    completions = generate(taught_model, taught_prompts(taught_model, lessons), EVERYTHING)
    assert [completion.text for completion in completions] == list(lessons.values())
    for completion, answer in zip(completions, lessons.values(), strict=True):
        assert completion.num_tokens == len(taught_model.tokenizer.encode(answer)) + 1
        assert not completion.cut


def test_answer_ends_before_an_observation(
    taught_model: LocalModel, lessons: dict[str, str]
) -> None:
    prompts = taught_prompts(taught_model, lessons)
    completions = generate(taught_model, prompts, dataclasses.replace(EVERYTHING, batch_size=2))
    stopped = generate(taught_model, prompts, Decoding(max_new_tokens=120))
    assert [completion.text for completion in stopped] == [
        'Action: <tool_add>\nAction Input: {"a": 1}',
        # The word within an argument ends nothing.
        'Action: <tool_say>\nAction Input: {"text": "Observation of it"}',
        # Nor does it within a sentence.
        "Final Answer: é is done. Observation: none at all",
        "no",
    ]
    # Nothing beyond the stop text is generated or counted, though other rows went on.
    answer = taught_model.tokenizer.encode(lessons["one"])
    needed = next(
        length
        for length in range(len(answer))
        if "\nObservation:" in taught_model.tokenizer.decode(answer[:length])
    )
    assert stopped[0].num_tokens == needed < completions[0].num_tokens
    assert stopped[1].num_tokens == completions[1].num_tokens


def test_answer_ends_at_the_length_limit(taught_model: LocalModel, lessons: dict[str, str]) -> None:
    completions = generate(
        taught_model, taught_prompts(taught_model, lessons), Decoding(max_new_tokens=3)
    )
    for completion, answer in zip(completions, lessons.values(), strict=True):
        assert completion.num_tokens <= 3
        assert answer.startswith(completion.text.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_stop_text_is_found_at_its_last_token(taught_model: LocalModel) -> None:
    tokenizer = taught_model.tokenizer
    answer = tokenizer.encode("x" * 60 + '{"a": 1}\nObservation: 5 and more')
    prompt = tokenizer.encode("Observation: in the prompt does not count")
    stop = StopOnText(tokenizer, len(prompt), ("Observation:",))
    lengths = [
        length
        for length in range(1, len(answer) + 1)
        if stop(torch.tensor([prompt + answer[:length]]), None).item()
    ]
    assert "Observation:" not in tokenizer.decode(answer[: lengths[0] - 1])
    assert "Observation:" in tokenizer.decode(answer[: lengths[0]])
    assert stop.lengths == {0: lengths[0]}


@pytest.mark.parametrize(
    ("written", "ending"),
    [
        ('{"text": "say Observation: here", "n": 2}', ""),
        ('{"text": "say Observation: here", "n": 2}', "\nObservation:"),
        ('{"text": "a \\" Observation: b \\\\", "n": 2}', " Observation:"),
        ('{"text": "say Observation: never closed', "\n"),
    ],
)
def test_an_argument_that_mentions_a_stop_text_is_written_to_its_end(
    taught_model: LocalModel, written: str, ending: str
) -> None:
    tokenizer = taught_model.tokenizer
    call = f"Action: note\nAction Input: {written}"
    answer = tokenizer.encode(call + ending)
    stop = StopOnText(tokenizer, 0, OBSERVATION_STOP)
    finished = [
        stop(torch.tensor([answer[:length]]), None).item() for length in range(1, len(answer) + 1)
    ]
    assert not any(finished[:-1])
    assert finished[-1] is bool(ending)


class ShortOfMemory:
    """A model that refuses more than two rows at once, and prompts of more than 80 tokens."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, input_ids: torch.Tensor, **options: Any) -> Any:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError(f"no room for\n{tuple(input_ids.shape)}")
        return self._model(input_ids=input_ids, **options)

    def generate(self, input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        if len(input_ids) > 2 or input_ids.shape[1] > 80:
            raise torch.OutOfMemoryError(f"no room for\n{tuple(input_ids.shape)}")
        return self._model.generate(input_ids=input_ids, **options)


def test_rows_too_big_for_the_memory_carry_their_error(random_model: LocalModel) -> None:
    prompts = random_prompts(12, len(random_model.tokenizer))
    assert {len(prompt) > 80 for prompt in prompts} == {True, False}
    decoding = Decoding(max_new_tokens=8, batch_size=8)
    expected = generate(random_model, prompts, decoding)
    short = dataclasses.replace(random_model, model=ShortOfMemory(random_model.model))
    for prompt, got, wanted in zip(
        prompts, generate(short, prompts, decoding), expected, strict=True
    ):
        if len(prompt) > 80:
            assert got.error.startswith("generation failed: OutOfMemoryError: no room for (1,")
            assert got.text == ""
        else:
            assert got == wanted


class Failing:
    """A model that fails in its own way as soon as it has more than ``room`` rows."""

    def __init__(self, model: Any, error: Exception, room: int = 0) -> None:
        self._model, self._error, self._room = model, error, room
        self.num_calls = 0

    def __call__(self, **options: Any) -> Any:
        return self._called(self._model, **options)

    def generate(self, **options: Any) -> torch.Tensor:
        return self._called(self._model.generate, **options)

    def _called(self, call: Any, input_ids: torch.Tensor, **options: Any) -> Any:
        self.num_calls += 1
        if len(input_ids) > self._room:
            raise self._error
        return call(input_ids=input_ids, **options)


def cpu_allocators_own_error() -> Exception:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**58)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), cpu_allocators_own_error()],
    ids=["cuda", "python", "cpu"],
)
def test_a_batch_is_halved_where_an_allocator_says_so(
    random_model: LocalModel, error: Exception
) -> None:
    prompts = random_prompts(6, len(random_model.tokenizer))
    decoding = Decoding(max_new_tokens=4, batch_size=6)
    short = dataclasses.replace(random_model, model=Failing(random_model.model, error, room=3))
    assert generate(short, prompts, decoding) == generate(random_model, prompts, decoding)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        NotImplementedError("no kernel for this device"),
    ],
    ids=str,
)
def test_a_broken_device_ends_the_work_and_makes_no_errors_of_rows(
    random_model: LocalModel, error: Exception
) -> None:
    model = Failing(random_model.model, error)
    broken = dataclasses.replace(random_model, model=model)
    with pytest.raises(DecodingError, match=str(error)) as raised:
        generate(broken, random_prompts(6, 60), Decoding(max_new_tokens=4))
    assert raised.value.exit_code == 1
    assert "run the same command again" in str(raised.value)
    assert model.num_calls == 1


@pytest.mark.parametrize("prompts", [[], [[5]]])
def test_any_number_of_prompts(random_model: LocalModel, prompts: list[list[int]]) -> None:
    assert len(generate(random_model, prompts, Decoding(max_new_tokens=1))) == len(prompts)
