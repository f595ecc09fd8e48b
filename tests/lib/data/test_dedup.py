"""Near duplicates: what the index finds, against exact Jaccard similarity."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lib.data.dedup import Index, Seen
from components.lib.data.minhash import PERMUTATIONS, Bands, band_shape, shingles, word_hashes

SIMILARITY = 0.8
WORDS = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
texts = st.lists(st.sampled_from(WORDS), min_size=4, max_size=40)
edits = st.lists(st.tuples(st.integers(0, 39), st.sampled_from(WORDS)), max_size=4)


def similarity(one: list[str], two: list[str]) -> float:
    sets = [set(shingles(word_hashes(words)).tolist()) for words in (one, two)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def edited(words: list[str], changes: list[tuple[int, str]]) -> list[str]:
    changed = list(words)
    for place, word in changes:
        changed[place % len(changed)] = word
    return changed


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory):
    index = Index(tmp_path_factory.mktemp("index") / "seen.sqlite", similarity=SIMILARITY, gram_words=13)
    yield index
    index.close()


_kinds = itertools.count()


@settings(max_examples=300, deadline=None)
@given(texts, edits)
def test_what_is_found_is_as_similar_as_it_says(index: Index, words: list[str], changes: list) -> None:
    kind, other = f"kind{next(_kinds)}", edited(words, changes)
    for number, text in enumerate((words, ["quite", "another", "text"])):
        near = index.near(kind, " ".join(text), "")
        assert near
        index.add_near(near, Seen("sft", None, "a", number))
    near = index.near(kind, " ".join(other), "")
    assert near
    exact, found = similarity(words, other), index.find_near(near)
    for seen, said in found:
        assert seen.index == 0 and said == round(exact, 3) >= SIMILARITY
    if other == words:
        assert found


def test_few_pairs_are_missed_and_few_strangers_are_compared() -> None:
    """2,000 pairs of 60 words: of those at or above the similarity nearly all share a band, of far ones nearly none."""
    draw, bands = random.Random(0), Bands(SIMILARITY)
    shared: dict[str, list[bool]] = {"near": [], "far": []}
    for number in range(2000):
        words = [f"{draw.random()}" for _ in range(60)]
        other = [word if draw.random() > (number % 20) / 20 else f"{draw.random()}" for word in words]
        one, two = (set(bands.of(shingles(word_hashes(text)), 7)) for text in (words, other))
        exact = similarity(words, other)
        if exact >= SIMILARITY or exact < 0.3:
            shared["near" if exact >= SIMILARITY else "far"].append(bool(one & two))
    assert min(map(len, shared.values())) > 100
    assert np.mean(shared["near"]) > 0.97 and np.mean(shared["far"]) < 0.05


def test_permutations_agree_as_often_as_the_texts_are_similar() -> None:
    draw, bands = random.Random(1), Bands(SIMILARITY)
    errors = []
    for _ in range(200):
        words = [f"{draw.random()}" for _ in range(40)]
        other = edited(words, [(draw.randrange(40), f"{draw.random()}") for _ in range(draw.randrange(20))])
        one, two = (bands.signature(shingles(word_hashes(text))) for text in (words, other))
        errors.append(float((one == two).mean()) - similarity(words, other))
    assert abs(np.mean(errors)) < 0.01 and np.std(errors) < 0.06


def test_the_same_words_in_another_kind_or_with_other_numbers_are_no_candidates(index: Index) -> None:
    text = " ".join(WORDS)
    first = index.near("one", text, "3 cups")
    assert first
    index.add_near(first, Seen("sft", None, "a", 0))
    for kind, question, hits in (("one", "3 cups", 1), ("one", "4 cups", 0), ("two", "3 cups", 0)):
        near = index.near(kind, text, question)
        assert near and len(index.find_near(near)) == hits


def test_neighbours_are_those_of_every_other_run() -> None:
    """Band values at 0.8, as they were first computed (with datasketch 2.0): other values would move rows."""
    found = Bands(0.8).of(shingles(word_hashes("tom has 3 cups and finds 4 more".split())), 7)
    assert found[:2] == [8007124213890235233, -3324789818760822764] and len(found) == 14


@pytest.mark.parametrize(
    ("level", "shape"), [(0.5, (32, 4)), (0.7, (20, 6)), (0.8, (14, 9)), (0.9, (8, 16)), (0.99, (2, 64))]
)
def test_bands_fit_the_signature(level: float, shape: tuple[int, int]) -> None:
    assert band_shape(level) == shape and shape[0] * shape[1] <= PERMUTATIONS
