"""The configuration of the simulated engine: its limits, the costs of a step, and presets of both. Pure.

The presets resemble vLLM on H100s. Sizes and peak rates are published figures, with their source; the fraction of the
peaks that kernels reach is an assumption, marked as one. They are for practice and do not predict a real machine.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from loadstone.errors import ConfigError
from loadstone.sim.settings import Settings


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of an engine, with the names of vLLM's flags."""

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    block_size: int = 16
    max_model_len: int = 131072
    prefix_caching: bool = True
    num_speculative_tokens: int = 0
    acceptance_rate: float = 0.0

    @property
    def max_sequence_tokens(self) -> int:
        """Return the tokens of the longest possible sequence, which must fit into the blocks as a whole."""
        return min(self.max_model_len, self.num_gpu_blocks * self.block_size)


class Costs(Struct, frozen=True, kw_only=True):
    """The costs of a step in seconds, as a roofline: weights are read while tokens are computed, the KV cache after.

    overhead: per step, for scheduling, launches, sampling and communication.
    weights: to read the weights once, the minimum of every step.
    token: to compute one token.
    context: to read the KV cache of one token of context, once per step and sequence.
    pair: attention between one prompt token and one token before it.
    """

    overhead: float
    weights: float
    token: float
    context: float
    pair: float = 0.0

    def step(self, tokens: int, context: int, pairs: int) -> float:
        """Return the duration of a step, s."""
        linear = max(self.weights, tokens * self.token)
        return self.overhead + linear + context * self.context + pairs * self.pair


class Profile(Struct, frozen=True, kw_only=True):
    """A machine with a model, its limits and its costs."""

    description: str
    limits: Limits
    costs: Costs


