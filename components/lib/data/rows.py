"""From sources to the rows that a run uses, each in its one file; no row disappears on the way.

Evaluation sources are read first, then the problems, then the SFT conversations, so that each is checked against
what it must not hold: problems against the evaluation set, conversations against that and the held-out problems.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from components.lib.data import checks, sources
from components.lib.data.adapters import ADAPTERS, Draft
from components.lib.data.dedup import Index, Near, Seen
from components.lib.data.normal import digest, same, share
from components.lib.data.reasons import MISFIT, Refused
from components.lib.data.tally import FILES, Histogram, Ledger, Tally
from components.lib.data.tokens import Tokens
from components.lib.generation.prompts import assistant_text, question_messages
from components.lib.recipe.schema import Source, Standardize
from components.lib.registry.plan import Plan

HELD_OUT = ("plateau", "gate")
_BATCH = 64  # conversations whose tokens are counted together


@dataclass(frozen=True, slots=True)
class _Conversation:
    """A conversation that passed the checks of its texts."""

    index: int
    raw: Any
    draft: Draft
    question: str  # in the form of `same`
    messages: list[dict[str, str]]
    gold: str | None


@dataclass(frozen=True)
class Written:
    """What `write_rows` did: the counts of every row, how tokens were counted, and what is wrong with the whole."""

    ledger: Ledger
    tokens: str
    error: str  # empty if nothing is


def write_rows(*, plan: Plan, settings: Standardize, out: Path) -> Written:
    """Write sft, problems, plateau, gate, evaluation and rejects (.jsonl) to `out`.

    Rows of sft.jsonl are {"id", "messages", "gold", "source", "index", "revision", "licence", "hash"}, of the four
    problem files {"id", "question", "gold", "solution", "source", ...}, of rejects.jsonl {"source", "index",
    "reason", "row", ...}; reasons.py lists the reasons. `ValueError` if a source cannot be read.
    """
    taken: set[str] = set()
    training, evaluation = sources.named(plan.sources, taken), sources.named(plan.evaluation, taken)
    _check_sources(training, evaluation)
    training, evaluation = tuple(map(sources.pinned, training)), tuple(map(sources.pinned, evaluation))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".standardize-") as folder:
        ledger = Ledger(Path(folder))
        try:
            run = _Run(plan, settings, ledger, Path(folder))
            error = run.all(training, evaluation)
        finally:
            ledger.close()
        for name in FILES:
            os.replace(Path(folder) / f"{name}.jsonl", out / f"{name}.jsonl")
    ledger.check()
    return Written(ledger, run.tokens.name, error)


def _check_sources(training: tuple[Source, ...], evaluation: tuple[Source, ...]) -> None:
    if not training:
        raise ValueError("sources is empty; list at least one")
    if not evaluation:
        raise ValueError(
            "evaluation is empty; name the evaluation problems, so that training can be kept clear of them"
        )
    for source in (*training, *evaluation):
        if source.weight <= 0 or source.cap < 0:
            raise ValueError(f"source {source.name!r}: weight must be above 0 and cap at least 0")


class _Run:
    """One run: the index of what was seen, the ledger, and one method per kind of row."""

    def __init__(self, plan: Plan, settings: Standardize, ledger: Ledger, folder: Path) -> None:
        self.plan, self.settings, self.ledger = plan, settings, ledger
        self.tokens = Tokens(plan.model, plan.revision)
        self.index = Index(
            folder / "seen.sqlite", similarity=settings.duplicate_similarity, gram_words=settings.overlap_words
        )
        ledger.histograms["conversations"] = Histogram("tokens", settings.max_tokens)
        ledger.histograms["problems"] = Histogram("words")

    def all(self, training: tuple[Source, ...], evaluation: tuple[Source, ...]) -> str:
        """Read every source; returns what is wrong with the whole, "" if nothing is."""
        try:
            for source in evaluation:
                self.problems(source, evaluation=True)
            for source in (s for s in training if s.use == "problems"):
                self.problems(source, evaluation=False)
            for source in (s for s in training if s.use == "sft"):
                self.conversations(source)
        finally:
            self.index.close()
        return _misfit(self.ledger.tallies) or self._empty({source.use for source in training})

    def problems(self, source: Source, *, evaluation: bool) -> None:
        """Send the rows of a source of problems to evaluation, plateau, gate or problems."""
        tally = self.ledger.begin(source)
        for index, raw, draft in self._drafts(source, tally):
            try:
                self._problem(tally, index, raw, draft, evaluation)
            except Refused as refused:
                self.ledger.refuse(tally, index, raw, refused)
        _report(tally)

    def conversations(self, source: Source) -> None:
        """Send the rows of a source of conversations to sft."""
        tally = self.ledger.begin(source)
        found = self._conversations(source, tally)
        while batch := list(islice(found, _BATCH)):
            counts = self.tokens.count([conversation.messages for conversation in batch])
            for conversation, tokens in zip(batch, counts, strict=True):
                try:
                    self._conversation(tally, conversation, tokens)
                except Refused as refused:
                    self.ledger.refuse(tally, conversation.index, conversation.raw, refused)
        _report(tally)

    def _drafts(self, source: Source, tally: Tally) -> Iterator[tuple[int, Any, Draft]]:
        """(index, row, draft) of the rows that fit the adapter; the others are refused."""
        adapter = ADAPTERS[source.adapter]
        for record in sources.records(source, self.plan.seed):
            self.ledger.count(tally)
            try:
                if record.refused:
                    raise record.refused
                draft = adapter(record.row)
                checks.check_texts(draft)
            except Refused as refused:
                self.ledger.refuse(tally, record.index, record.row, refused)
                continue
            yield record.index, record.row, draft

    def _problem(self, tally: Tally, index: int, raw: Any, draft: Draft, evaluation: bool) -> None:
        gold = checks.problem_gold(draft)
        tally.golds += 1
        question, here = same(draft.question), (tally.source.name, index)
        near = self.index.near("question", question, question)
        try:
            if not evaluation:
                checks.check_own_gold(draft, gold)
                self._check_overlap(question, ("evaluation",), "overlap")
            if seen := self.index.find("question", question):
                raise Refused("duplicate", of=_where(seen))
            if near and not evaluation:
                self._check_near(near, {"evaluation": "overlap-near"}, "near-duplicate")
            copies = self._copies(tally, question)
        except Refused as refused:
            # a trace of this question can be checked all the same, unless the gold is wrong
            known = None if refused.reason == "wrong-gold" else gold
            self.index.add("question", question, Seen("rejects", known, *here))
            raise
        place = "evaluation" if evaluation else self._split(question)
        self._remember_problem(question, near, Seen(place, gold, *here))
        row = {"id": digest(question)[:16], "question": draft.question, "gold": gold, "solution": draft.reasoning}
        self.ledger.histograms["problems"].add(len(draft.question.split()))
        # a held-out problem twice would count twice in the gate
        self.ledger.accept(tally, place, _with_origin(row, tally, index), raw, copies if place == "problems" else 1)

    def _remember_problem(self, question: str, near: Near | None, seen: Seen) -> None:
        self.index.add("question", question, seen)
        if near:
            self.index.add_near(near, seen)
        if seen.place != "problems":
            self.index.add_grams(question, seen)

    def _conversations(self, source: Source, tally: Tally) -> Iterator[_Conversation]:
        for index, raw, draft in self._drafts(source, tally):
            try:
                yield self._checked(tally, index, raw, draft)
            except Refused as refused:
                self.ledger.refuse(tally, index, raw, refused)

    def _checked(self, tally: Tally, index: int, raw: Any, draft: Draft) -> _Conversation:
        """The conversation in normal form, its answer settled against the gold where one is known."""
        question, answer = same(draft.question), draft.answer
        if not draft.reasoning:
            raise Refused("empty-think")
        known = self.index.find("question", question)
        if known:
            _check_place(known)
            if known.gold is None:
                raise Refused("wrong-gold", of=_where(known))
        if not known or known.place != "problems":
            self._check_overlap(question, ("evaluation",), "overlap")
            self._check_overlap(question, HELD_OUT, "held-out")
            if asked := self.index.near("question", question, question):
                self._check_near(asked, {"evaluation": "overlap-near"} | dict.fromkeys(HELD_OUT, "held-out-near"), "")
        gold = known.gold if known else checks.parsed_gold(draft.gold) if draft.gold is not None else None
        if gold is not None:
            tally.golds += 1
            checks.check_own_gold(draft, gold)
            answer = checks.settled_answer(draft, gold)
            tally.notes["answer marked with ####"] += "####" not in draft.answer
        assistant = {"role": "assistant", "content": assistant_text(draft.reasoning, answer)}
        return _Conversation(index, raw, draft, question, [*question_messages(draft.question), assistant], gold)

    def _conversation(self, tally: Tally, conversation: _Conversation, tokens: int) -> None:
        limit = self.settings.max_tokens
        self.ledger.histograms["conversations"].add(tokens)
        if tokens > limit:
            raise Refused("too-long", tokens=tokens, limit=limit)
        question = conversation.question
        key = f"{question}\n{same(conversation.messages[-1]['content'])}"
        if seen := self.index.find("conversation", key):
            raise Refused("duplicate", of=_where(seen))
        near = self.index.near("conversation", key, question)
        if near:
            self._check_near(near, {}, "near-duplicate")
        copies = self._copies(tally, key)
        seen = Seen("sft", conversation.gold, tally.source.name, conversation.index)
        self.index.add("conversation", key, seen)
        if near:
            self.index.add_near(near, seen)
        row = {"id": digest(key)[:16], "messages": conversation.messages, "gold": conversation.gold}
        self.ledger.accept(tally, "sft", _with_origin(row, tally, conversation.index), conversation.raw, copies)

    def _check_overlap(self, question: str, places: tuple[str, ...], reason: str) -> None:
        """Refuse a question that one of `places` has, or shares an n-gram with."""
        seen = self.index.find("question", question)
        if seen and seen.place in places:
            _check_place(seen)
        if shared := self.index.shared_gram(question, places):
            raise Refused(f"{reason}-ngram", of=_where(shared[0]), words=shared[1])

    def _check_near(self, near: Near, reasons: dict[str, str], otherwise: str) -> None:
        """Refuse what is near a row of a place in `reasons`, for that reason, or of another one, for `otherwise`."""
        found = [
            (reasons.get(seen.place, otherwise), seen, similarity) for seen, similarity in self.index.find_near(near)
        ]
        # what has to do with held-out rows is more telling than a mere duplicate
        for reason, seen, similarity in sorted(found, key=lambda one: one[0] == otherwise):
            if reason:
                raise Refused(reason, of=_where(seen), similarity=similarity)

    def _split(self, question: str) -> str:
        """The file of a problem: by the hash of its question and the seed, by nothing else."""
        at, settings = share(self.plan.seed, "split", question), self.settings
        if at < settings.plateau_share:
            return "plateau"
        return "gate" if at < settings.plateau_share + settings.gate_share else "problems"

    def _copies(self, tally: Tally, key: str) -> int:
        """How often the source's weight takes a row, by its hash; `Refused` if not at all or if the cap is reached."""
        weight, cap = tally.source.weight, tally.source.cap
        copies = int(weight) + (share(self.plan.seed, "weight", key) < weight % 1)
        if not copies:
            raise Refused("weight", weight=weight)
        if cap and tally.kept >= cap:
            raise Refused("over-cap", cap=cap)
        return copies

    def _empty(self, uses: set[str]) -> str:
        written = self.ledger.written
        if not written["evaluation"]:
            return "no evaluation problem is left"
        if "problems" in uses and not written["problems"]:
            return "no training problem is left"
        if "sft" in uses and not written["sft"]:
            return "no SFT conversation is left"
        return ""


