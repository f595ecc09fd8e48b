"""Whether a row is kept, and in which split: looked up in what was seen before, of which nothing is changed here."""

from dataclasses import dataclass
from typing import Any

from components.lib.data import checks
from components.lib.data.adapters import Draft
from components.lib.data.dedup import Index, Near, Seen
from components.lib.data.gold import Gold, parsed_gold
from components.lib.data.normal import same, share
from components.lib.data.reasons import Refused
from components.lib.data.splits import HELD_OUT
from components.lib.data.tally import Tally
from components.lib.generation.prompts import Message
from components.lib.recipe.schema import Form, Standardize

# First part of a reason -> the splits whose questions no row that it is about may share.
APART = {"overlap": ("evaluation",), "held-out": HELD_OUT}


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem whose gold was read."""

    key: str  # the question with its options, in the form of `same`
    words: str  # without them: many problems of one source may have the same
    draft: Draft
    gold: Gold


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation in normal form, held to its gold where one is known."""

    key: str  # question and answer in the form of `same`
    question: str  # alone
    messages: list[Message]
    gold: Gold | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a row goes: its split, how often it is written there, and its fingerprint for later rows."""

    split: str
    copies: int
    near: Near | None


class Rules:
    """What is decided about rows with the settings and the seed of a run, by what is in `index` so far."""

    def __init__(self, index: Index, settings: Standardize, seed: int) -> None:
        self.index, self.settings, self.seed = index, settings, seed

    def problem(self, problem: Problem, tally: Tally, *, evaluation: bool) -> Placement | Refused:
        """Where a problem of the source of `tally` goes, one of an evaluation source or of a training source."""
        question = problem.key
        seen = self.index.find("question", question)
        try:
            if not evaluation:
                checks.check_own_gold(problem.draft, problem.gold)
                self._check_apart(problem.words, seen, "overlap")
            if seen:
                raise Refused("duplicate", of=_where(seen))
            near = self.index.near("question", problem.words, problem.words, problem.gold.options)
            if not evaluation:
                self._check_near(near, "near-duplicate", "overlap")
            copies = self._copies(tally, question)
        except Refused as refused:
            return refused
        split = "evaluation" if evaluation else self._split(question)
        # a held-out problem twice would count twice in the gate
        return Placement(split, copies if split == "problems" else 1, near)

    def asked(self, draft: Draft, question: str, kind: str, form: Form) -> Gold | None:
        """The gold that a conversation is held to, None if none is known; `Refused` if its question is not allowed.

        The gold of a problem that asks the same goes before its own, which is of `kind`.
        """
        if draft.flaw or not draft.reasoning:
            raise Refused(draft.flaw or "no-trace")
        seen = self.index.find("question", question)
        if seen and seen.gold is None:
            raise Refused("wrong-gold", of=_where(seen))
        if not seen or seen.split != "problems":
            self._check_apart(same(draft.question), seen, *APART)
            near = self.index.near("question", same(draft.question), same(draft.question), draft.options)
            self._check_near(near, "", *APART)
        if seen and seen.gold:
            checks.check_same(draft, seen.gold)
            return seen.gold
        return None if draft.gold is None else parsed_gold(draft.gold, draft, kind, form)

    def conversation(self, conversation: Conversation, tokens: int, tally: Tally) -> Placement | Refused:
        """Where a conversation of `tokens` tokens goes."""
        key = conversation.key
        try:
            if tokens > self.settings.max_tokens:
                raise Refused("too-long", tokens=tokens, limit=self.settings.max_tokens)
            if seen := self.index.find("conversation", key):
                raise Refused("duplicate", of=_where(seen))
            near = self.index.near("conversation", key, conversation.question)
            self._check_near(near, "near-duplicate")
            return Placement("sft", self._copies(tally, key), near)
        except Refused as refused:
            return refused

    def _check_apart(self, question: str, seen: Seen | None, *kinds: str) -> None:
        """Refuse a question that is in the splits of `kinds`, or shares a run of words with one there."""
        for kind in kinds:
            if seen and seen.split in APART[kind]:
                raise Refused("overlap-exact" if kind == "overlap" else kind, of=_where(seen))
        for kind in kinds:
            if shared := self.index.shared_gram(question, APART[kind]):
                raise Refused(f"{kind}-ngram", of=_where(shared[0]), words=shared[1])

    def _check_near(self, near: Near | None, otherwise: str, *kinds: str) -> None:
        """Refuse what is near a row in the splits of `kinds`, or, if `otherwise` is a reason, near any other row."""
        reasons = {split: f"{kind}-near" for kind in kinds for split in APART[kind]}
        found = [
            (reasons.get(seen.split, otherwise), seen, similarity)
            for seen, similarity in (self.index.find_near(near) if near else ())
        ]
        # what has to do with held-out rows is more telling than a mere duplicate
        for reason, seen, similarity in sorted(found, key=lambda one: one[0] == otherwise):
            if reason:
                raise Refused(reason, of=_where(seen), similarity=similarity)

    def _split(self, question: str) -> str:
        """The split of a training problem: by the hash of its question and the seed, by nothing else."""
        at, settings = share(self.seed, "split", question), self.settings
        if at < settings.plateau_share:
            return "plateau"
        return "gate" if at < settings.plateau_share + settings.gate_share else "problems"

    def _copies(self, tally: Tally, key: str) -> int:
        """How often the source's weight takes a row, by its hash; `Refused` if not at all or if the cap is reached."""
        weight, cap = tally.source.weight, tally.source.cap
        copies = int(weight) + (share(self.seed, "weight", key) < weight % 1)
        if not copies:
            raise Refused("weight", weight=weight)
        if cap and tally.kept >= cap:
            raise Refused("over-cap", cap=cap)
        return copies


def _where(seen: Seen) -> dict[str, Any]:
    return {"file": seen.split, "source": seen.source, "index": seen.index}
