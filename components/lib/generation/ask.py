"""The verb `ask`: one question to one model, in the prompt format of training and evaluation."""

import time

from components.lib import machine
from components.lib.generation import backends, prompts
from components.lib.generation.context import check_prompts
from components.lib.generation.decode import Asked
from components.lib.model.files import model_directory
from components.lib.model.template import Template
from components.lib.recipe.recipes import QWEN
from components.lib.recipe.schema import Form


def ask(
    question: str, *, model: str, revision: str, max_new_tokens: int, temperature: float, seed: int,
    answers: str = "number", form: Form = "marker", system: str = "",
) -> int:  # fmt: skip
    """Print the reasoning, the answer and the speed; returns the exit status.

    `model` is a model directory, a Hub id at `revision`, or tiny; `temperature` 0 is greedy. `answers` and `form` are
    what the model was trained for, `system` is the recipe's own system prompt if it has one.
    """
    sampling = backends.Sampling(
        max_new_tokens=max_new_tokens, temperature=temperature, batch_size=1,
        batch_tokens=QWEN.evaluate.batch_tokens, gpu_memory_utilization=QWEN.evaluate.gpu_memory_utilization,
    )  # fmt: skip
    directory = model_directory(model, revision)
    row = {"answers": answers, "form": form}
    told = system or prompts.system_prompt(form, answers)
    prompt = prompts.render(Template(directory), prompts.question_messages(question, told))
    check_prompts(directory, {prompt: "the question"}, max_new_tokens, "--max-new-tokens")
    backend = backends.TransformersBackend(directory, sampling)
    started = time.perf_counter()
    try:
        [[(_, answer)]] = backend.batches([prompt], [Asked.of(prompt, row)], [seed])
    except RuntimeError as error:
        if machine.out_of_memory(error):
            raise ValueError(f"{error}; lower --max-new-tokens, or take a smaller model") from error
        raise
    seconds = time.perf_counter() - started
    print((f"{prompts.OPEN}\n" if prompts.prefilled(prompt) else "") + answer.text.rstrip())
    cut = ", cut off at the length limit" if answer.finish_reason == "length" else ""
    print(f"[{answer.tokens} tokens in {seconds:.1f} s{cut}]")
    return 0
