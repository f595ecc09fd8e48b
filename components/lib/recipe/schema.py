"""What a recipe consists of: a settings class per stage, and the recipe that holds them all.

No values here: those are in recipes.py. Each field has its help text and the values that it accepts.
"""

from typing import Literal, get_args

from pydantic import Field

from components.lib.model.names import looks_local
from components.lib.recipe.settings import Settings

Stage = Literal["sft", "grpo"]
Adapter = Literal[
    "auto", "chat", "thinking-solution", "gsm8k", "prompt-completion", "problem", "trace", "sharegpt",
    "reasoning-content", "openthoughts", "math", "openr1", "metamath", "deepscaler", "dapo", "aqua", "alpaca", "r1",
]  # fmt: skip
Use = Literal["", "sft", "problems", "both"]
Form = Literal["marker", "boxed"]
Protocol = Literal["zero-shot", "8-shot", "8-shot-think"]
Backend = Literal["transformers", "vllm"]
Candidate = Literal["last", "best"]
KINDS = ("number", "math", "choice", "text")  # of answers; a fifth is `CHECKER` and the path of a file
CHECKER = "python:"
NAMED: dict[Form, str] = {"marker": "####", "boxed": "\\boxed"}  # what a system prompt must say of the form
FORMS: tuple[Form, ...] = get_args(Form)
STAGES: tuple[Stage, ...] = get_args(Stage)
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
SAMPLED = "sampled"  # the source of SFT conversations that the step `sample` writes
_PURPOSES: dict[str, Use] = {
    "chat": "sft", "thinking-solution": "sft", "prompt-completion": "sft", "gsm8k": "problems", "problem": "problems",
    "math": "problems", "metamath": "problems", "deepscaler": "problems", "dapo": "problems", "aqua": "problems",
    "openr1": "both",
}  # fmt: skip


class Source(Settings):
    """One source of rows for `standardize`: where it lies, how it is read, and what its rows are for."""

    path: str = Field(description="Hub dataset id, local path, s3:// address, or tiny:SCHEMA for generated rows")
    adapter: Adapter = Field(default="auto", description="how a row is read; auto: as most of the first rows want it")
    answers: str = Field(
        default="",
        description="kind of the answers: number, math, choice, text, or python:FILE.py, a checker of your "
        "own; empty: what the adapter's rows usually have",
    )
    fields: dict[str, str] = Field(
        default={}, description="field that the adapter wants -> where the row has it, as {gold: meta.answers.0}"
    )
    name: str = Field(default="", description="shown in counts and provenance; empty: by the path")
    use: Use = Field(default="", description="what the rows are for; empty: what they hold decides")
    revision: str = Field(default="main", description="Hub branch, tag or commit; preflight resolves it to a commit")
    config: str = Field(default="", description="configuration of a Hub dataset, as gsm8k's main")
    split: str = Field(default="train", description="split of a Hub dataset")
    file: str = Field(default="", description="one file inside a Hub dataset, instead of a configuration and split")
    licence: str = Field(default="unknown", description="licence of the rows, as the Hub spells it, or other")
    cap: int = Field(default=0, description="at most so many accepted rows, 0: all", ge=0)
    weight: float = Field(default=1.0, description="share of the rows kept, by hash; above 1 repeats them", gt=0)
    optional: bool = Field(default=False, description="that nothing of it is kept is a warning, no error")

    @property
    def purpose(self) -> Use:
        """What the rows are for: `use`, or what the adapter's rows always are for, "" where what they hold decides."""
        return self.use or _PURPOSES.get(self.adapter, "")

    @property
    def kind(self) -> str:
        """The kind of its answers: `answers`, or what the adapter's rows usually have."""
        return self.answers or "number"

    @property
    def label(self) -> str:
        """The name to show: of a path that can only be one of this disk, its last part."""
        return self.name or (self.path.rpartition("/")[2] if self._on_disk else self.path)

    @property
    def told(self) -> str:
        """How an error names it: quoted, and with the whole path where the name is only the last part of that."""
        whole = f" ({self.path})" if self._on_disk and self.path.endswith(f"/{self.label}") else ""
        return f"{self.label!r}{whole}"

    @property
    def _on_disk(self) -> bool:
        return looks_local(self.path) and "://" not in self.path