class Model(Struct, frozen=True, kw_only=True):
    """A dense transformer in BF16, with the names and figures of its config.json."""

    parameters: float
    num_hidden_layers: int
    hidden_size: int
    num_key_value_heads: int
    head_dim: int

    @property
    def weight_bytes(self) -> float:
        """Return the size of the weights, bytes."""
        return 2 * self.parameters

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the KV cache bytes per token: a key and a value of two bytes per number, per layer and KV head."""
        return 2 * 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


# meta-llama/Llama-3.1-8B and -70B on Hugging Face: config.json, and the parameter count of the model card.
LLAMA_8B = Model(parameters=8.03e9, num_hidden_layers=32, hidden_size=4096, num_key_value_heads=8, head_dim=128)
LLAMA_70B = Model(parameters=70.6e9, num_hidden_layers=80, hidden_size=8192, num_key_value_heads=8, head_dim=128)

# NVIDIA H100 SXM data sheet: 3.35 TB/s of HBM3, 989 TFLOPS of dense BF16. 81,559 MiB is what nvidia-smi shows of its
# "80 GB".
GPU_MEMORY = 81_559 * 2**20
BANDWIDTH = 3.35e12
FLOPS = 989e12

# vLLM's default for years (--gpu-memory-utilization; 0.92 in 0.32), and its defaults for an API server on an H100
# (engine/arg_utils.py, get_batch_defaults).
GPU_MEMORY_UTILIZATION = 0.9
MAX_NUM_SEQS, MAX_NUM_BATCHED_TOKENS = 1024, 8192

# Assumptions, not measurements: the fraction of the peaks that kernels reach, memory for activations and CUDA graphs,
# time of a step outside the model, and time of an all-reduce, of which tensor parallelism needs two per layer.
BANDWIDTH_FRACTION = 0.8
FLOPS_FRACTION = 0.5
RESERVED_MEMORY = 3 * 2**30
STEP_OVERHEAD = 1e-3
ALL_REDUCE = 12e-6


def h100_profile(model: Model, gpus: int, block_size: int = 16) -> Profile:
    """Return the profile of `model` on H100s with tensor parallelism, which divides weights, KV heads and compute."""
    room = gpus * (GPU_MEMORY * GPU_MEMORY_UTILIZATION - RESERVED_MEMORY) - model.weight_bytes
    communication = 2 * model.num_hidden_layers * ALL_REDUCE if gpus > 1 else 0.0
    flops, bandwidth = gpus * FLOPS * FLOPS_FRACTION, gpus * BANDWIDTH * BANDWIDTH_FRACTION
    return Profile(
        description=f"{gpus} x H100 80GB, a Llama 3.1 of {model.parameters / 1e9:.0f}B parameters in BF16",
        limits=Limits(
            max_num_seqs=MAX_NUM_SEQS,
            max_num_batched_tokens=MAX_NUM_BATCHED_TOKENS,
            num_gpu_blocks=int(room / (model.kv_bytes_per_token * block_size)),
            block_size=block_size,
        ),
        costs=Costs(
            overhead=STEP_OVERHEAD + communication,
            weights=model.weight_bytes / bandwidth,
            # Two operations a parameter and token (Kaplan et al. 2020, section 2.1).
            token=2 * model.parameters / flops,
            context=model.kv_bytes_per_token / bandwidth,
            # Query times key and weight times value: 2 x 2 operations a layer and number of the hidden state.
            pair=4 * model.num_hidden_layers * model.hidden_size / flops,
        ),
    )


TINY = Profile(
    description="no real machine: a small and fast one for trials",
    limits=Limits(max_num_seqs=64, max_num_batched_tokens=2048, num_gpu_blocks=4096, max_model_len=16384),
    costs=Costs(overhead=1e-3, weights=0.5e-3, token=2e-6, context=10e-9),
)

PRESETS: dict[str, Profile] = {
    "tiny": TINY,
    "h100-8b": h100_profile(LLAMA_8B, 1),
    "h100x4-70b": h100_profile(LLAMA_70B, 4),
    "h100x8-70b": h100_profile(LLAMA_70B, 8),
}
DEFAULT_PRESET = "h100-8b"

# Settings that take the place of a preset's.
LIMIT_SETTINGS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "num_gpu_blocks",
    "block_size",
    "prefix_caching",
    "num_speculative_tokens",
    "acceptance_rate",
)
MINIMUMS = {"num_speculative_tokens": 0, "acceptance_rate": 0, "prefix_caching": 0}
ENGINES = ("exact", "vllm")


def profile(settings: Settings) -> Profile | None:
    """Return the profile of these settings, None without an engine. Raises UsageError for invalid ones."""
    given = {name: value for name in LIMIT_SETTINGS if (value := getattr(settings, name)) is not None}
    if settings.engine not in ENGINES:
        raise ConfigError(f"--engine {settings.engine!r} is unknown: choose exact or vllm", field="engine")
    if settings.engine == "exact":
        names = [*given, *(name for name in ("preset", "speedup") if getattr(settings, name) is not None)]
        if names:
            name = "no-prefix-caching" if names[0] == "prefix_caching" else names[0].replace("_", "-")
            raise ConfigError(
                f"--{name} is a setting of the simulated engine: give it with --engine vllm", field=names[0]
            )
        return None

    # Each setting by itself.
    if settings.preset is not None and settings.preset not in PRESETS:
        raise ConfigError(
            f"--preset {settings.preset!r} is unknown: choose one of {', '.join(PRESETS)}", field="preset"
        )
    for name, value in given.items():
        if value < MINIMUMS.get(name, 1):
            raise ConfigError(
                f"--{name.replace('_', '-')} must be at least {MINIMUMS.get(name, 1)}, not {value}", field=name
            )
    if not 0 <= (settings.acceptance_rate or 0) <= 1:
        raise ConfigError(
            f"--acceptance-rate must be between 0 and 1, not {settings.acceptance_rate:g}", field="acceptance_rate"
        )
    if settings.speedup is not None and not settings.speedup > 0:
        raise ConfigError(f"--speedup must be above 0, not {settings.speedup:g}", field="speedup")

    # The preset with these settings in place of its own.
    preset = PRESETS[settings.preset or DEFAULT_PRESET]
    if "block_size" in given and "num_gpu_blocks" not in given:  # same memory, other block size
        given["num_gpu_blocks"] = preset.limits.num_gpu_blocks * preset.limits.block_size // given["block_size"]
    given["max_model_len"] = min(settings.max_model_len, preset.limits.max_model_len)
    limits = msgspec.structs.replace(preset.limits, **given)
    if limits.max_num_seqs > limits.max_num_batched_tokens:
        raise ConfigError(
            f"--max-num-batched-tokens ({limits.max_num_batched_tokens}) must be at least --max-num-seqs"
            f" ({limits.max_num_seqs}): raise the first or lower the second",
            field="max_num_batched_tokens",
        )
    return msgspec.structs.replace(preset, limits=limits)
