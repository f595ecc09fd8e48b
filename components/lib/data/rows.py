"""From sources to the rows that a run uses, each in its one file; no row disappears on the way.

Evaluation sources are read first, then the problems, then the SFT conversations, so that each is checked against
what it must not hold: problems against the evaluation set, conversations against that and the held-out problems.
"""

import errno
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from components.lib.answers import checker
from components.lib.data import alarms, checks, fields, sources
from components.lib.data.adapters import Draft
from components.lib.data.decide import Conversation, Placement, Problem, Rules
from components.lib.data.dedup import Index, Seen
from components.lib.data.detect import Found, resolved
from components.lib.data.gold import Gold, problem_gold
from components.lib.data.markers import Markers
from components.lib.data.normal import digest, same
from components.lib.data.reasons import Refused
from components.lib.data.splits import FILES
from components.lib.data.tally import Histogram, Ledger, Tally
from components.lib.data.tokens import Tokens
from components.lib.data.trial import TRIED, plain_row, try_checker
from components.lib.files import naming
from components.lib.generation import prompts
from components.lib.generation.context import REPLIES, SOLUTIONS
from components.lib.recipe import settings as recipe_settings
from components.lib.recipe.schema import CHECKER, NAMED, Form, Source, Standardize, Use
from components.lib.registry.plan import Plan

T = TypeVar("T")

_BATCH = 64  # conversations whose tokens are counted together


@dataclass(frozen=True)
class Written:
    """What `write_rows` did: the counts of every row, how tokens were counted, and what is wrong with the whole."""

    ledger: Ledger
    tokens: str
    error: str  # empty if nothing is
    warnings: list[str]  # of sources of which little is kept


def write_rows(*, plan: Plan, settings: Standardize, out: Path) -> Written:
    """Write sft, problems, plateau, gate, evaluation and rejects (.jsonl) to `out`.

    Rows of sft.jsonl are {"id", "messages", "gold", "answers", "source", "index", "revision", "licence", "hash"}, of
    the four problem files {"id", "question", "solution", "gold", "answers", "form", "options", "system", "source",
    ...}: all that is needed to ask and to judge. Those of rejects.jsonl are {"source", "index", "reason", "row", ...};
    reasons.py lists the reasons. `ValueError` if a source cannot be read.
    """
    taken: set[str] = set()
    training, evaluation = sources.named(plan.sources, taken), sources.named(plan.evaluation, taken)
    _check_sources(training, evaluation, plan.checkers)
    known = [resolved(sources.pinned(source), plan.rows_seed) for source in training]
    asked = [resolved(sources.pinned(source), plan.rows_seed, evaluation=True) for source in evaluation]
    out.mkdir(parents=True, exist_ok=True)
    with naming(out), tempfile.TemporaryDirectory(dir=out, prefix=".standardize-") as folder:
        ledger = Ledger(Path(folder))
        try:
            run = _Run(plan, settings, ledger, Path(folder))
            error = run.all(known, asked)
        except sqlite3.OperationalError as failed:  # of the index: its volume is full, or ails
            number = errno.ENOSPC if failed.sqlite_errorcode == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(number, os.strerror(number), str(out)) from failed
        finally:
            ledger.close()
        checker.write(plan.checkers, out)
        for name in FILES:
            os.replace(Path(folder) / f"{name}.jsonl", out / f"{name}.jsonl")
    ledger.check()
    return Written(
        ledger, run.tokens.name, error, list(alarms.warnings(ledger.tallies, settings.min_kept, plan.rows_seed))
    )


def _check_sources(training: tuple[Source, ...], evaluation: tuple[Source, ...], checkers: Mapping[str, str]) -> None:
    for source in (*training, *evaluation):
        if source.kind.startswith(CHECKER) and source.kind not in checkers:
            raise ValueError(f"source {source.name!r}: the plan has no code of {source.kind}; make it by preflight")
    if not training:
        raise ValueError("sources is empty; list at least one")
    if not evaluation:
        raise ValueError(
            "evaluation is empty; name the evaluation problems, so that training can be kept clear of them"
        )


