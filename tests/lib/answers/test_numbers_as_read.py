"""Numbers as people write them: groupings, mixed numbers, words with digits, sizes, hours, white space, headings.

The tables were written from the rules of docs/judging.md. What a careful reader would not settle on is no answer.
"""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lib.answers.parser import judge, parse_gold, parse_lenient, parse_strict

# Behind `####`: the gold, and what a reader takes for it. Cells are separated by ` | ` and line ends.
READ = [
    # Groupings.
    ("12345678", r"""
        1,23,45,678 | ₹1,23,45,678 | Rs. 1,23,45,678 | 1,23,45,678.00 | 12,345,678 | 12'345'678 | 12’345’678
        CHF 12'345'678 | 12_345_678 | `12_345_678` | 12 345 678 | **1,23,45,678** rupees | \boxed{1,23,45,678}
        12'345'678.0 | 12\u202f345\u202f678 | 12\u2009345\u2009678 | 12\u2006345\u2006678 | 12\;345\;678
    """),
    ("123456", "1,23,456 | 123,456 | 123'456 | 123_456 | 123 456 | 1,23,456 km | x = 1,23,456"),
    ("-1234567", "-12,34,567 | −1'234'567 | -1_234_567 | -$1'234'567 | minus 12,34,567"),
    ("1001", "1,000 + 1 = 1,001 | 1'000 + 1 = 1'001 | 1_000 + 1 = 1_001 | 1001 (1'001) | 1'001 (1,001)"),
    ("2469/2", "1'234.50 | 1_234.5 | $1'234.50 | 1 234.5 | 1'234 1/2 | 1'234 and 1/2"),
    # Mixed numbers.
    ("5/2", r"""
        2 and 1/2 | 2 and ½ | 2 & 1/2 | 2 and 1/2 cups | **2 and 1/2** | 2 \text{ and } \frac{1}{2} | 2 and 2/4
        2 And 1/2
        \boxed{2 \text{ and } \frac12} | The answer is 2 and 1/2. | 2 and 1/2 (2.5) | 5/2 = 2 and 1/2
        2  and  1/2 hours
        There are 2 and 1/2 pies left | 2½ | 2 1/2
    """),
    ("-7/4", "-1 and 3/4 | −1 and ¾ | minus 1 and 3/4"),
    ("3500000", """
        3 and 1/2 million | 3 1/2 million | 3.5 million | 3½ million | 35 lakh | 35 lakhs | 35 lacs | 0.35 crore
    """),
    # Words and their digits.
    ("12", """
        twelve (12) | Twelve (12) | TWELVE (12) apples | The answer is twelve (12). | twelve [12] | twelve apples (12)
        twelve dollars ($12) | **Twelve (12)** | twelve (12.0) | a dozen (12) | one dozen (12) | 12 (twelve)
        $12 (twelve)
        12 (a dozen) | 12 (Twelve) | twelve (12) apples left | exactly twelve (12) | twelve (12 apples)
    """),
    ("25", "twenty-five (25) | twenty five (25) | 25 (twenty-five) | Twenty-Five (25) days"),
    ("105", "one hundred and five (105) | one hundred five (105) | a hundred and five (105)"),
    ("2300", """
        two thousand, three hundred (2,300) | two thousand three hundred (2300) | twenty-three hundred (2,300)
        2,300 (two thousand three hundred) | two thousand and three hundred (2'300)
    """),
    ("1234567", "one million two hundred thirty-four thousand five hundred and sixty-seven (1,234,567)"),
    ("-5", "negative five (-5) | minus five (−5)"),
    ("1/2", "one half (1/2) | half (0.5) | a half (½) | one-half (1/2)"),
    ("3/4", "three quarters (3/4) | three-fourths (3/4) | three quarters (0.75)"),
    ("3/2", "one and a half (1.5) | one and a half (1 1/2) | one and one half (1.5)"),
    ("0", "zero (0) | 0 (zero)"),
    ("42", "Total for three days: (42) | 42 (six times seven) | 42 (seven per day) | 42 (for all of them)"),
    # Sizes.
    ("3000", "3k | 3K | $3k | $3 K | $3 k | USD 3 K | 3k USD | 3 thousand | 3,000 | 3k dollars"),
    ("2000000000", """
        2 bn | 2bn | 2Bn | 2 BN | $2 bn | $2 B | $2 billion | 2 billion | $2bn | 2 thousand million | 200 crore
    """),
    ("1500000", "1.5 million | $1.5 M | 1.5M | 1.5 mln | 15 hundred thousand | 1.5 Million"),
    ("1000000000000", "1 lakh crore | 1 trillion | $1 T | 1 million million | 1000 billion"),
    ("2000000000000000", "2 quadrillion"),
    # Hours.
    ("10", """
        10 PM | 10PM | 10 pm | 10pm | 10 p.m. | 10 P.M. | 10 AM | 10 a.m | 10 o'clock | 10 o’clock | 10 O'Clock
        10 o'clock in the morning | at 10 PM | 10 PM. | **10 PM** | 10 PM on Friday | 10 in the evening
        The store closes at 10 p.m. | \\boxed{10\\text{ PM}} | 10 PM (22:00) | 10 PM sharp | by 10 PM | 10 o clock
        10 o'clock PM | ten (10) PM | 10 (ten) o'clock | $10\\text{ PM}$
    """),
    ("3", "3 pm | 03 pm | 3 o'clock"),
    ("12", "12 noon | 12 PM | 12 o'clock"),
    # White space.
    ("42", """
        \u00a042 | \u300042 | 42\u3000 | \u200b42 | 42\u200b | \ufeff42 | 42\u00a0km | 42\u2003apples | 42\u202f%
        $\u200942
        \u200e42\u200e | \u206042 | 42\tapples | \u200b**42**\u200b | 42\u200b.0 | x\u00a0=\u00a042 | 42\u205f€
        6\u00a0*\u00a07\u2009=\u200942 | \u2066\u206942 | 42\u200d
    """),
    ("-5", "-\u200b5 | −\u202f5 | -\u00a05 | \u200b-5 | −\u20095 | minus\u00a05 | -\u20605"),
    ("1234", "1\u200b,234 | 1,\u200b234 | 1\u2007234 | 1\u2008234 | 1\u2005234 | 1\u205f234"),
    # A stop that ends the answer is no heading's.
    ("42", """
        42. | 42.) | 42.<|im_end|> | **42.** | 42. 🎉 | 42.0 apples | $42. Done | 42). | 42.\u00a0
        42. (six times seven)
    """),
    ("5", "$5$ m | $5 m$ | $5\\text{ m}$ | 5 m | 5 GB | 5 mm | 5 t"),
    ("5000000", "$5m | $5 m | $5 M | $5 mn | $5MM | €5 m"),
    ("300000", "₹3 L | ₹3L | Rs 3 L | 3 lakh | 3 lac (300,000)"),
    ("12000000", "Rs 1.2 Cr | ₹1.2cr | 1.2 crore"),
    ("3", "3. | 3. (Add) | 3 (i.e. three) | (3) three | 3 L | 3L | 3 ducks | (3) | 3 Adders"),
]  # fmt: skip

