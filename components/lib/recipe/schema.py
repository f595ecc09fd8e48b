"""What a recipe consists of: a settings class per stage, and the recipe that holds them all.

No values here: those are in recipes.py. `setting` gives each field its help text and its valid values.
"""

from dataclasses import dataclass

from components.lib.recipe.settings import setting

STAGES = ("sft", "grpo")
ADAPTERS = ("chat", "thinking-solution", "gsm8k", "prompt-completion")
PROTOCOLS = ("zero-shot", "8-shot", "8-shot-think")
BACKENDS = ("transformers", "vllm")
TRAINERS = ("process", "trainjob")
SHARDING = ("none", "optimizer", "full")
MESSAGES = ("json", "slack", "ntfy")
SAMPLED = "sampled"  # the source of SFT conversations that the step `sample` writes


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of rows for `standardize`: where it lies, how it is read, and what its rows are for."""

    path: str = setting("Hub dataset id, local path, s3:// address, or tiny:SCHEMA for generated rows")
    adapter: str = setting("how a row is read", choices=ADAPTERS)
    name: str = ""  # shown in counts and provenance; empty: the path
    use: str = ""  # "sft" or "problems"; empty: problems for gsm8k, sft for the others
    revision: str = "main"  # Hub branch, tag or commit; preflight resolves it to a commit
    config: str = ""  # configuration of a Hub dataset, as gsm8k's "main"
    split: str = "train"  # split of a Hub dataset
    file: str = ""  # one file inside a Hub dataset, instead of a configuration and split
    licence: str = "unknown"
    cap: int = 0  # at most so many accepted rows, 0: all
    weight: float = 1.0  # share of the rows kept, by hash; above 1 repeats them
    optional: bool = False  # that it holds no rows, or none that fits its adapter, is no error

    @property
    def purpose(self) -> str:
        """What the rows are for: `use`, or what the adapter's rows are usually for."""
        return self.use or ("problems" if self.adapter == "gsm8k" else "sft")

    @property
    def label(self) -> str:
        """The name to show."""
        return self.name or self.path


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Settings of `sample`, in which the base model writes solutions from which `standardize` keeps the right ones."""

    problems: int = setting("training problems that the base model solves for SFT, 0: the step is left out", minimum=0)
    per_problem: int = setting("solutions drawn per problem", minimum=1)
    backend: str = setting("what generates the solutions", choices=BACKENDS)
    temperature: float = setting("sampling temperature", minimum=0.01)
    max_new_tokens: int = setting("longest solution in tokens; one that is cut there is dropped", minimum=4)
    batch_size: int = setting("solutions generated together", minimum=1)
    batch_tokens: int = setting("prompt and new tokens held in memory together, padding included", minimum=64)
    gpu_memory_utilization: float = setting("share of the GPU's memory that vLLM takes", minimum=0.05, maximum=0.98)


@dataclass(frozen=True, kw_only=True)
class Standardize:
    """Settings of `standardize`."""

    max_tokens: int = setting("an SFT conversation with more tokens is rejected, never cut", minimum=16)
    plateau_share: float = setting("share of the problems held out to choose the checkpoint", minimum=0, maximum=0.5)
    gate_share: float = setting("share of the problems held out for the gate", minimum=0, maximum=0.5)
    duplicate_similarity: float = setting(
        "Jaccard similarity above which rows are near duplicates, 1: exact only", minimum=0.5, maximum=1
    )
    overlap_words: int = setting("an n-gram of so many words shared with the evaluation set rejects a row", minimum=5)


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Settings of `sft`, the supervised warm-up."""

    learning_rate: float = setting("peak learning rate", minimum=0)
    epochs: float = setting("passes over the conversations, unless max_steps ends earlier", minimum=0)
    max_steps: int = setting("optimizer steps, 0: as many as the epochs need", minimum=0)
    batch_size: int = setting("conversations per optimizer step", minimum=1)
    micro_batch_size: int = setting("conversations per forward pass", minimum=1)
    warmup_steps: int = setting("steps of linear warm-up", minimum=0)
    schedule: str = setting("learning-rate schedule", choices=("linear", "cosine", "constant"))
    weight_decay: float = setting("AdamW's weight decay", minimum=0)
    max_tokens: int = setting("longest conversation in tokens; a longer one is dropped and counted", minimum=16)
    gradient_checkpointing: bool = setting("trade time for memory")
    lora_rank: int = setting("rank of a LoRA adapter that is merged at the end, 0: train all weights", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Grpo:
    """Settings of `grpo`, reinforcement learning from answers that can be checked."""

    learning_rate: float = setting("peak learning rate", minimum=0)
    max_steps: int = setting("optimizer steps", minimum=1)
    prompts_per_step: int = setting("problems per optimizer step", minimum=1)
    generations: int = setting("completions per problem, the group", minimum=2)
    micro_batch_size: int = setting("completions per forward pass of the loss", minimum=1)
    max_new_tokens: int = setting("longest completion in tokens", minimum=4)
    temperature: float = setting("sampling temperature", minimum=0.01)
    top_p: float = setting("nucleus sampling", minimum=0.01, maximum=1)
    beta: float = setting("weight of the KL term, 0: no reference model", minimum=0)
    epsilon: float = setting("lower clip of the probability ratio", minimum=0)
    epsilon_high: float = setting("upper clip of the probability ratio", minimum=0)
    loss_type: str = setting("how token losses are averaged", choices=("grpo", "dapo", "dr_grpo", "bnpo"))
    scale_rewards: str = setting("what a group's advantages are divided by", choices=("group", "batch", "none"))
    warmup_steps: int = setting("steps of linear warm-up", minimum=0)
    schedule: str = setting("learning-rate schedule", choices=("linear", "cosine", "constant"))
    correct_weight: float = setting("reward for a right answer", minimum=0)
    think_weight: float = setting("reward for one closed, non-empty think block before an answer", minimum=0)
    marker_weight: float = setting("reward for an answer line that starts with ####", minimum=0)
    screen_samples: int = setting(
        "completions per problem, before training, to drop problems always or never solved; 0: no screening", minimum=0
    )
    curriculum: float = setting(
        "0: problems in random order, 1: strictly easier first; needs screening", minimum=0, maximum=1
    )
    mask_truncated: bool = setting("leave completions that hit the length limit out of the loss")
    gradient_checkpointing: bool = setting("trade time for memory")
    lora_rank: int = setting("rank of a LoRA adapter that is merged at the end, 0: train all weights", minimum=0)
    rollouts: str = setting("what generates the completions", choices=BACKENDS)
    vllm_memory_share: float = setting(
        "share of the GPU's memory that vLLM takes beside the training", minimum=0.05, maximum=0.9
    )
    rollout_batch_size: int = setting("completions decoded together by transformers", minimum=1)
    compile_decode: bool = setting("decode with a static cache and a compiled step; transformers on a GPU only")
    sample_steps: int = setting("steps between the sample completions that the log and the report show", minimum=1)
    plateau_steps: int = setting("steps between evaluations on the plateau split, 0: never", minimum=0)
    plateau_patience: int = setting("stop after so many evaluations without improvement, 0: never", minimum=0)
    plateau_problems: int = setting("problems of the plateau split that are used", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How SFT and GRPO survive and are watched; nothing here changes what they learn."""

    save_minutes: float = setting("minutes between checkpoints; a crash loses no more", minimum=0)
    keep: int = setting("newest checkpoints that are kept", minimum=1)
    restarts: int = setting("times that a crashed training is started again from its checkpoint", minimum=0)
    gpu_memory_gib: float = setting("memory of the GPU, for a check before it is taken; 0: none", minimum=0)
    alarm_entropy: float = setting("alarm when the entropy is below this share of what it was at first", minimum=0)
    alarm_zero_variance: float = setting("alarm above this share of groups all right or all wrong", minimum=0)
    alarm_truncated: float = setting("alarm above this share of completions cut off at the limit", minimum=0)
    alarm_kl: float = setting("alarm above this KL from the start, nats a token; only seen if beta > 0", minimum=0)
    alarm_length: float = setting("alarm when completions are so many times longer or shorter than at first", minimum=1)
    alarm_format: float = setting(
        "alarm when well-formed wrong answers rose by this share and right ones did not", minimum=0
    )


@dataclass(frozen=True, kw_only=True)
class Scale:
    """On how many processes SFT and GRPO run; the rows of a step stay those of the recipe."""

    nodes: int = setting("Pods of a TrainJob; above 1 with trainer=trainjob only", minimum=1)
    processes: int = setting("processes on each node, one for each GPU", minimum=1)
    sharding: str = setting(
        "what the processes split: nothing (none), optimizer and gradient, or weights as well (full)", choices=SHARDING
    )
    runtime: str = setting("TrainingRuntime that a TrainJob takes; manifests/components/trainer has it")
    start_timeout_s: int = setting("time that the Pods of a TrainJob have to start", minimum=10)

    @property
    def world(self) -> int:
        """All processes."""
        return self.nodes * self.processes


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Settings of `evaluate`, the same for base, SFT and GRPO."""

    protocols: tuple[str, ...] = setting("what is asked, and how", choices=PROTOCOLS)
    backend: str = setting("what generates the completions", choices=BACKENDS)
    max_new_tokens: int = setting("longest completion in tokens", minimum=4)
    batch_size: int = setting("completions generated together", minimum=1)
    batch_tokens: int = setting("prompt and new tokens held in memory together, padding included", minimum=64)
    gpu_memory_utilization: float = setting("share of the GPU's memory that vLLM takes", minimum=0.05, maximum=0.98)
    problems: int = setting("evaluation problems used, 0: all", minimum=0)
    gate_problems: int = setting("gate problems used, 0: all", minimum=0)
    gate_protocols: tuple[str, ...] = setting(
        "how the gate problems are asked; zero-shot decides, for another the gate has a floor", choices=PROTOCOLS
    )
    temperature: float = setting("sampling temperature, 0: greedy", minimum=0)
    samples: int = setting("completions per problem; more than 1 gives pass@k and maj@k", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Settings of `compare`."""

    confidence: float = setting("level of the intervals", minimum=0.5, maximum=0.999)
    bootstrap_samples: int = setting("resamples of the paired bootstrap", minimum=100)
    examples: int = setting("sample completions of each kind in the report", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Settings of `gate`: what a model must show on the gate split before it is pushed."""

    margin: float = setting("accuracy that the candidate must gain at least, 0.01 is one point", minimum=0, maximum=1)
    alpha: float = setting("largest p-value of the paired one-sided test", minimum=0, maximum=1)
    max_truncated: float = setting("largest share of completions that hit the length limit", minimum=0, maximum=1)
    min_well_formed: float = setting(
        "least share of completions with a think block and a marked answer", minimum=0, maximum=1
    )
    max_mean_tokens: float = setting("largest mean length of a completion in tokens, 0: any", minimum=0)
    max_few_shot_loss: float = setting(
        "accuracy that may be lost against the base in each few-shot protocol of evaluate_gate_protocols",
        minimum=0, maximum=1,
    )  # fmt: skip
    force: bool = setting("promote whatever the numbers say; it is recorded")


@dataclass(frozen=True, kw_only=True)
class Push:
    """Settings of `push`."""

    hub_repo: str = setting("Hub repository owner/name; empty: the registry only")
    private: bool = setting("make a new Hub repository private")
    licence: str = setting("licence of the released model, as the Hub spells it")
    data: bool = setting("publish the SFT conversations of a promoted model too, on the Hub as <hub_repo>-data")


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Settings of the cleaning that each run begins with; what belongs to the champion always stays."""

    runs: int = setting(
        "newest runs whose step records, reports and KFP artifacts stay, and as many of those without news; of older "
        "ones the outcome",
        minimum=1,
    )
    models: int = setting("former champions whose models and data sets stay in the registry", minimum=0)
    checkpoint_days: float = setting("days without use after which training checkpoints are deleted", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Settings of the message about a run's end, which goes to the address in NOTIFY_WEBHOOK."""

    format: str = setting("what the webhook expects", choices=MESSAGES)
    ui: str = setting(
        "address of the Kubeflow UI for the link to the run, as https://HOST or https://HOST/pipeline; empty: none"
    )


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where and how the steps' Pods run; used by `compile`, `submit` and `schedule`, not by `run`."""

    gpus: int = setting("GPUs that each training or evaluation step requests", minimum=0)
    gpu_uuid: str = setting("UUID of the one GPU to be seen, for a node with unlike GPUs; empty: any")
    node_selector: tuple[str, ...] = setting("label=value that a training or evaluation node must have")
    tolerations: tuple[str, ...] = setting("taints that training and evaluation tolerate, as key[=value][:effect]")
    data_cpu: float = setting("CPU cores requested by the other steps", minimum=0.01)
    data_memory_gib: float = setting("memory requested by the other steps", minimum=0.1)
    train_cpu: float = setting("CPU cores requested by training and evaluation", minimum=0.01)
    train_memory_gib: float = setting("memory requested by training and evaluation", minimum=0.1)
    memory_limit_gib: float = setting("memory above which a training or evaluation step is killed, 0: none", minimum=0)
    shm_gib: float = setting("size of /dev/shm of training and evaluation, part of their memory", minimum=0.01)
    data_timeout_s: int = setting("time after which one of the other steps is ended", minimum=10)
    train_timeout_s: int = setting("time after which training or evaluation is ended", minimum=10)
    retries: int = setting("attempts after the first that training and evaluation get", minimum=0)
    keep_s: int = setting("time for which Argo keeps the ended workflow", minimum=60)
    cache_claim: str = setting("PersistentVolumeClaim of the Hub and kernel caches, empty: none")
    checkpoints_claim: str = setting("PersistentVolumeClaim of training checkpoints, empty: none")
    secret: str = setting("Secret with HF_TOKEN and NOTIFY_WEBHOOK, each optional")
    s3_secret: str = setting("Secret with accesskey and secretkey of the bucket, empty: none")
    s3_endpoint: str = setting("address of the S3 server as Pods see it")
    image_pull_policy: str = setting("when a node pulls an image", choices=("IfNotPresent", "Always", "Never"))
    image_pull_secret: str = setting("Secret for a private image registry, empty: none")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that one run needs to know."""

    name: str = setting("name of the recipe")
    model: str = setting("Hub id or directory of the base model; tiny: the embedded one")
    revision: str = setting("Hub branch, tag or commit of the base model")
    sources: tuple[Source, ...] = setting("where SFT conversations and RL problems come from")
    evaluation: tuple[Source, ...] = setting("where the evaluation problems come from")
    stages: tuple[str, ...] = setting("the training stages of the run", choices=STAGES)
    seed: int = setting("seed of data, training and sampling", minimum=0)
    registry: str = setting("directory or s3:// address of run records and models; empty: under --output")
    checkpoints: str = setting("directory that outlives a step, for training checkpoints; empty: none are kept")
    trainer: str = setting("where SFT and GRPO train: a process of the step, or a TrainJob", choices=TRAINERS)
    always: bool = setting("run even if nothing has changed since the champion")
    lock_timeout_s: int = setting("time without a sign of life after which a run's lock is taken over", minimum=60)
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
