"""Why a row can be refused: the stable codes of rejects.jsonl, and what each means to a reader."""

from typing import Any

REASONS = {
    "empty-line": "the line is blank",
    "line-too-long": "the line is longer than a row can be, a line end is missing",
    "not-utf8": "the bytes are not UTF-8",
    "not-json": "the line is not strict JSON (NaN and infinities are not JSON either)",
    "not-csv": "the record is not CSV, a quote is open or a carriage return is stray",
    "wrong-columns": "the record has more or fewer columns than the header",
    "duplicate-key": "a key occurs twice in one object, so the value is ambiguous",
    "lone-surrogate": "an escape is half of a character and stands for no text",
    "not-an-object": "the row is JSON but not an object with fields",
    "missing-field": "a field that the adapter needs is not there",
    "wrong-type": "a field holds something else than the adapter needs",
    "empty-field": "a field holds nothing to be seen",
    "wrong-roles": "the messages are not one system (or none), one user, one assistant, in this order",
    "no-think": "the assistant's text has no think block",
    "unclosed-think": "the think block is never closed",
    "unopened-think": "a think block is closed that was never opened",
    "nested-think": "a think block stands inside another",
    "several-thinks": "there is more than one think block",
    "broken-tag": "a tag of thought or solution is misspelt, has no partner, or another one than its own",
    "empty-think": "the think block holds nothing to be seen",
    "text-before-think": "text stands in front of the think block",
    "tag-in-question": "the question holds a think tag",
    "special-token": "the text holds an end token or a turn marker of this model or of another",
    "control-character": "the text holds a control character",
    "replacement-character": "the text holds U+FFFD, the mark of an earlier wrong decoding",
    "no-answer": "there is no final answer that can be read",
    "several-answers": "there is more than one final answer, and they differ",
    "bad-gold": "the gold is no answer of the source's kind",
    "bad-options": "the options are fewer than two, one is empty, or their letters are not A, B, ... in order",
    "verdict-count": "there are more or fewer verdicts than generations",
    "no-right-trace": "no generation is called right, so there is no trace",
    "no-trace": "the row has no reasoning, so there is no trace",
    "bad-annotation": "the << and >> of the worked solution do not pair",
    "contradicts-gold": "the trace ends in another answer than the gold",
    "wrong-gold": "the gold contradicts its own worked solution, or the conversation asks such a problem",
    "no-gold": "the row is to be a problem, but names no gold, and its answer cannot be read",
    "too-long": "the conversation has more tokens than the budget",
    "duplicate": "the row was there before, but for case and spacing",
    "near-duplicate": "the row is nearly one that was there before",
    "overlap-exact": "the question is in the evaluation set",
    "overlap-ngram": "the question shares a long run of words with the evaluation set",
    "overlap-near": "the question is nearly one of the evaluation set",
    "held-out": "the conversation asks a question of plateau or gate",
    "held-out-ngram": "the conversation's question shares a long run of words with plateau or gate",
    "held-out-near": "the conversation's question is nearly one of plateau or gate",
    "over-cap": "the source's cap was reached",
    "weight": "left out by the source's weight",
}

# A source of which every row is refused for one of these was given the wrong adapter, or is not text at all.
MISFIT = frozenset(
    "empty-line line-too-long not-utf8 not-json not-csv wrong-columns duplicate-key lone-surrogate not-an-object "
    "missing-field wrong-type wrong-roles no-think".split()
)

# Nothing is wrong with such a row: its source asked for fewer.
BY_CHOICE = ("over-cap", "weight")

# What a reader of the summary must see one by one: contamination, and golds that are wrong.
FINDINGS = ("overlap-exact", "overlap-near", "overlap-ngram", "held-out-near", "held-out-ngram", "wrong-gold",
            "contradicts-gold")  # fmt: skip


class Refused(Exception):
    """A row is refused for `reason`, one of REASONS; `detail` goes into rejects.jsonl beside it."""

    def __init__(self, reason: str, **detail: Any) -> None:
        assert reason in REASONS, reason
        super().__init__(reason)
        self.reason, self.detail = reason, detail