_GRAPHS = "on a GPU, replay transformers' decoding steps as CUDA graphs; false: each step from Python"


class Sample(Settings):
    """Settings of `sample`, in which the base model writes solutions from which `standardize` keeps the right ones."""

    problems: int = Field(
        description="training problems that the base model solves for SFT, 0: the step is left out", ge=0
    )
    per_problem: int = Field(description="solutions drawn per problem", ge=1)
    backend: Backend = Field(description="what generates the solutions")
    temperature: float = Field(description="sampling temperature", ge=0.01)
    max_new_tokens: int = Field(description="longest solution in tokens; one that is cut there is dropped", ge=4)
    batch_size: int = Field(description="solutions generated together", ge=1)
    batch_tokens: int = Field(description="prompt and new tokens held in memory together, padding included", ge=64)
    gpu_memory_utilization: float = Field(description="share of the GPU's memory that vLLM takes", ge=0.05, le=0.98)
    decode_graphs: bool = Field(description=_GRAPHS)


class Standardize(Settings):
    """Settings of `standardize`."""

    max_tokens: int = Field(description="an SFT conversation with more tokens is rejected, never cut", ge=16)
    plateau_share: float = Field(description="share of the problems held out to choose the checkpoint", ge=0, le=0.5)
    gate_share: float = Field(description="share of the problems held out for the gate", ge=0, le=0.5)
    duplicate_similarity: float = Field(
        description="Jaccard similarity above which rows are near duplicates, 1: exact only", ge=0.5, le=1
    )
    overlap_words: int = Field(
        description="an n-gram of so many words shared with the evaluation set rejects a row", ge=5
    )
    min_kept: float = Field(description="share of its rows below which a source is warned of", ge=0, le=1)


