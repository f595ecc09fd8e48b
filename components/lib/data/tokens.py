"""How many tokens a conversation has, without transformers: the model's own tokenizer.json."""

from collections.abc import Sequence

from components.lib.generation.prompts import Message
from components.lib.model.files import model_directory

BYTES_PER_TOKEN = 3  # an estimate on the safe side: Qwen's tokenizer takes 3.5 to 4.5 bytes of English per token


class Tokens:
    """Counts tokens of conversations rendered as ChatML, which is what Qwen's chat template gives.

    For a model with another template the control tokens count as ordinary text, a few tokens too many. An empty
    `model` counts no tokens but estimates one per BYTES_PER_TOKEN bytes of UTF-8; `name` says so.
    """

    def __init__(self, model: str, revision: str) -> None:
        self.tokenizer = None
        self.name = f"an estimate, one token per {BYTES_PER_TOKEN} bytes of UTF-8"
        if not model:
            return
        from tokenizers import Tokenizer

        path = model_directory(model, revision, tokenizer_only=True) / "tokenizer.json"
        if not path.is_file():
            raise ValueError(f"model {model!r} has no tokenizer.json, so tokens cannot be counted; save one with it")
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.name = f"the tokenizer of {model}"

    def count(self, conversations: Sequence[Sequence[Message]]) -> list[int]:
        """Tokens of each conversation."""
        texts = [_chatml(messages) for messages in conversations]
        if self.tokenizer is None:
            return [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts]
        return [len(found.ids) for found in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _chatml(messages: Sequence[Message]) -> str:
    return "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
