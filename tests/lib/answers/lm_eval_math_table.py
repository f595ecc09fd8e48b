"""What lm-eval says of answers on MATH: `make lm-eval-table` runs this beside lm-eval.

Writes lm_eval_math_verdicts.jsonl: a row for each case, with what the tasks hendrycks_math and minerva_math extract and
whether their metrics accept it. The gold stands in the box of a solution, which is where lm-eval looks for it.
"""

import json
from importlib.metadata import version
from pathlib import Path

TABLE = Path(__file__).with_name("lm_eval_math_verdicts.jsonl")
# gold, then answers that people and models give to it
ANSWERS = [
    ["\\frac{1}{2}", "\\frac12", "\\dfrac{1}{2}", "1/2", "0.5", ".5", "2/4", "\\frac1{2}", "x = 1/2", "50\\%", "1/3"],
    ["42", "42.", "42.0", "forty-two", "\\text{42}", "42\\text{ cm}", "42 cm", "\\$42", "4 2", "x=42", "xyz=42",
     "42^\\circ", "42^{\\circ}", "\\boxed{42}", "41", "42 or 43", "\\textbf{42}", "42 dollars"],
    ["10,000", "10000", "10{,}000", "10,\\!000", "10, 000", "1,0000", "10000.0"],
    ["(0,1)", "(0, 1)", "0,1", "\\left(0,1\\right)", "01", "(1,0)", "[0,1]"],
    ["0,1", "1,0", "0, 1", "01", "\\{0,1\\}"],
    ["3\\sqrt{13}", "3\\sqrt13", "3 \\sqrt {13}", "\\sqrt{117}", "10.8167", "3\\sqrt[2]{13}", "sqrt(117)"],
    ["\\sqrt[3]{8}", "\\sqrt[3]8", "2", "\\sqrt8"],
    ["\\frac{x}{2}", "x/2", "\\frac{1}{2}x", "0.5x", "x\\div 2", "\\frac x2"],
    ["2\\pi\\text{ cm}", "2\\pi", "2\\pi cm", "2 \\pi \\text{ cm}", "6.28"],
    ["\\left[0, \\frac{1}{2}\\right]", "[0,\\frac12]", "[0, 0.5]", "0 \\le x \\le 1/2"],
    ["\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "(1,2)"],
    ["\\text{Evelyn}", "Evelyn", "\\text{evelyn}", "\\text{ Evelyn}", "\\text{(B)}"],
    ["x^2-1", "(x-1)(x+1)", "-1+x^2", "y=x^2-1", "x^{2} - 1", "x^2+1"],
    ["2516_8", "2516_{8}", "2516", "1358"],
    ["-3", "3", "- 3", "\\text{-3}", "minus 3", "−3"],
    ["17.5", "17.50", "35/2", "17\\frac{1}{2}", "17.5 hours", "17.5\\%"],
    ["1 + 2i", "2i+1", "1+2i", "1+2"],
    ["\\infty", "-\\infty", "oo"],
]  # fmt: skip
FORMS = [
    "Final Answer: The final answer is ${}$. I hope it is correct.",
    "So the answer is $\\boxed{{{}}}$.",
    "{}",
    "${}$",
    "<think>Is it $7$?</think>\n#### {}",
    "We get $n = 7$ and then ${}$",
]
# completion, gold
ODD = [
    ["", "42"], ["$", "42"], ["$$", "42"], ["$$42$$", "42"], ["\\sqrt", "\\sqrt"], ["\\sqrt", "\\sqrt{}"],
    ["\\frac", "\\frac"], ["\\frac1", "\\frac{1}"], ["a/b", "a/b"], ["a / b", "a/b"], ["1/2/3", "1/2/3"],
    ["1 / 2", "\\frac{1}{2}"], ["\\text{ a}\\text{ b}", "\\text{ a}\\text{ b}"], ["1\\text{ a} \\text{ b}", "1"],
    ["tfrac12", "frac12"], ["x=1=2", "x=1=2"], ["Final Answer: The final answer is", "42"],
    ["Final Answer: The final answer is 42", "42"], ["Final Answer: The final answer is 42.", "42"],
    ["Final Answer: The final answer is 42. ", "42"], ["Final Answer: The final answer is 42\n. ", "42"],
    ["Final Answer: The final answer is $41$. I hope it is correct. Final Answer: The final answer is $42$. ", "42"],
    ["Final Answer: The final answer is\nFinal Answer: The final answer is 42. I hope it is correct!", "42"],
    ["Final Answer: The final answer is $4$ or $2$. I hope it is correct.", "4"],
    ["final answer: the final answer is 42. I hope it is correct.", "42"],
    ["Final Answer: The final answer is $\\boxed{42}$. I hope it is correct.", "42"],
    ["Final Answer: The final answer is a square. I hope it is correct.", "square"],
    ["Final Answer: The final answer is an integer. I hope it is correct.", "integer"],
    ["Final Answer: The final answer is $\\frac{1}{$. I hope it is correct.", "1"],
    ["Final Answer: The final answer is $5\\text{ and }7$. I hope it is correct.", "5,7"],
    ["Final Answer: The final answer is $1\\;000$. I hope it is correct.", "1000"],
    ["Final Answer: The final answer is $12\\,\\mathrm{th}$. I hope it is correct.", "12"],
    ["Final Answer: The final answer is $\\overline{AB}$. I hope it is correct.", "AB"],
    ["\\boxed{41} or \\boxed{42}", "42"], ["\\boxed{42} or \\boxed{41}", "42"], ["\\boxed{", "42"], ["boxed 42", "42"],
    ["It is 41, no, 42", "42"], ["#### 1,234", "1234"], ["#### 3/4 of it", "0.75"], ["1e3", "1000"], ["50%", "0.5"],
    ["[invalidanswer]", "42"], ["\u0664\u0662", "42"], ["x \\in \\{1,2\\}", "\\{2,1\\}"], ["$x=3$ and $y=4$", "3"],
]  # fmt: skip


def cases() -> list[tuple[str, str]]:
    """Completion and gold of each case: every answer in one form, the forms in turn, and the odd ones."""
    answers = [(answer, gold) for gold, *others in ANSWERS for answer in (gold, *others)]
    formed = [(FORMS[place % len(FORMS)].format(answer), gold) for place, (answer, gold) in enumerate(answers)]
    asked = [(FORMS[0].format(answer), gold) for answer, gold in answers]
    return list(dict.fromkeys([*formed, *asked, *((completion, gold) for completion, gold in ODD)]))


def main() -> None:
    """Write the table."""
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva

    rows = []
    for completion, gold in cases():
        doc = {"solution": f"So it is $\\boxed{{{gold}}}$.", "answer": minerva.normalize_final_answer(gold)}
        scores = minerva.process_results(doc, [completion])
        rows.append({
            "completion": completion,
            "gold": gold,
            "hendrycks_math": bool(hendrycks.process_results(doc, [completion])["exact_match"]),
            "minerva_answer": minerva.get_unnormalized_answer(completion),
            "minerva_math": bool(scores["exact_match"]),
            "math_verify": bool(scores["math_verify"]),
        })  # fmt: skip
    about = {"made by": f"make lm-eval-table, lm-eval {version('lm-eval')}, math-verify {version('math-verify')}"}
    TABLE.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (about, *rows)), "utf-8")


if __name__ == "__main__":
    main()