class Sft(Settings):
    """Settings of `sft`, the supervised warm-up."""

    learning_rate: float = Field(description="peak learning rate", ge=0)
    epochs: float = Field(description="passes over the conversations, unless max_steps ends earlier", ge=0)
    max_steps: int = Field(description="optimizer steps, 0: as many as the epochs need", ge=0)
    batch_size: int = Field(description="conversations per optimizer step", ge=1)
    micro_batch_size: int = Field(description="conversations per forward pass", ge=1)
    warmup_steps: int = Field(description="steps of linear warm-up", ge=0)
    schedule: Literal["linear", "cosine", "constant"] = Field(description="learning-rate schedule")
    weight_decay: float = Field(description="AdamW's weight decay", ge=0)
    max_tokens: int = Field(description="longest conversation in tokens; a longer one is dropped and counted", ge=16)
    gradient_checkpointing: bool = Field(description="trade time for memory")
    lora_rank: int = Field(description="rank of a LoRA adapter that is merged at the end, 0: train all weights", ge=0)

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimizer step, over all processes."""
        return self.batch_size


class Grpo(Settings):
    """Settings of `grpo`, reinforcement learning from answers that can be checked."""

    learning_rate: float = Field(description="peak learning rate", ge=0)
    max_steps: int = Field(description="optimizer steps", ge=1)
    prompts_per_step: int = Field(description="problems per optimizer step", ge=1)
    generations: int = Field(description="completions per problem, the group", ge=2)
    micro_batch_size: int = Field(description="completions per forward pass of the loss", ge=1)
    max_new_tokens: int = Field(description="longest completion in tokens", ge=4)
    temperature: float = Field(description="sampling temperature", ge=0.01)
    top_p: float = Field(description="nucleus sampling, among the 1,024 likeliest tokens", ge=0.01, le=1)
    beta: float = Field(description="weight of the KL term, 0: no reference model", ge=0)
    epsilon: float = Field(description="lower clip of the probability ratio", ge=0)
    epsilon_high: float = Field(description="upper clip of the probability ratio", ge=0)
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = Field(description="how token losses are averaged")
    scale_rewards: Literal["group", "batch", "none"] = Field(description="what a group's advantages are divided by")
    warmup_steps: int = Field(description="steps of linear warm-up", ge=0)
    schedule: Literal["linear", "cosine", "constant"] = Field(description="learning-rate schedule")
    correct_weight: float = Field(description="reward for a right answer", ge=0)
    think_weight: float = Field(description="reward for one closed, non-empty think block before an answer", ge=0)
    marker_weight: float = Field(description="reward for an answer line that starts with ####", ge=0)
    screen_samples: int = Field(
        description="completions per problem, before training, to drop those always or never solved; 0: no screening",
        ge=0,
    )
    curriculum: float = Field(
        description="0: problems in random order, 1: strictly easier first; needs screening", ge=0, le=1
    )
    mask_truncated: bool = Field(description="leave completions that hit the length limit out of the loss")
    gradient_checkpointing: bool = Field(description="trade time for memory")
    lora_rank: int = Field(description="rank of a LoRA adapter that is merged at the end, 0: train all weights", ge=0)
    rollouts: Backend = Field(description="what generates the completions; vllm is experimental: not yet run on a GPU")
    vllm_memory_share: float = Field(
        description="share of the GPU's memory that vLLM takes beside the training", ge=0.05, le=0.9
    )
    rollout_batch_size: int = Field(description="completions decoded together by transformers", ge=1)
    decode_graphs: bool = Field(description=_GRAPHS)
    sample_steps: int = Field(description="steps between the sample completions that the log and the report show", ge=1)
    plateau_steps: int = Field(description="steps between evaluations on the plateau split, 0: never", ge=0)
    plateau_patience: int = Field(description="stop after so many evaluations without improvement, 0: never", ge=0)
    plateau_problems: int = Field(description="problems of the plateau split that are used", ge=1)

    @property
    def rows_per_step(self) -> int:
        """Completions of one optimizer step, over all processes."""
        return self.prompts_per_step * self.generations


class Training(Settings):
    """How SFT and GRPO survive and are watched; nothing here changes what they learn."""

    save_minutes: float = Field(description="minutes between checkpoints; a crash loses no more", ge=0)
    keep: int = Field(description="newest checkpoints that are kept", ge=1)
    restarts: int = Field(description="times in a row, without a new step, that a crashed training is restarted", ge=0)
    gpu_memory_gib: float = Field(description="memory of the GPU, for a check before it is taken; 0: none", ge=0)
    alarm_entropy: float = Field(description="alarm when the entropy is below this share of what it was at first", ge=0)
    alarm_zero_variance: float = Field(description="alarm above this share of groups all right or all wrong", ge=0)
    alarm_truncated: float = Field(description="alarm above this share of completions cut off at the limit", ge=0)
    alarm_kl: float = Field(description="alarm above this KL from the start, nats a token; only seen if beta > 0", ge=0)
    alarm_length: float = Field(
        description="alarm when completions are so many times longer or shorter than at first", ge=1
    )
    alarm_format: float = Field(
        description="alarm when well-formed wrong answers rose by this share and right ones did not", ge=0
    )


class Scale(Settings):
    """On how many processes SFT and GRPO run; the rows of a step stay those of the recipe."""

    nodes: int = Field(description="Pods of a TrainJob; above 1 with trainer=trainjob only", ge=1)
    processes: int = Field(description="processes on each node, one for each GPU", ge=1)
    sharding: Literal["none", "optimizer", "full"] = Field(
        description="what the processes split: none, optimizer (and gradient), or full (weights as well)"
    )
    runtime: str = Field(description="TrainingRuntime that a TrainJob takes; manifests/components/trainer has it")
    start_timeout_s: int = Field(description="time that the Pods of a TrainJob have to start", ge=10)

    @property
    def world(self) -> int:
        """All processes."""
        return self.nodes * self.processes


class Evaluate(Settings):
    """Settings of `evaluate`, the same for base, SFT and GRPO."""

    protocols: tuple[Protocol, ...] = Field(description="what is asked, and how")
    backend: Backend = Field(description="what generates the completions")
    max_new_tokens: int = Field(description="longest completion in tokens", ge=4)
    batch_size: int = Field(description="completions generated together", ge=1)
    batch_tokens: int = Field(description="prompt and new tokens held in memory together, padding included", ge=64)
    gpu_memory_utilization: float = Field(description="share of the GPU's memory that vLLM takes", ge=0.05, le=0.98)
    decode_graphs: bool = Field(description=_GRAPHS)
    problems: int = Field(description="evaluation problems used, 0: all", ge=0)
    gate_problems: int = Field(description="gate problems used, 0: all", ge=0)
    gate_protocols: tuple[Protocol, ...] = Field(
        description="how the gate problems are asked; zero-shot decides, for another the gate has a floor"
    )
    temperature: float = Field(description="sampling temperature, 0: greedy", ge=0)
    samples: int = Field(description="completions per problem; more than 1 gives pass@k and maj@k", ge=1)


class Compare(Settings):
    """Settings of `compare`."""

    confidence: float = Field(description="level of the intervals, and 1 minus that of the tests", ge=0.5, le=0.999)
    bootstrap_samples: int = Field(description="resamples of the paired bootstrap", ge=100)
    examples: int = Field(description="sample completions of each kind in the report", ge=0)


class Gate(Settings):
    """Settings of `gate`: what a model must show on the gate split before it is pushed."""

    candidate: Candidate = Field(
        description="last: what GRPO ends with, or its best plateau step; best: what it began with, where no plateau "
        "step does better"
    )
    margin: float = Field(description="accuracy that the candidate must gain at least, 0.01 is one point", ge=0, le=1)
    alpha: float = Field(description="largest p-value of the paired one-sided test", ge=0, le=1)
    max_truncated: float = Field(description="largest share of completions that hit the length limit", ge=0, le=1)
    min_well_formed: float = Field(
        description="least share of completions with a think block and a marked answer", ge=0, le=1
    )
    max_mean_tokens: float = Field(description="largest mean length of a completion in tokens, 0: any", ge=0)
    max_few_shot_loss: float = Field(
        description="accuracy that may be lost against the base in each few-shot protocol of evaluate_gate_protocols",
        ge=0,
        le=1,
    )
    max_source_loss: float = Field(
        description="accuracy that may be lost against the base on the gate problems of each source, where there are "
        "several; 0: no loss on any, 1: not asked",
        ge=0,
        le=1,
    )
    force: bool = Field(description="promote whatever the numbers say; it is recorded")


class Push(Settings):
    """Settings of `push`."""

    hub_repo: str = Field(description="Hub repository owner/name; empty: the registry only")
    private: bool = Field(description="make a new Hub repository private")
    licence: str = Field(description="licence of the released model, as the Hub spells it, or other")
    licence_name: str = Field(description="id of a licence that the Hub does not list, where licence is other")
    data: bool = Field(
        description="publish the SFT conversations of a promoted model too, on the Hub as <hub_repo>-data"
    )


class Keep(Settings):
    """Settings of the cleaning that each run begins with; what belongs to the champion always stays."""

    runs: int = Field(
        description="newest runs whose step records, reports and KFP artifacts stay, and as many of those without "
        "news; of older ones the outcome",
        ge=1,
    )
    models: int = Field(description="former champions whose models and data sets stay in the registry", ge=0)
    checkpoint_days: float = Field(description="days without use after which training checkpoints are deleted", ge=0)


class Notify(Settings):
    """Settings of the message about a run's end, which goes to the address in NOTIFY_WEBHOOK."""

    format: Literal["json", "slack", "ntfy"] = Field(description="what the webhook expects")
    ui: str = Field(
        description="address of the Kubeflow UI for the link to the run, as https://HOST or https://HOST/pipeline; "
        "empty: none"
    )