class _Run:
    """One run: has `Rules` decide about each row, remembers in the index and writes in the ledger what they say."""

    def __init__(self, plan: Plan, settings: Standardize, ledger: Ledger, folder: Path) -> None:
        self.plan, self.ledger = plan, ledger
        self.checkers = checker.install_codes(plan.checkers)
        self.tokens = Tokens(plan.model, plan.revision)
        self.markers = Markers.of(plan.model, plan.revision)
        self.index = Index(
            folder / "seen.sqlite", similarity=settings.duplicate_similarity, gram_words=settings.overlap_words
        )
        self.rules = Rules(self.index, settings, plan.rows_seed)
        ledger.histograms["conversations"] = Histogram("tokens", settings.max_tokens)
        ledger.histograms[REPLIES] = Histogram("tokens")
        ledger.histograms[SOLUTIONS] = Histogram("tokens")
        ledger.histograms["problems"] = Histogram("words")

    def all(self, training: list[tuple[Source, Found]], evaluation: list[tuple[Source, Found]]) -> str:
        """Read every source; returns what is wrong with the whole, "" if nothing is.

        A source for both is read twice, and each of its rows is counted twice.
        """
        uses: set[Use] = set()
        for source, found in (*evaluation, *training):
            if found.rows:
                print(f"standardize: {source.label}: {found.told(source)}", flush=True)
        try:
            for source, found in evaluation:
                self.problems(self.ledger.begin(source, found.schemas), evaluation=True)
            passes: dict[Use, Callable[[Tally], None]] = {"problems": self._training, "sft": self.conversations}
            for use, read in passes.items():
                for source, found in training:
                    if source.use in (use, "both"):
                        uses.add(use)
                        read(self.ledger.begin(recipe_settings.replace(source, use=use), found.schemas))
        finally:
            self.index.close()
        wrong = (alarms.error(self.ledger.tallies, self.plan.rows_seed), _empty(self.ledger.written, uses))
        return "; ".join(filter(None, wrong))

    def _training(self, tally: Tally) -> None:
        self.problems(tally, evaluation=False)

    def problems(self, tally: Tally, *, evaluation: bool) -> None:
        """Send the rows of a source of problems to evaluation, plateau, gate or problems."""
        source = tally.source
        kind, form = source.kind, self.plan.form
        system = self.plan.system_prompt or prompts.system_prompt(form, kind)
        golds: list[Gold] = []
        for index, raw, problem in self._sound(tally, lambda draft: _problem(draft, kind, form)):
            tally.golds += 1
            decided = self.rules.problem(problem, tally, evaluation=evaluation)
            if isinstance(decided, Refused):
                # a trace of this question can be checked all the same, unless the gold is wrong
                gold = None if decided.reason == "wrong-gold" else problem.gold
                self.index.add("question", problem.key, Seen("rejects", gold, source.name, index))
                self.ledger.refuse(tally, index, raw, decided)
                continue
            draft = problem.draft
            question = prompts.shown_question(draft.question, problem.gold.options)
            row = {
                "question": question,
                "solution": draft.solution or draft.reasoning,
                **problem.gold.fields(),
                "system": system,
            }
            seen = self._keep(tally, index, raw, decided, "question", problem.key, row, problem.gold)
            if seen.split != "problems":
                self.index.add_grams(problem.words, seen)
                self.index.add("question", problem.words, seen)  # who asks it without its options asks the same
            self.ledger.histograms["problems"].add(len(draft.question.split()))
            if row["solution"]:
                self.ledger.histograms[SOLUTIONS].add(self.tokens.of(row["solution"]))
            if problem.gold.checker and len(golds) < TRIED:
                golds.append(problem.gold)
        try_checker(tally, golds)
        _report(tally)

    def conversations(self, tally: Tally) -> None:
        """Send the rows of a source of conversations to sft."""
        found = self._sound(tally, lambda draft: self._conversation(tally, draft))
        while batch := list(islice(found, _BATCH)):
            counts = self.tokens.count([conversation.messages for _, _, conversation in batch])
            for (index, raw, conversation), (asked, replied) in zip(batch, counts, strict=True):
                tokens = asked + replied
                self.ledger.histograms["conversations"].add(tokens)
                decided = self.rules.conversation(conversation, tokens, tally)
                if isinstance(decided, Refused):
                    self.ledger.refuse(tally, index, raw, decided)
                    continue
                self.ledger.histograms[REPLIES].add(replied)
                gold = conversation.gold
                answers = gold.kind if gold else tally.source.kind
                row = {"messages": conversation.messages, "gold": gold.answer if gold else None, "answers": answers}
                self._keep(tally, index, raw, decided, "conversation", conversation.key, row, gold)
        _report(tally)

    def _conversation(self, tally: Tally, draft: Draft) -> Conversation:
        """The conversation in normal form, its answer settled against the gold where one is known."""
        kind, form, answer = tally.source.kind, self.plan.form, draft.answer
        shown = prompts.shown_question(draft.question, draft.options)
        question = same(shown)
        gold = self.rules.asked(draft, question, kind, form)
        if gold is not None:
            tally.golds += 1
            checks.check_own_gold(draft, gold)
            answer = checks.settled_answer(draft, gold)
        else:
            answer = checks.ungolded_answer(answer, form)
        tally.notes[f"answer marked with {NAMED[form]}"] += NAMED[form] in answer and NAMED[form] not in draft.answer
        tally.notes[f"answer in another form than {NAMED[form]}"] += not checks.stands_in(answer, form)
        text = prompts.assistant_text(draft.reasoning, answer)
        system = self.plan.system_prompt or prompts.system_prompt(form, gold.kind if gold else kind)
        messages = [*prompts.question_messages(shown, system), {"role": "assistant", "content": text}]
        return Conversation(f"{question}\n{same(text)}", question, messages, gold)

    def _sound(self, tally: Tally, prepare: Callable[[Draft], T]) -> Iterator[tuple[int, Any, T]]:
        """(index, row, prepared) of the rows that fit the adapter and pass `prepare`; the others are refused."""
        kind = tally.source.kind
        adapter = fields.reader(tally.source, lambda row: self._without_end(tally, row))
        own = self.checkers[kind] if kind.startswith(CHECKER) else ""
        for record in sources.records(tally.source, self.plan.rows_seed):
            self.ledger.count(tally)
            try:
                if record.refused:
                    raise record.refused
                draft = adapter(record.row)
                if own:
                    draft = replace(draft, checker=own, row=plain_row(record.row))
                checks.check_texts(draft, self.markers)
                prepared = prepare(draft)
            except Refused as refused:
                self.ledger.refuse(tally, record.index, record.row, refused)
                continue
            yield record.index, record.row, prepared

    def _without_end(self, tally: Tally, row: dict[str, Any]) -> dict[str, Any]:
        cut, marker = self.markers.without_end(row)
        if marker:
            tally.notes[f"{marker} cut off at the end"] += 1
        return cut

    def _keep(
        self, tally: Tally, index: int, raw: Any, placement: Placement, kind: str, key: str, row: dict[str, Any],
        gold: Gold | None,
    ) -> Seen:  # fmt: skip
        """Write a row with its id, where it came from, and the hash of its normal form; remember it for later rows."""
        source, split = tally.source, placement.split
        content = json.dumps(_content(row), sort_keys=True, ensure_ascii=False)
        origin = {"source": source.name, "index": index, "revision": source.revision, "licence": source.licence}
        whole = {"id": digest(key)[:16], **row, **origin, "hash": digest(content)}
        self.ledger.accept(tally, split, whole, raw, placement.copies)
        seen = Seen(split, gold, source.name, index)
        self.index.add(kind, key, seen)
        if placement.near:
            self.index.add_near(placement.near, seen)
        return seen


def _problem(draft: Draft, kind: str, form: Form) -> Problem:
    gold = problem_gold(draft, kind, form)
    checks.check_trace(draft, gold)
    return Problem(same(prompts.shown_question(draft.question, gold.options)), same(draft.question), draft, gold)


def _content(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row is content, by which it is known again whatever is asked how; of a number its kind goes without."""
    asked = ("form", "system", "answers") if row.get("answers") == "number" else ("form", "system")
    return {name: value for name, value in row.items() if name not in asked}


def _empty(written: Mapping[str, int], uses: set[Use]) -> str:
    if not written["evaluation"]:
        return "no evaluation problem is left"
    if "problems" in uses and not written["problems"]:
        return "no training problem is left"
    if "sft" in uses and not written["sft"]:
        return "no SFT conversation is left"
    return ""


def _report(tally: Tally) -> None:
    kept = ", ".join(f"{count:,} {split}" for split, count in tally.accepted.items()) or "none"
    refused = tally.reasons(len(tally.rejected)) or "none"
    print(
        f"standardize: {tally.source.name} for {tally.source.use}: {tally.read:,} rows: kept {kept}; refused {refused}",
        flush=True,
    )
