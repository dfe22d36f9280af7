"""Flags of other evaluation tools and servers, and what `eval`, `serve` and the commands for results have for them.

Pure data; foreign_flags.py reads it. A line is as in foreign_load.py. Sources: the help of lm-eval 0.4,
Evalchemy, EvalScope 1.14, inspect, lighteval, OpenCompass and OpenAI's simple-evals.
"""

# For `eval`.
EVAL = """
--datasets --eval -t ~ --tasks-list --evals --benchmark --benchmarks --task | lm-eval, EvalScope, OpenCompass,
 simple-evals | --tasks |
--dataset-name --dataset-path | vLLM, EvalScope | --tasks | a benchmark, or qa:FILE for rows of your own
--model_args -a -M | lm-eval, EvalScope, inspect, lighteval | --model, --url and -c | base_url is --url,
 num_concurrent is -c
--model-base-url | inspect | --url |
--num_fewshot -f ~ --num-few-shot --n-shot --fewshot --few-shot-num | lm-eval | --num-fewshot |
--batch_size --max_batch_size --eval-batch-size -b ~ --override-batch-size | lm-eval, EvalScope | -c |
 requests in flight; --batch-size is for a local model
--max-subprocesses --max-tasks --max-num-workers ~ --num-processes --max-samples-per-process | inspect, OpenCompass |
 -c |
--gen_kwargs --generation-config ~ --generation-kwargs --generation-parameters | lm-eval, EvalScope | --gen | such as
 temperature=0.6,top_p=0.95
--max_tokens ~ --max_gen_toks --max-length | Evalchemy | --output-len |
--apply_chat_template --chat-template ~ --use-chat-template | lm-eval, EvalScope | --api chat |
 the server applies its template
--fewshot_as_multiturn | lm-eval | --multiturn |
--system_instruction --system-message ~ --system-prompt | lm-eval, inspect | --system |
--max-samples --max-eval-instances --examples -L ~ --limit-samples --num-examples --limit-examples | lm-eval, inspect,
 lighteval, simple-evals, HELM | --limit |
--num-prompts --number --request-count ~ --num-samples --max-requests | vLLM, EvalScope, AIPerf | --limit |
--sample-id -E ~ --sample-ids --doc-ids | lm-eval, inspect | --samples | such as {"gsm8k": [0, 7]}
--repeats --epochs --n-repeats ~ --num-repeats --n-samples --num-generations --runs | EvalScope, inspect, simple-evals
 | --repeat |
--epochs-reducer | inspect | --repeat | avg@k, pass@k and maj@k are all reported
--include_path --custom-tasks ~ --tasks-dir | lm-eval, lighteval | --include-path |
--dataset-dir ~ --data-path --data-root | EvalScope | --data-dir |
--dataset-hub ~ --local-data | EvalScope | --data-dir | a folder with the data, or the hub's cache
--dataset-args | EvalScope | --num-fewshot and --tasks | subsets are names of tasks
--output_path ~ --output-folder --outputs --log-file | lm-eval | -o |
--use_cache --cache_requests --cache-prompt ~ --cache-dir | lm-eval, EvalScope, inspect | --cache |
--log_samples --save-details ~ --save-samples --log-realtime --save-generations | lm-eval, lighteval | | samples are
 always saved
--predict_only --no-score -x ~ --generate-only --infer-only | lm-eval, inspect | --predict-only |
--rerun-review --reuse ~ --review-only --eval-only | EvalScope, OpenCompass | --stage score | with -o of the
 evaluation
--write_out --show_config -w | lm-eval | --dry-run |
--check_integrity | lm-eval | --dry-run |
--confirm_run_unsafe_code ~ --allow-unsafe-code | lm-eval | --allow-code-execution |
--sandbox --use-sandbox --sandbox-type --sandbox-manager-config | EvalScope, inspect | --allow-code-execution |
--trust_remote_code --hf_hub_log_args --trackio_args --wandb_args --wandb_config_args ~ --hf-args | lm-eval | |
 nothing is loaded from or sent to a hub: leave it out
--judge --judge-strategy --judge-model-args --annotator_model --model-role ~ --judge-model
 | EvalScope, Evalchemy, inspect | | there is no judge: write a scorer and give loadstone score --scorer FILE.py:NAME
--eval-type --eval-backend --model-task --eval-config | EvalScope | --api | the model is behind a server: give --url
--analysis-report --agent-config ~ --agent | EvalScope | | there is none: leave it out
--collect-perf | EvalScope | | serving figures are always measured
--ignore-errors | EvalScope | --max-error-rate | 1 ignores them
--use_database --model_id --creation_location --created_by --is_external_model --overwrite-database
 | Evalchemy | | there is no database: results are in the folder of -o
--message-limit --token-limit --time-limit --working-limit | inspect | --output-len and --timeout |
--num-choices | inspect | --repeat |
~ --delete-cache --refresh-cache | | --cache | a new folder
~ --bootstrap-iters | | | intervals need no such number
--save-text | loadstone run | | answers are always kept
--dataset --prompt-field --skip --shuffle | loadstone run | --tasks | with --limit or --samples
--requests -n | loadstone run | --limit | or --samples
--n-choices | loadstone run | --repeat |
--duration --stages --warmup --cooldown --stop-saturated --speed --from --to | loadstone run | | an evaluation ends
 when all items have been asked; --limit makes it shorter
--turns --think-time --history --input-len --range-ratio --prefix-len --prefix-count --system-len --ignore-eos
 --logprobs --cancel-share --cancel-after --tokenize-prompt | loadstone run | | the tasks decide what is asked
--junit --summary | loadstone run | --as md | redirect it into a file
--metric-percentiles ~ --quantiles | vLLM | --percentiles | such as 50,90,99
"""

