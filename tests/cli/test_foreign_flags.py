"""A flag of another tool, a misspelled flag or command, a wrong choice: one line says what to type instead."""

from __future__ import annotations

import pytest

from support import sentences
from support.servers import loadstone

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.clean_folder

# Arguments of `run`, and what the sentence says of the flag.
VLLM = [
    ("--num-prompts 10", "--num-prompts (use -n)"),
    ("--request-rate inf", "--request-rate (use --rate; for inf leave it out and give -c N)"),
    ("--request-rate=5", "--request-rate (use --rate;"),
    ("--max-concurrency 8", "--max-concurrency (use -c)"),
    ("--backend openai-chat", "--backend (use --api; openai-chat is chat,"),
    ("--endpoint /v1/completions", "--endpoint (use --path;"),
    ("--base-url http://x", "--base-url (use --url;"),
    ("--host 127.0.0.1", "--host (use --url; write http://HOST:PORT)"),
    ("--port 8000", "--port (use --url;"),
    ("--dataset-name random", "--dataset-name (use --dataset;"),
    ("--dataset-path x.json", "--dataset-path (use --dataset;"),
    ("--random-input-len 1024", "--random-input-len (use --dataset random --input-len)"),
    ("--random-output-len 128", "--random-output-len (use --output-len)"),
    ("--random-range-ratio 0.5", "--random-range-ratio (use --range-ratio;"),
    ("--random-prefix-len 64", "--random-prefix-len (use --prefix-len)"),
    ("--sharegpt-output-len 128", "--sharegpt-output-len (use --output-len)"),
    ("--prefix-repetition-num-prefixes 10", "(use --prefix-count)"),
    ("--hf-split train", "--hf-split (use --dataset; hf:NAME:SPLIT:FIELD)"),
    ("--percentile-metrics ttft,tpot", "--percentile-metrics (all metrics are reported with percentiles)"),
    ("--metric-percentiles 50,99", "--metric-percentiles (use --percentiles;"),
    ("--save-result --result-dir out", "--result-dir (use -o)"),
    ("--num-warmups 5", "--num-warmups (use --warmup)"),
    ("--ramp-up-strategy linear", "--ramp-up-strategy (use --stages;"),
    ("--served-model-name m", "--served-model-name (use --model)"),
    ("--disable-tqdm", "--disable-tqdm (use --quiet)"),
    ("--profile", "--profile (for GuideLLM's give -c or --rate; the server's profiler has an API of its own)"),
    ("--tensor-parallel-size 2", "--tensor-parallel-size (the server has this setting:"),
]
SGLANG = [
    ("--disable-stream", "--disable-stream (use --no-stream)"),
    ("--extra-request-body {}", "--extra-request-body (use --extra-body;"),
    ("--warmup-requests 1", "--warmup-requests (use --warmup)"),
    ("--gsp-num-groups 64", "--gsp-num-groups (use --prefix-count)"),
    ("--gsp-question-len 128", "--gsp-question-len (use --input-len)"),
    ("--output-file x.jsonl", "--output-file (use -o;"),
    ("--lora-name a b", "--lora-name (use --model;"),
    ("--flush-cache", "--flush-cache (reset the cache with the server's API,"),
    ("--mooncake-slowdown-factor 2", "--mooncake-slowdown-factor (use --speed;"),
]
GUIDELLM = [
    ("--target http://x", "--target (use --url)"),
    ("--rate-type sweep", "--rate-type (use --rate, -c or --arrivals; sweep is loadstone sweep --auto,"),
    ("--max-seconds 30", "--max-seconds (use --duration)"),
    ("--max-requests 100", "--max-requests (use -n)"),
    ("--data prompt_tokens=256", "--data (use --dataset;"),
    ("--processor x", "--processor (use --tokenizer)"),
    ("--output-path x.json", "--output-path (use -o;"),
    ("--constraint kind=max_duration,seconds=30", "--constraint (use -n, --duration or --stop-error-rate)"),
]
AIPERF = [
    ("--isl 550", "--isl (use --dataset random --input-len)"),
    ("--osl 128", "--osl (use --output-len)"),
    ("--request-count 100", "--request-count (use -n)"),
    ("--benchmark-duration 60", "--benchmark-duration (use --duration)"),
    ("--synthetic-input-tokens-stddev 20", "(use --input-len; a distribution:"),
    ("--endpoint-type chat", "--endpoint-type (use --api;"),
    ("--streaming", "--streaming (responses are streamed unless --no-stream is given)"),
    ("--extra-inputs a:1", "--extra-inputs (use --extra-body;"),
    ("--request-cancellation-rate 10", "(use --cancel-share; percent / 100)"),
    ("--session-turn-delay-mean 2", "--session-turn-delay-mean (use --think-time)"),
    ("-m sim", "-m (use --model)"),
]
EVALSCOPE = [
    ("--parallel 8", "--parallel (use -c)"),
    ("--number 100", "--number (use -n)"),
    ("--tokenizer-path x", "--tokenizer-path (use --tokenizer)"),
    ("--max-tokens 1024", "--max-tokens (use --output-len)"),
    ("--max-prompt-length 99", "--max-prompt-length (use --max-input-len)"),
    ("--sla-auto-tune", "--sla-auto-tune (use loadstone sweep --slo;"),
    ("--log-every-n-query 10", "--log-every-n-query (there are no log levels:"),
    ("--outputs-dir out", "--outputs-dir (use -o)"),
    ("--api-key secret", "--api-key (use --api-key-env;"),
]
LLMPERF = [
    ("--mean-input-tokens 550", "--mean-input-tokens (use --dataset random --input-len)"),
    ("--stddev-output-tokens 10", "--stddev-output-tokens (use --output-len;"),
    ("--num-concurrent-requests 4", "--num-concurrent-requests (use -c)"),
    ("--max-num-completed-requests 4", "--max-num-completed-requests (use -n)"),
    ("--llm-api openai", "--llm-api (use --api; openai is chat)"),
]
LOAD_TESTERS = [
    ("--users 10", "--users (use -c)"),
    ("--spawn-rate 2", "--spawn-rate (use --stages;"),
    ("--run-time 1m", "--run-time (use --duration)"),
    ("--vus 10", "--vus (use -c)"),
    ("-z 10s", "-z (use --duration)"),
    ("-np 4", "-np (use -c)"),
]
MISSPELLED = [
    ("--concurency 4", "--concurency (did you mean --concurrency?)"),
    ("--rquests 4", "--rquests (did you mean --requests?)"),
    ("--tempreature 0", "--tempreature (did you mean --temperature?)"),
    ("--output_len 4", "--output_len (did you mean --output-len?)"),
    ("--conc 4", "--conc (did you mean --concurrency?)"),
    ("-concurrency 4", "-concurrency (did you mean --concurrency?)"),
    ("-output folder", "-output (did you mean --output?)"),
    ("-help", "-help (did you mean --help?)"),
    ("--tasks gsm8k", "--tasks (it is a flag of `loadstone eval`)"),
    ("--gen_kwargs temperature=0", "--gen_kwargs (it is for `loadstone eval`: use --gen;"),
    ("--stop -END-", "-END- (a value that begins with a dash is written --stop=-END-)"),
]
LM_EVAL = [
    ("--model_args base_url=http://x", "--model_args (use --model, --url and -c; base_url is --url,"),
    ("--num_fewshot 5", "--num_fewshot (use --num-fewshot)"),
    ("--batch_size 8", "--batch_size (use -c;"),
    ("--gen_kwargs temperature=0", "--gen_kwargs (use --gen;"),
    ("--apply_chat_template", "--apply_chat_template (use --api chat;"),
    ("--fewshot_as_multiturn", "--fewshot_as_multiturn (use --multiturn)"),
    ("--output_path out", "--output_path (use -o)"),
    ("--log_samples", "--log_samples (samples are always saved)"),
    ("--system_instruction Hi", "--system_instruction (use --system)"),
    ("--confirm_run_unsafe_code", "--confirm_run_unsafe_code (use --allow-code-execution)"),
    ("--use_cache x", "--use_cache (use --cache)"),
    ("--write_out", "--write_out (use --dry-run)"),
    ("--device cuda", "--device (the server has this setting:"),
    ("-x", "-x (use --predict-only)"),
]
OTHER_EVALS = [
    ("--max_tokens 512", "--max_tokens (use --output-len)"),
    ("--annotator_model gpt-4", "--annotator_model (there is no judge:"),
    ("--use_database", "--use_database (there is no database:"),
    ("--datasets gsm8k", "--datasets (use --tasks)"),
    ("--generation-config {}", "--generation-config (use --gen;"),
    ("--eval-batch-size 8", "--eval-batch-size (use -c;"),
    ("--repeats 4", "--repeats (use --repeat)"),
    ("--epochs 4", "--epochs (use --repeat)"),
    ("--max-connections 8", "--max-connections (use -c)"),
    ("--num-prompts 8", "--num-prompts (use --limit)"),
    ("--junit x.xml", "--junit (use --as md;"),
]