# What is no answer.
REFUSED = r"""
    1,00 | 1,0000 | 12,3456 | 1,2345 | 1,2,345 | 1,234,56 | 12,34,56 | 1,23,45,67 | 1,234,56,789 | 1,23,456,789 | 01,234
    0,12,345 | 123,45,678 | 1234,567 | 1'00 | 1'0000 | 12'34 | 1'23'456 | 1'234,567 | 1,234'567 | 1_00 | 1_23_456
    1__000 | 1_234,567 | 1234'567 | 1, 234 | 1 ,234 | 1  234 | 1\u3000234 | 1\u2003234 | 1\u0009234 | 1 23 456
    1 234,567
    1.234.567 | 1.234,56 | 4\u200b2 | 4\u00ad2 | 4\u200b\u200b2 | 4\u20602 | \u00ad5 | \u202e42 | 42\u202e | 1'234'5
    5'3" | 1\u200b234 | 1·234·5
    2 or 1/2 | 2, and 1/2 | 2 and 5/2 | 2 and 1/0 | 1/2 and 1/3 | 2 and 1/2 and 3 | 2 apples and 1/2 | between 2 and 1/2
    both 2 and 1/2 | the roots are 2 and 1/2 | x = 2 and 1/2 | 2 and 1/2 are the roots | 2 and 1/2, respectively
    the solutions 2 and 1/2 | 2 + 1/2 | 3.5 and 1/2 | not 2 and 1/2 | about 2 and 1/2 | 2 and 1/2 or so | 2 to 1/2
    x: 2 and 1/2 | 2 and -1/2 | 2 1/2 and 1/4
    twelve (13) | Twelve (21) apples | twelve apples (13) | twelve dollars ($13) | 12 (thirteen) | 42 (forty-three)
    42 (twenty four) | twelve (13 apples) | twelve (12 or 13) | twelve (12) or thirteen (13) | twelve or thirteen (12)
    not twelve (12) | about twelve (12) | one hundred and five (15) | twenty-one (210) | two thousand (2)
    twelve thousand (12)
    five (-5) | minus five (5) | half (2) | one and a half (2) | twelve (12) (13) | twelve | twelve (twelve)
    one of the two (2)
    five twelve (17) | twenty thirty (50) | hundred hundred (200) | twelve (12?) or so | three and four (7) | 12 (zero)
    42 (forty two and a half) | twelve (dozen) | at least twelve (12) | twelve (12, or 13) | three (3) and a half
    3 dozen | 3 dozens | 2 and 1/2 dozen | 3 thousand five hundred | 3 million 500 thousand | 3 cr | 3 mil | 3 Mio
    2 K | 2 M
    3k or 4k | 3-4 million | about 3k | 3k+ | 3 thousandths | 3 hundredths | 3 million and a half | 3 million thousand
    10:30 | 10:30 PM | 10:00 | 10.30 pm | 10 30 pm | 1030 pm | 10:30 o'clock | 22 PM | 13 o'clock | 0 PM | -3 pm | $3 pm
    10 AM or PM | 10 PM or so | around 10 PM | 10 PM to 11 PM | 10-11 PM | 10 1/2 pm | half past 10 PM | 10 past 3
    ten to 3 pm
    before 10 PM | after 10 o'clock | not 10 PM | quarter past 10 pm | 3k pm | 10.0 PM | 10 PM (or 11 PM) | 10h30
    42 pm
    half of (1/2) | two thirds of (2/3) | twelve (~12) | twelve: (13) | 5 (five hundred)
    12 = thirteen | 42 (i.e. forty-three) | (13) twelve | 42 (approximately) | 10 PM (about) | 10 PM at the latest
    42 at the earliest | Points: 2 and 1/2 | 3a. Add | [3] Add | 3. (Optional) Add | 3. [x] Add | 3 cr
    2 mn | 2 tn | 5T | 5G | 5MM | $42$ K | $42 K$ | $42$ M | the numbers 2 & 1/2 | 5 cr | $10 PM
    3. Add | 3. Add the numbers | 3. add | 3) Add | 3: Add | 3 - Add the numbers | 3 – Multiply | **3. Add**
    **3.** Add
    3. **Add** | 3.Add | 3\. Add | 3.1 Add the totals | 12. Final answer | 3. Add the numbers: | 3 Add the numbers
    (3) Add them
    3. Conclusion | - 3. Add | 10. Check | 3. 加 | 3. "Add" | Step 3 | Step 3. Add | Step 3: add | step 3 - add
    Part 2: Add
    **Step 3:** Add | Problem 7 | Case 2: even | Exercise 4 | `3.` Add | 3. Ünder | 3. Answer | 3.2. Add | # 3. Add
    3.\u00a0Add
"""  # fmt: skip