# For `serve`.
SERVE = """
--served-model-name --model-path --model-id -m ~ --model-name | vLLM, SGLang, llm-d-inference-sim, TGI, llama.cpp |
 --model |
--api-key | vLLM, SGLang, llama.cpp | --api-key-env | the variable that holds the key
--ssl-certfile ~ --tls-cert | vLLM | --certfile |
--ssl-keyfile ~ --tls-key | vLLM | --keyfile |
--uds | vLLM | --unix |
~ --listen --bind --address --server-name | | --host and --port |
~ -p | | --port |
--context-length -c ~ --max-seq-len --max-context-len | SGLang, llama.cpp | --max-model-len |
--max-running-requests --max-batch-size -np ~ --max-concurrency | SGLang, TGI, llama.cpp | --engine vllm
 --max-num-seqs |
--max-prefill-tokens --max-batch-prefill-tokens --chunked-prefill-size | SGLang, TGI | --engine vllm
 --max-num-batched-tokens |
--page-size ~ --kv-block-size | SGLang | --engine vllm --block-size |
--disable-radix-cache | SGLang | --engine vllm --no-prefix-caching |
--enable-prefix-caching --enable-chunked-prefill | vLLM | --engine vllm | it is on by default
--speculative-num-draft-tokens --speculative-config --speculative-num-steps | vLLM, SGLang | --engine vllm
 --num-speculative-tokens |
--time-to-first-token --ttft-ms --request-latency ~ --prefill-time | GuideLLM, llm-d-inference-sim | --ttft | such as
 50ms
--ttft-ms-std --time-to-first-token-std-dev | GuideLLM, llm-d-inference-sim | --ttft | normal(50ms,5ms)
--inter-token-latency --itl-ms ~ --decode-time | GuideLLM, llm-d-inference-sim | --itl | such as 10ms
--itl-ms-std --inter-token-latency-std-dev | GuideLLM, llm-d-inference-sim | --itl | normal(10ms,1ms)
--output-tokens ~ --max-tokens --output-len | GuideLLM | --default-tokens |
--failure-injection-rate --failure-types ~ --fail-after | llm-d-inference-sim | --fault | an unknown name lists all
--tensor-parallel-size --pipeline-parallel-size --data-parallel-size --tp --tp-size --dp-size -tp | vLLM, SGLang |
 --engine vllm --preset | such as h100x4-70b
--gpu-memory-utilization --mem-fraction-static | vLLM, SGLang | --engine vllm --num-gpu-blocks |
--dtype --quantization --enforce-eager --trust-remote-code --tokenizer --kv-cache-dtype --device | vLLM, SGLang | |
 no model is loaded: leave it out
--workers | GuideLLM, uvicorn | | one process serves: start more on other ports
--log-level --uvicorn-log-level --disable-log-requests ~ --verbose | vLLM, SGLang | | it logs no requests: leave it
 out
"""

# For `report`.
REPORT = """
--output-formats --outputs ~ --format --output-format --view | GuideLLM | --as |
--csv --html --json ~ --markdown --md | Locust | --as | such as csv, html, json or md
--output-dir --output-path --output-file --result-dir ~ --outfile | vLLM, SGLang, GuideLLM | -o | it names a new file
--metric-percentiles ~ --quantiles | vLLM | --percentiles | such as 50,90,99
--tokenizer-path --processor | GuideLLM, EvalScope | --tokenizer |
~ --slo --sla | | --goodput | such as ttft:200ms
--var-x --var-y --fig-by --row-by --col-by --curve-by --user-count-var --gpu-count-var | vLLM | --as vllm-sweep | then
 plot it with vLLM's plotter
"""

# For `compare`.
COMPARE = """
~ --format --output-format --view | | --as |
~ --threshold --tolerance --delta --max-regression | | --margin | such as 5%
~ --fail-on --assert --fail-if | | --gate | such as "ttft.p99 <= +5%"
~ --baseline --base --new --candidate | | | write the folders without flags: BASE NEW
--output-dir --output-path --output-file | vLLM, SGLang, GuideLLM | -o |
"""

# For `plan`.
PLAN = """
--rps --request-rate ~ --qps | vLLM, SGLang, AIPerf, genai-perf, k6 | --rate |
--isl | AIPerf, genai-perf | --input-len |
--osl | AIPerf, genai-perf | --output-len |
~ --format --output-format | | --as |
~ --cost --gpu-cost --cost-per-hour | | --price |
--goodput ~ --sla | vLLM, SGLang, AIPerf, genai-perf | --slo | such as "ttft.p99<500ms"
--concurrency -c | loadstone run | --users | with --think
"""
