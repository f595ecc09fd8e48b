"""Every adapter reads the rows of its format as its schema says, and refuses the others by reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lib.data.adapters import ADAPTERS
from components.lib.data.reasons import Refused
from tests.lib.data.formats import ASKED, FORMATS, Kept

CASES = [(name, adapter, row, what) for name, (adapter, cases) in FORMATS.items() for row, what in cases]


@pytest.mark.parametrize(
    ("adapter", "row", "what"), [case[1:] for case in CASES], ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)
def test_a_row_of_a_format(adapter: str, row: dict, what: Kept | str) -> None:
    before = json.dumps(row)
    try:
        draft = ADAPTERS[adapter](row)
    except Refused as refused:
        assert refused.reason == what, refused.detail
        return
    found = Kept(draft.gold, bool(draft.reasoning), draft.flaw, "" if draft.question == ASKED else draft.question)
    assert found == what
    assert bool(draft.answer) == bool(draft.reasoning) and json.dumps(row) == before


def test_every_format_has_a_dozen_rows() -> None:
    assert len(FORMATS) == 14 and min(len(cases) for _, cases in FORMATS.values()) >= 11
    assert {adapter for adapter, _ in FORMATS.values()} | {"chat", "gsm8k", "prompt-completion"} < set(ADAPTERS)
    assert all('"' in str(adapter.__doc__) or "<|" in str(adapter.__doc__) for adapter in ADAPTERS.values())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["\\boxed{7", "#### 7", "<think>", "[{", '["a"]', "The answer is:", "(B)", "A)6"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from"]), inner),
    max_leaves=6,
)  # fmt: skip


@given(case=st.sampled_from(CASES), data=st.data())
def test_any_value_in_a_field_is_read_or_refused(case: tuple, data: st.DataObject) -> None:
    _, adapter, row, _ = case
    name = data.draw(st.sampled_from(sorted(row)))
    try:
        ADAPTERS[adapter](row | {name: data.draw(VALUES)})
    except Refused as refused:
        assert json.dumps(refused.detail, default=str)