def _misfit(tallies: list[Tally]) -> str:
    for tally in (tally for tally in tallies if not tally.source.optional):
        name, adapter = tally.source.name, tally.source.adapter
        if not tally.read:
            return f"source {name!r} holds no rows"
        if set(tally.rejected) <= MISFIT and not tally.kept:
            reasons = ", ".join(f"{count} {reason}" for reason, count in tally.rejected.most_common())
            return f"source {name!r}: no row fits the adapter {adapter!r} ({reasons})"
    return ""


def _report(tally: Tally) -> None:
    kept = ", ".join(f"{count:,} {place}" for place, count in tally.accepted.items()) or "none"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally.rejected.most_common()) or "none"
    print(f"standardize: {tally.source.name}: {tally.read:,} rows: kept {kept}; refused {reasons}", flush=True)


def _check_place(seen: Seen) -> None:
    if seen.place == "evaluation":
        raise Refused("overlap-exact", of=_where(seen))
    if seen.place in HELD_OUT:
        raise Refused("held-out", of=_where(seen))


def _where(seen: Seen) -> dict[str, Any]:
    return {"file": seen.place, "source": seen.source, "index": seen.index}


def _with_origin(row: dict[str, Any], tally: Tally, index: int) -> dict[str, Any]:
    """The row with where it came from, and the hash of its normal form."""
    content = json.dumps({k: v for k, v in row.items() if k != "id"}, sort_keys=True, ensure_ascii=False)
    source = tally.source
    origin = {"source": source.name, "index": index, "revision": source.revision, "licence": source.licence}
    return {**row, **origin, "hash": digest(content)}
