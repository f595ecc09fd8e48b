"""Batched decoding with `transformers`, without any padding: evaluation, the plateau and GRPO's rollouts share it."""

import gc
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.lib import machine
from components.lib.answers.final import states_answer
from components.lib.answers.kinds import answers_of, form_of
from components.lib.generation import prompts
from components.lib.generation.loading import cached, token_id
from components.lib.recipe.schema import CHECKER, Form

# Rows leave the batch once this share of it has ended; moving the cache costs about one step.
_DROP_SHARE = 0.125


class NotFinite(RuntimeError):
    """Numbers of a model, its loss or its gradient are no longer finite."""


@dataclass(frozen=True)
class Asked:
    """What decides where the answer to a prompt ends."""

    thinking: bool  # whether the prompt has opened the think block
    kind: str = "number"
    form: Form = "marker"

    @staticmethod
    def of(prompt: str, row: Mapping[str, Any]) -> "Asked":
        """Of a rendered prompt, which asks the problem of a row."""
        return Asked(prompts.prefilled(prompt), answers_of(row), form_of(row))


class Text:
    """Turns token ids into completion text and says when the answer has been given."""

    def __init__(self, tokenizer: Any, end: set[int]) -> None:
        """`end` holds the ids that end a completion."""
        self.tokenizer, self.end = tokenizer, end
        tags = {token_id(tokenizer, tag) for tag in (prompts.OPEN, prompts.CLOSE)}
        # The think tags are special tokens in some vocabularies, and are judged all the same.
        self.hidden = (set(tokenizer.all_special_ids) | end) - tags
        self.newline: dict[int, bool] = {}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids without special tokens, the think tags kept."""
        kept = [i for i in ids if i not in self.hidden]
        return self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def ends_line(self, token: int) -> bool:
        """Whether a token's text holds a newline, so that a line may have become whole."""
        if token not in self.newline:
            self.newline[token] = "\n" in self.tokenizer.decode([token])
        return self.newline[token]

    def answered(self, ids: Sequence[int], asked: Asked) -> bool:
        """Whether the last whole line of a text states an answer, outside the think block."""
        if asked.kind.startswith(CHECKER):
            return False  # what its answer looks like only the checker knows
        text = (prompts.OPEN if asked.thinking else "") + self.decode(ids)
        if text.rfind(prompts.OPEN) > text.rfind(prompts.CLOSE):
            return False
        line = text.rpartition("\n")[0].rstrip().rpartition("\n")[2]
        return states_answer(line, asked.form, digits=asked.kind == "number")

    def ended(self, ids: Sequence[int]) -> str:
        """Why a completion is over with its last token: "end token", or "" when it goes on."""
        return "end token" if ids[-1] in self.end else ""

    def ends(self, ids: Sequence[int], asked: Asked) -> str:
        """Why a completion is over with its last token: "end token", "answer", or "" when it goes on.

        "answer" is said one token late: the token after a whole answer line shows that the model would go on.
        """
        if why := self.ended(ids):
            return why
        over = len(ids) > 1 and self.ends_line(ids[-2]) and self.answered(ids[:-1], asked)
        return "answer" if over else ""


@dataclass
class Row:
    """One completion in the making; `over` gets the ids written so far and says why they are complete, or ""."""

    prompt: list[int]
    over: Callable[[list[int]], str]
    written: list[int] = field(default_factory=list)
    why: str = ""  # what `over` said, or "length"

    def take(self, position: int, chosen: int, limit: int) -> int:
        """The token at a position: the prompt's own, else the one that the model chose, which is written down."""
        if position < len(self.prompt):
            return self.prompt[position]
        if not self.why:
            self.written.append(chosen)
            self.why = self.over(self.written) or ("length" if len(self.written) == limit else "")
        return chosen