ESCAPES = {
    f"\\u{code}": chr(int(code, 16)) for code in "0009 00a0 00ad 2003 2060 200b 202e 2006 2009 202f 3000".split()
}


def _cells(table):
    for escape, char in ESCAPES.items():
        table = table.replace(escape, char)
    return [cell.strip(" ") for line in table.strip(" \n").split("\n") for cell in line.split(" | ")]


READ_CASES = [(cell, gold) for gold, row in READ for cell in _cells(row)]


def test_the_tables_are_large():
    assert len(READ_CASES) > 150 and len(_cells(REFUSED)) > 150


@pytest.mark.parametrize(("text", "gold"), READ_CASES)
def test_a_number_is_read_as_a_person_reads_it(text, gold):
    for completion in (f"<think>6 * 7</think>\n#### {text}", f"So:\n**####{text}\nDone: 7"):
        verdict = judge(completion, gold)
        assert (verdict.answer, verdict.correct, verdict.answer_marked) == (Fraction(gold), True, True)
        assert not judge(completion, str(Fraction(gold) + 1)).correct
    assert parse_gold(text) == Fraction(gold)


@pytest.mark.parametrize("text", _cells(REFUSED))
def test_what_a_person_would_not_settle_on_is_no_answer(text):
    assert parse_strict(f"<think>6 * 7</think>\n#### {text}") is None
    with pytest.raises(ValueError, match="is not one number"):
        parse_gold(text)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("#### 42\n#### 3. Add", None),
        ("#### 42\n#### 3. Add\n", None),
        ("#### 42\n#### Step 3: Add", None),
        ("#### 42\n#### 3.\n", None),
        ("#### 3. Add\n#### 42", 42),
        ("#### 1. Add\n3 + 4 = 7\n#### 2. Multiply\n7 * 6\n#### 42", 42),
        ("#### 1) Add\n#### 2) Multiply\n#### **3) Answer**\n#### 42.", 42),
        ("#### **Step 1:** Add\n#### **Step 2:** Multiply\n#### 42", 42),
        ("#### 1. Add\n#### 41\n#### 2. Check\n#### 42", None),
        ("#### 1. Add\n#### 41\nWait.\n#### 2. Check\n#### 42", 42),
        ("#### 41. Done.\n#### 42", None),
        ("#### 41 apples\n#### 42", None),
        ("#### 41.\n#### 42", None),
        ("#### 1. The answer is 41\n#### 42", None),
        ("#### 1,23,456\n#### 123456", 123456),
        ("#### twelve (12)\n#### 12", 12),
        ("#### 10 PM\n#### 10", 10),
        ("\u200b#### 42", 42),
        ("####\u200b42", 42),
    ],
)
def test_numbered_headings_state_no_answer(completion, answer):
    assert parse_strict(completion) == answer