def sentence(capsys: Capture, arguments: str) -> str:
    """Return what one refused command says, which is one line and nothing else."""
    done = loadstone(capsys, *arguments.split())
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("loadstone: ")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("loadstone: ").strip()


@pytest.mark.parametrize(
    ("flag", "words"),
    [*VLLM, *SGLANG, *GUIDELLM, *AIPERF, *EVALSCOPE, *LLMPERF, *LOAD_TESTERS, *MISSPELLED],
    ids=lambda text: text.split()[0],
)
def test_run_has_no_such_flag(flag: str, words: str, capsys: Capture) -> None:
    said = sentence(capsys, f"run {flag}")
    assert words in said
    assert said.startswith("`run` has no flag")
    assert said.endswith("; see loadstone run --help")
    assert len(said) <= 200


@pytest.mark.parametrize(("flag", "words"), [*LM_EVAL, *OTHER_EVALS], ids=lambda text: text.split()[0])
def test_eval_has_no_such_flag(flag: str, words: str, capsys: Capture) -> None:
    said = sentence(capsys, f"eval {flag}")
    assert words in said
    assert said.endswith("; see loadstone eval --help")
    assert len(said) <= 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run --bogus", "`run` has no flag --bogus; see loadstone run --help"),
        ("run --bogus 5 --bogus 6", "`run` has no flag --bogus; see loadstone run --help"),
        (
            "run --num-prompts 10 --users 4 --bogus",
            "`run` has no flags --num-prompts (use -n), --users (use -c) and --bogus; see loadstone run --help",
        ),
        # An unknown flag is named before any other mistake.
        ("report --num-prompts 10", "`report` has no flag --num-prompts (…); see loadstone report --help"),
        ("compare --threshold 5 a b", "`compare` has no flag --threshold (use --margin; such as 5%); see …"),
        ("run -n many --concurency 4", "`run` has no flag --concurency (did you mean --concurrency?); see …"),
        ("sweep --bench-params x.json", "`sweep` has no flag --bench-params (use --vary; …); see …"),
        ("serve --max-num-seq 4", "`serve` has no flag --max-num-seq (did you mean --max-num-seqs?); see …"),
        ("serve --served-model-name m", "`serve` has no flag --served-model-name (use --model); see …"),
        ("run more", "`run` takes no argument 'more'; see loadstone run --help"),
        ("run http://x", "`run` takes no argument 'http://x' (use --url); see loadstone run --help"),
        ("check a b", "`check` takes no argument 'b'; see loadstone check --help"),
        ("report a --as md b", "`report` takes no argument 'b' (write all RUN side by side); see …"),
        ("bench serve --model x", "no command 'bench' (use run); see loadstone --help"),
        ("perf", "no command 'perf' (use run); see loadstone --help"),
        ("evaluate", "no command 'evaluate' (use eval); see loadstone --help"),
        ("mock-server", "no command 'mock-server' (use serve); see loadstone --help"),
        ("rnu", "no command 'rnu' (did you mean run?); see loadstone --help"),
        ("xyzzy", "no command 'xyzzy' (use run, sweep, …); see loadstone --help"),
        ("--tasks gsm8k eval", "the command comes first, as in `loadstone eval --tasks`; see loadstone --help"),
        ("run --transport wir", "--transport takes wire or aiohttp, not 'wir' (did you mean wire?); see …"),
        ("run --usage=echa", "--usage takes final, each or off, not 'echa' (did you mean each?); see …"),
        ("eval --as markdown", "--as takes text, …, not 'markdown' (did you mean md?); see loadstone eval --help"),
        ("list task", "`list` takes apis, …, not 'task' (did you mean tasks?); see loadstone list --help"),
        ("run --as markdown", "--as takes …, not 'markdown' (did you mean md?)"),
        ("run --url http://127.0.0.1:1 --api openai", "--api takes …, not 'openai' (did you mean chat?)"),
        ("run --url http://127.0.0.1:1 --api vllm", "--api takes …, not 'vllm' (did you mean completions?)"),
        (
            "run --rate inf",
            "--rate takes a number above 0 (to send without a rate, leave it out and give -c N), not inf",
        ),
        ("run --rate 0", "--rate takes a number above 0 (to send without a rate, leave it out and give -c N), not 0…"),
        # What argparse says in one sentence stays as it is.
        ("run --url", "argument --url: …; see loadstone run --help"),
        ("compare a", "…NEW; see loadstone compare --help"),
    ],
)
def test_sentences(arguments: str, said: str, capsys: Capture) -> None:
    assert sentences.same(said, sentence(capsys, arguments))


def test_many_flags_lose_their_notes_first(capsys: Capture) -> None:
    flags = (
        "--num-prompts 9 --request-rate inf --backend openai-chat --dataset-name random --random-input-len 9 --host x"
    )
    said = sentence(capsys, f"run {flags}")
    for name in (word for word in flags.split() if word.startswith("--")):
        assert f"{name} (use -" in said
    assert "; for inf" not in said


@pytest.mark.parametrize("arguments", ["run -n2 -c1 --no-html -o out", "run -n=2 -c=1 --rate=90 --stop=-END- -oout"])
def test_flags_with_their_values_are_known(arguments: str, capsys: Capture) -> None:
    assert loadstone(capsys, *arguments.split(), "--output-len", 2, "--quiet").status == 0