class Decoder:
    """Writes the completions of many rows in step.

    What the prompts have in common, such as exemplars, is read once, and so is a prompt of several rows. Then all go
    on in step: a prompt that is longer than the shortest is read to its end while other rows write already. Every row
    so sees exactly what it would see alone, which padding cannot promise on every kernel of a recurrent layer. Rows
    that have ended leave the batch.

    Who decodes anywhere, for rollouts, evaluation, samples, the screening or `ask`, does it here, so all of them go on
    with fewer rows when memory runs out.
    """

    def __init__(self, *, limit: int, temperature: float, top_p: float = 1.0, together: int | None = None) -> None:
        """`limit` is the longest completion in tokens, `temperature` 0 means greedy, `together` bounds the rows."""
        import torch

        self.torch, self.limit, self.together = torch, limit, together
        self.temperature, self.top_p = temperature, top_p

    def forget(self) -> None:
        """Give back what is kept from one call to the next; here nothing."""

    def decode(self, model: Any, rows: list[Row], generator: Any) -> None:
        """Write the completions of `rows` with a model in evaluation mode; `generator` is on its device.

        Rows that do not fit the memory are begun again, half as many together from then on. A greedy completion is
        the same in any company; sampled ones are drawn as if only so many had gone together in the first place.
        `NotFinite` if the model gives no finite numbers, `RuntimeError` if not even one row fits.
        """
        while waiting := [row for row in rows if not row.why][: self.together]:
            drawn = generator.get_state()
            if self._fits(model, waiting, generator):
                continue
            for row in waiting:
                row.written, row.why = [], ""
            generator.set_state(drawn)
            self.together = len(waiting) // 2
            self.forget()
            gc.collect()  # what failed may hold its tensors in a circle
            self.torch.cuda.empty_cache()
            print(f"{len(waiting)} completions do not fit the memory, {self.together} go together", flush=True)

    def _fits(self, model: Any, rows: list[Row], generator: Any) -> bool:
        """Write the completions of `rows` together; False if memory runs out."""
        try:
            self._write(model, rows, generator)
        except Exception as error:
            if not machine.out_of_memory(error):
                raise
            if len(rows) == 1:
                raise RuntimeError(
                    f"out of memory: a prompt of {len(rows[0].prompt)} tokens and a completion of at most {self.limit} "
                    f"do not fit ({error}); lower max_new_tokens, or take a smaller model"
                ) from error
            return False
        return True

    def _write(self, model: Any, rows: list[Row], generator: Any) -> None:
        """Write the completions of `rows` in step."""
        torch, device = self.torch, model.device
        places = by_prompt(rows)
        with torch.inference_mode():
            cache, logits = self._prefill(model, [place[0].prompt for place in places])
            if not torch.isfinite(logits).all():
                raise NotFinite("the model answers its prompts with NaN or infinite logits; its weights are broken")
            for position in itertools.count(min(len(row.prompt) for row in rows)):
                if index := _parting(places, position):
                    places = [part for place in places for part in _parts(place, position)]
                    where = torch.tensor(index, device=device)
                    cache.reorder_cache(where)
                    logits = logits[where]
                chosen = self._choose(logits, generator).tolist()
                pairs = zip(places, chosen, strict=True)
                tokens = [place[0].take(position, token, self.limit) for place, token in pairs]
                going = [k for k, place in enumerate(places) if not place[0].why]
                if not going:
                    break
                if len(places) - len(going) >= _DROP_SHARE * len(places):
                    places, tokens = [places[k] for k in going], [tokens[k] for k in going]
                    cache.reorder_cache(torch.tensor(going, device=device))
                logits = _forward(model, torch.tensor(tokens, device=device)[:, None], cache)

    def _prefill(self, model: Any, prompts: list[list[int]]) -> tuple[Any, Any]:
        """Read as much of distinct prompts as all have; returns the cache and the next logits (prompts, vocabulary)."""
        tensor = lambda values: self.torch.tensor(values, device=model.device)  # noqa: E731
        cache = self._cache(model.config)
        shortest, common = min(map(len, prompts)), common_prefix(prompts) if len(prompts) > 1 else 0
        logits = _forward(model, tensor([prompts[0][:common]]), cache) if common else None
        if common:
            cache.reorder_cache(tensor([0] * len(prompts)))
        if common == shortest:
            assert logits is not None
            return cache, logits[tensor([0] * len(prompts))]
        return cache, _forward(model, tensor([prompt[common:shortest] for prompt in prompts]), cache)

    def _cache(self, config: Any) -> Any:
        """An empty cache for prompts that are read."""
        from components.lib.generation.caches import growing

        return growing(config)

    def _choose(self, logits: Any, generator: Any) -> Any:
        """One token id per row of logits (rows, vocabulary)."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        from components.lib.generation.draw import tokens_of

        return tokens_of(logits, self.temperature, self.top_p, generator)


def by_prompt(rows: list[Row]) -> list[list[Row]]:
    """The rows of each distinct prompt."""
    found: dict[tuple[int, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.prompt), []).append(row)
    return list(found.values())


def _parting(places: list[list[Row]], position: int) -> list[int]:
    """For each row of the cache to come, its row now; empty unless rows of one prompt must part at this position."""
    parts = [len(_parts(place, position)) for place in places]
    return [k for k, count in enumerate(parts) for _ in range(count)] if max(parts) > 1 else []


def _parts(place: list[Row], position: int) -> list[list[Row]]:
    """The rows that share a place in the cache, together while they read their prompt, then each alone."""
    return [place] if position < len(place[0].prompt) else [[row] for row in place]


def common_prefix(rows: Sequence[list[int]]) -> int:
    """How many first tokens all rows share."""
    first, last = min(rows), max(rows)  # in lexical order these two differ first
    pairs = zip(first, last, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))


def mixed_seed(*parts: Any) -> int:
    """One seed of 63 bits, as torch and vLLM want, from any values."""
    digest = hashlib.sha256(",".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _forward(model: Any, ids: Any, cache: Any) -> Any:
    """Feed token ids (rows, length) after what the cache holds; returns the last logits (rows, vocabulary)."""
    return model(input_ids=ids, **cached(model, cache), logits_to_keep=1).logits[:, -1]