def test_a_heading_is_no_answer_for_a_lenient_reader_either():
    assert parse_lenient("So it goes on.\n3. Add the numbers") is None
    assert parse_lenient("The answer is 42. It took long.") == 42
    assert not judge("#### 3. Add", "3").answer_marked and judge("\u200b#### 42", "42").answer_marked


def _indian(number):
    head, tail = str(number)[:-3], str(number)[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ",".join([*pairs, tail])


WRITTEN = {
    "commas": "{:,}".format, "plain": str, "underscores": "{:_}".format, "Indian": _indian,
    "apostrophes": lambda n: f"{n:,}".replace(",", "'"), "curly": lambda n: f"{n:,}".replace(",", "\u2019"),
    "spaces": lambda n: f"{n:,}".replace(",", " "), "thin": lambda n: f"{n:,}".replace(",", "\u2009"),
    "no-break": lambda n: f"{n:,}".replace(",", "\u202f"), "LaTeX": lambda n: f"{n:,}".replace(",", "\\,"),
}  # fmt: skip


@pytest.mark.parametrize("style", WRITTEN)
@settings(max_examples=30, deadline=None)
@given(
    number=st.integers(1000, 10**15), sign=st.sampled_from(["", "-", "\u2212"]), unit=st.sampled_from(["", " m", "%"])
)
def test_every_grouping_is_the_number(style, number, sign, unit):
    assert parse_strict(f"#### {sign}{WRITTEN[style](number)}{unit}") == (-number if sign else number)


@settings(deadline=None)
@given(groups=st.lists(st.text("0123456789", min_size=1, max_size=4), min_size=2, max_size=5),
       separators=st.lists(st.sampled_from(",'_ "), min_size=4, max_size=4))  # fmt: skip
def test_groups_are_joined_only_where_all_are_right(groups, separators):
    text = groups[0] + "".join(s + g for s, g in zip(separators[: len(groups) - 1], groups[1:], strict=True))
    value, digits = parse_strict(f"#### {text}"), "".join(groups)
    used = set(separators[: len(groups) - 1])
    lengths = [len(group) for group in groups]
    thousands = lengths[0] <= 3 and set(lengths[1:]) == {3}
    lakhs = used == {","} and lengths[0] <= 2 and set(lengths[1:-1]) <= {2} and lengths[-1] == 3
    right = len(used) == 1 and (thousands or lakhs) and groups[0][0] != "0"
    assert value == (int(digits) if right else None)


@settings(deadline=None)
@given(
    whole=st.integers(0, 10**6), top=st.integers(0, 99), bottom=st.integers(1, 99), link=st.sampled_from(["", "and "])
)
def test_mixed_numbers_are_proper(whole, top, bottom, link):
    expected = whole + Fraction(top, bottom) if top < bottom else None
    assert parse_strict(f"#### {whole} {link}{top}/{bottom}") == expected


ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()  # fmt: skip
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def _spelled(number):
    for size, name in ((10**6, "million"), (10**3, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {_spelled(number % size)}" if number % size else ""
            return f"{_spelled(number // size)} {name}{rest}"
    if number < 20:
        return ONES[number]
    return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")


@settings(deadline=None)
@given(said=st.integers(0, 10**9 - 1), written=st.integers(0, 10**9 - 1))
def test_words_and_digits_must_agree(said, written):
    assert parse_strict(f"#### {_spelled(said)} ({said:,})") == said
    assert parse_strict(f"#### {said:,} ({_spelled(said)})") == said
    if said != written:
        assert parse_strict(f"#### {_spelled(said)} ({written})") is None
        assert parse_strict(f"#### {written} ({_spelled(said)})") is None


@settings(deadline=None)
@given(hour=st.integers(0, 99), minutes=st.integers(0, 99), half=st.sampled_from(["AM", "pm", "p.m.", "o'clock"]))
def test_an_hour_is_a_number_and_a_time_is_not(hour, minutes, half):
    assert parse_strict(f"#### {hour} {half}") == (hour if 1 <= hour <= 12 else None)
    for separator in ":. ":
        assert parse_strict(f"#### {hour}{separator}{minutes:02d} {half}") is None


@settings(deadline=None)
@given(
    number=st.integers(1, 99),
    stop=st.sampled_from([". ", ") ", ": ", ".", " - "]),
    word=st.from_regex("[A-Z][a-z]{2,9}", fullmatch=True),
)
def test_a_numbered_heading_is_never_an_answer(number, stop, word):
    for completion in (f"#### {number}{stop}{word}", f"#### 42\n#### {number}{stop}{word}\n"):
        assert judge(completion, str(number)).unparsed