class Cluster(Settings):
    """Where and how the steps' Pods run; used by `compile`, `submit` and `schedule`, not by `run`."""

    gpus: int = Field(description="GPUs that each training or evaluation step requests", ge=0)
    gpu_uuid: str = Field(description="UUID of the one GPU to be seen, for a node with unlike GPUs; empty: any")
    node_selector: tuple[str, ...] = Field(description="label=value that a training or evaluation node must have")
    tolerations: tuple[str, ...] = Field(
        description="taints that training and evaluation tolerate, as key[=value][:effect]"
    )
    data_cpu: float = Field(description="CPU cores requested by the other steps", ge=0.01)
    data_memory_gib: float = Field(description="memory requested by the other steps", ge=0.1)
    train_cpu: float = Field(description="CPU cores requested by training and evaluation", ge=0.01)
    train_memory_gib: float = Field(description="memory requested by training and evaluation", ge=0.1)
    memory_limit_gib: float = Field(
        description="memory above which a training or evaluation step is killed, 0: none", ge=0
    )
    shm_gib: float = Field(description="size of /dev/shm of training and evaluation, part of their memory", ge=0.01)
    start_timeout_s: int = Field(
        description="time that a step's Pod has to start, by `submit --wait`, `follow` and the CronJob; the wait for a "
        "GPU that another Pod holds does not count", ge=10,
    )  # fmt: skip
    data_timeout_s: int = Field(description="time after which one of the other steps is ended, from its start", ge=10)
    train_timeout_s: int = Field(description="time after which training or evaluation is ended, from its start", ge=10)
    retries: int = Field(description="attempts after the first that training and evaluation get", ge=0)
    keep_s: int = Field(description="time for which Argo keeps the ended workflow", ge=60)
    cache_claim: str = Field(description="PersistentVolumeClaim of the Hub and kernel caches, empty: none")
    checkpoints_claim: str = Field(description="PersistentVolumeClaim of training checkpoints, empty: none")
    secret: str = Field(description="Secret with HF_TOKEN and NOTIFY_WEBHOOK, each optional")
    s3_secret: str = Field(
        description="Secret with accesskey and secretkey of the bucket, if need be sessiontoken and region; empty: none"
    )
    s3_endpoint: str = Field(description="address of the S3 server as Pods see it")
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(description="when a node pulls an image")
    image_pull_secret: str = Field(description="Secret for a private image registry, empty: none")


