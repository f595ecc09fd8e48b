"""How many tokens a conversation has, without transformers: the model's own tokenizer.json and chat template."""

from collections.abc import Sequence

from components.lib.generation import prompts
from components.lib.generation.prompts import Message
from components.lib.model.ends import ends_of
from components.lib.model.files import model_directory
from components.lib.model.template import Template
from components.lib.model.tokens import Counter

BYTES_PER_TOKEN = 3  # an estimate on the safe side: Qwen's tokenizer takes 3.5 to 4.5 bytes of English per token


class Tokens:
    """Counts the tokens of conversations as SFT makes them.

    An empty `model` counts no tokens but estimates one per BYTES_PER_TOKEN bytes of UTF-8; `name` says so. `ValueError`
    if the model has no tokenizer.json or no chat template.
    """

    def __init__(self, model: str, revision: str) -> None:
        self.counter = None
        self.name = f"an estimate, one token per {BYTES_PER_TOKEN} bytes of UTF-8"
        if model:
            directory = model_directory(model, revision, tokenizer_only=True)
            self.counter, self.template, self.end = Counter(directory), Template(directory), ends_of(directory).taught
            if not self.template.chat_template:
                raise ValueError(f"model {model!r} has no chat template, so its conversations cannot be counted")
            self.name = f"the tokenizer of {model}"

    def count(self, conversations: Sequence[Sequence[Message]]) -> list[tuple[int, int]]:
        """Tokens of each conversation of [system, user, assistant]: of its prompt, and of the reply."""
        if self.counter is None:
            sizes = [[len(message["content"].encode()) for message in messages] for messages in conversations]
            estimates = [(-(-sum(size) // BYTES_PER_TOKEN), -(-size[-1] // BYTES_PER_TOKEN)) for size in sizes]
            return [(whole - reply, reply) for whole, reply in estimates]
        texts = [text for messages in conversations for text in self._texts(messages)]
        counted = self.counter.count(texts)
        return list(zip(counted[::2], counted[1::2], strict=True))

    def of(self, text: str) -> int:
        """Tokens of a text by itself."""
        return self.counter.count([text])[0] if self.counter else -(-len(text.encode()) // BYTES_PER_TOKEN)

    def _texts(self, messages: Sequence[Message]) -> tuple[str, str]:
        """Prompt and completion: SFT tokenizes each by itself, since a token may not reach across their border."""
        prompt = prompts.render(self.template, messages[:-1])
        return prompt, prompts.completion_text(prompt, messages[-1]["content"], self.end)