class Recipe(Settings):
    """Everything that one run needs to know."""

    name: str = Field(description="name of the recipe")
    base: str = Field(default="", description="of a recipe file: the recipe by its name that it stands on, if any")
    model: str = Field(description="Hub id or directory of the base model; tiny or tiny-small: an embedded one")
    revision: str = Field(description="Hub branch, tag or commit of the base model")
    sources: tuple[Source, ...] = Field(description="where SFT conversations and RL problems come from")
    evaluation: tuple[Source, ...] = Field(description="where the evaluation problems come from")
    stages: tuple[Stage, ...] = Field(description="the training stages of the run")
    form: Form = Field(
        description="how a final answer is given: marker, a last line #### ANSWER, or boxed, \\boxed{ANSWER}"
    )
    system_prompt: str = Field(description="what the model is told before each question; empty: by form and answers")
    checkers: dict[str, str] = Field(
        description="`answers` of a source -> its checker's code, base64 of gzip; filled in when the recipe is read"
    )
    seed: int = Field(description="seed of training and sampling, and of the data unless data_seed is", ge=0)
    data_seed: int = Field(description="seed of rows, splits and exemplars, -1: the run's own", ge=-1)
    registry: str = Field(description="directory or s3:// address of run records and models; empty: under --output")
    checkpoints: str = Field(
        description="directory that outlives a step, for training checkpoints; empty: none are kept"
    )
    trainer: Literal["process", "trainjob"] = Field(
        description="where SFT and GRPO train: a process of the step, or a TrainJob"
    )
    always: bool = Field(description="run even if nothing has changed since the champion")
    lock_timeout_s: int = Field(description="time without a sign of life after which a run's lock is taken over", ge=60)
    sample: Sample
    standardize: Standardize
    sft: Sft
    grpo: Grpo
    training: Training
    scale: Scale
    evaluate: Evaluate
    compare: Compare
    gate: Gate
    push: Push
    keep: Keep
    notify: Notify
    cluster: Cluster

    @property
    def hub_repos(self) -> dict[str, str]:
        """Kind -> name of each repository of the Hub to which a promoted model is pushed; empty if to none."""
        name = self.push.hub_repo
        data = {"dataset": f"{name}-data"} if self.pushes_data else {}
        return {"model": name, **data} if name else {}

    @property
    def pushes_data(self) -> bool:
        """Whether the SFT conversations of a promoted model are published."""
        return self.push.data and "sft" in self.stages
