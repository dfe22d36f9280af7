"""Flags of other load testers, and what `run` and `sweep` have for them. Pure data; foreign_flags.py reads it.

A line is `flags | tools | flags of ours | note`, continued by lines that begin with a space. After `~` are flags that
no tool documents, but people type. Without a flag of ours the note says what to do instead.

Sources are the help and the code of vLLM 0.32, SGLang 0.5.23, GuideLLM (0.8, and the flags that 0.7 replaced), AIPerf
0.13, genai-perf, EvalScope 1.14, llmperf, genai-bench, TGI's benchmark, inference-benchmarker, Locust, k6, hey and wrk.
"""

# For `run`, `sweep` and `eval`.
SERVER_AND_LOAD = """
--base-url --api-base --api-url ~ --server-url | vLLM, SGLang, EvalScope, genai-bench | --url | write http://HOST:PORT
--host --port ~ --hostname --address --addr | vLLM, SGLang, GuideLLM, EvalScope, Locust, hey, llama.cpp | --url |
 write http://HOST:PORT
-u | AIPerf, genai-perf | --url | for users of Locust or k6, -c
--endpoint --custom-endpoint | vLLM, AIPerf, genai-perf | --path | or --api, for the path of another protocol
--backend --api-backend | vLLM, SGLang, GuideLLM, genai-perf, genai-bench | --api | openai-chat is chat, openai and
 vllm are completions
--endpoint-type | AIPerf, genai-perf | --api | chat, completions, responses, messages, embeddings or rerank
--service-kind | perf_analyzer, genai-perf | --api | openai is chat or completions
--backend-kwargs --backend-args ~ --backend-type | GuideLLM | --url and --api |
--request-format ~ --request-type | GuideLLM | --api | /v1/chat/completions is chat, /v1/completions is completions
--llm-api | llmperf | --api | openai is chat
--server-engine ~ --llm-stack --framework --model-server-type | genai-bench | --api |
--model-name --model-names --model-id --served-model-name --api-model-name | vLLM, SGLang, AIPerf, EvalScope,
 genai-bench, inference-benchmarker, TGI, Evalchemy | --model |
-m | AIPerf, genai-perf | --model |
--model-path | TensorRT-LLM | --model | weights are the server's
--lora-modules --lora-name ~ --lora-adapter | vLLM, SGLang | --model | a mix: base=3,lora=1
--lora-assignment --lora-request-distribution --lora-zipf-alpha | vLLM, SGLang | --model | weights: base=3,lora=1
--model-selection-strategy | AIPerf, genai-perf | --model | weights of several models: a=3,b=1
--url-strategy | AIPerf | --balance | round-robin or sticky
--connection-reuse-strategy --disable-keepalive ~ --keepalive | AIPerf, hey, oha | | connections are pooled and reused
--headers -H ~ --http-headers | AIPerf, genai-perf, EvalScope, Locust, hey, oha, wrk, curl | --header | one 'NAME:
 VALUE' each time
--api-key ~ --openai-api-key --auth-token --token --api-token | AIPerf, EvalScope, genai-bench, inference-benchmarker,
 llama.cpp | --api-key-env | put the key into OPENAI_API_KEY, or into the variable named here
--request-id-prefix | vLLM | --request-id |
--insecure-skip-tls-verify -k ~ --no-verify --no-verify-ssl --skip-tls-verify | k6, curl | --insecure |
--cacert ~ --ca-cert --ca-bundle | curl | --ca-file |
--total-timeout --request-timeout-seconds ~ --timeout-seconds --request-timeout --max-time-per-request | AIPerf,
 EvalScope | --timeout |
--read-timeout | EvalScope | --idle-timeout |
--max-retries --retry ~ --num-retries | inspect, curl | --retries |
--ready-check-timeout-sec --wait-for-model-timeout ~ --ready-timeout --startup-timeout | vLLM, SGLang, AIPerf | --wait |
--no-test-connection --wait-for-model-mode | AIPerf, EvalScope | | one request tests the server before the start
--max-concurrency --num-concurrent-requests --num-concurrency ~ --concurrency-level | vLLM, SGLang, llmperf,
 genai-bench | -c |
--parallel -np ~ --parallelism --max-parallel --num-parallel | EvalScope, llama.cpp | -c |
--max-connections --connections ~ --num-concurrent --max-samples-in-flight | wrk, inspect | -c |
~ --max-inflight --max-in-flight --batch-concurrency --streams | | -c |
--max-workers --num-workers --workers-max --threads --processes --rust-worker-threads ~ --num-threads | SGLang,
 AIPerf, EvalScope, genai-bench, Locust, wrk, llama.cpp | --workers | processes of this client; requests in flight are
 -c
--request-rate --rps ~ --qps --requests-per-second | vLLM, SGLang, AIPerf, genai-perf, k6 | --rate |
 for inf leave it out and give -c N
-q -R | hey, oha, wrk2 | --rate |
~ --requests-per-minute --max-rpm | | --rpm |
~ --tokens-per-minute --max-tpm | | --tpm |
--arrival-pattern --request-rate-mode ~ --arrival-distribution | AIPerf | --arrivals | constant, poisson or gamma
--arrival-smoothness --vllm-burstiness ~ --gamma-shape | AIPerf | --burstiness |
--benchmark-grace-period --stop-timeout ~ --graceful-stop | AIPerf, Locust | --grace |
--random-seed | GuideLLM, AIPerf, genai-perf | --seed |
~ --seed-everything --global-seed | | --seed |
--max-errors --failed-request-threshold ~ --fail-fast --abort-on-fail | GuideLLM, AIPerf | --stop-error-rate |
--max-global-error-rate --fail-on-error | GuideLLM, inspect | --max-error-rate |
--disable-stream ~ --no-streaming --non-streaming --disable-streaming | SGLang | --no-stream |
--stream --streaming | AIPerf, genai-perf, EvalScope | | responses are streamed unless --no-stream is given
--use-server-token-count --use-legacy-max-tokens | AIPerf | | token counts are the server's usage where it reports it
--per-chunk-usage ~ --continuous-usage-stats | AIPerf | --usage each |
--max-tokens --decode-length ~ --max-new-tokens --max-completion-tokens --max-output-tokens | EvalScope, TGI,
 Evalchemy, inspect | --output-len |
--top-logprobs-num --return-logprob --top-logprobs | SGLang, inspect | --extra-body | {"logprobs": true,
 "top_logprobs": N}
--best-of --use-beam-search ~ --length-penalty --no-repeat-ngram-size | vLLM, inspect | --extra-body | such as
 {"best_of": 4}
--extra-request-body --extra-args --extra-inputs --additional-sampling-params ~ --sampling-params --extra-params |
 SGLang, AIPerf, genai-perf, EvalScope, llmperf | --extra-body | a JSON object
--reasoning-effort ~ --thinking --enable-thinking | inspect | --extra-body | such as {"reasoning_effort": "high"}
--stop-token-ids | EvalScope | --extra-body | {"stop_token_ids": [2]}
--stop-seqs ~ --stop-sequences --stop-words | inspect | --stop |
--temp | llama.cpp | --temperature |
~ --topp | | --top-p |
~ --topk | | --top-k |
--n-predict | llama.cpp | --output-len |
--tokenizer-path --processor --tokenizer-name --model-tokenizer ~ --tokenizer-name-or-path | GuideLLM, EvalScope,
 genai-bench, inference-benchmarker, TGI | --tokenizer |
--tokenizer-mode --tokenizer-revision --tokenizer-trust-remote-code --skip-tokenizer-init --processor-args | vLLM,
 GuideLLM, AIPerf, genai-perf | --tokenizer | a folder or tokenizer.json; leave it out for none
--trust-remote-code | vLLM, lm-eval | | no code of a model is run: leave it out
--disable-tqdm --disable-progress --no-console --headless --disable-console-interactive ~ --no-progress | vLLM,
 SGLang, GuideLLM, inference-benchmarker, Locust | --quiet |
--disable-console --disable-console-outputs --display ~ --no-color --silent | GuideLLM, inspect | --quiet |
--ui --ui-type --enable-progress-tracker --autostart ~ --dashboard | AIPerf, EvalScope, Locust | | progress is shown
 on a terminal unless --quiet is given
--verbose --debug --log-level --loglevel --verbosity --extra-verbose --log-every-n-query -v -vv | SGLang, AIPerf,
 genai-perf, EvalScope, genai-bench, inference-perf, Locust, k6, curl, lm-eval, Evalchemy, inspect, OpenCompass,
 simple-evals | | there are no log levels: records.jsonl has every request
--output-dir --outputs-dir --result-dir --results-dir --artifact-dir --output-artifact-dir --log-dir --work-dir ~
 --out-dir | vLLM, GuideLLM, AIPerf, genai-perf, EvalScope, llmperf, genai-bench, inspect, lighteval, OpenCompass | -o
 |
--output-path --output-file --result-filename --out --output-json --profile-export-file --summary-export ~ --outfile |
 vLLM, SGLang, GuideLLM, AIPerf, genai-perf, perf_analyzer, k6, lm-eval, inspect | -o | it names the folder of all
 results
--experiment-folder-name --experiment-base-dir --profile-export-prefix | AIPerf, genai-bench | -o |
--no-timestamp | EvalScope | -o | its folder gets no time in its name
--tag --name --run-name --experiment-name --alias -l | SGLang, EvalScope, vLLM, GuideLLM | --label |
--metadata --wandb-tag --mlflow-tag | vLLM, llmperf, AIPerf | --label | run.json has all settings
--scenario --config-file ~ --scenario-file --workload-file | GuideLLM, AIPerf, EvalScope, genai-bench, inference-perf
 | --config | a TOML file
--visualizer --wandb-project --wandb-args --wandb-api-key --swanlab-api-key --mlflow-tracking-uri --otel-url | AIPerf,
 EvalScope, lm-eval | | nothing is uploaded: send the files of the run's folder on yourself
--server-metrics-url --server-metrics --metrics-url | AIPerf, genai-perf, perf_analyzer | --scrape |
--no-server-metrics | AIPerf | --no-scrape |
--slice-duration --stats-interval --metrics-interval | AIPerf, perf_analyzer | --scrape-every |
--gpu-telemetry --no-gpu-telemetry ~ --num-gpus --gpu-type --dcgm-url | AIPerf | --scrape | such as the URL of a DCGM
 exporter
--profile-activities --profile-num-steps --profile-steps --profile-by-stage --profile-output-dir --server-profiler |
 SGLang, AIPerf | | start the server's own profiler with its API
--flush-cache --reset-kv-cache --cache-bust ~ --reset-prefix-cache | SGLang, AIPerf | | reset the cache with the
 server's API, or use other prompts with --seed
--cache-report --return-routed-experts --enable-pd-metrics | SGLang, EvalScope | | reports show the server's cache
 figures
--pd-separated --profile-prefill-url --profile-decode-url --fake-prefill | SGLang | | give --url of the router
--tensor-parallel-size --gpu-memory-utilization --max-model-len --dtype --quantization --enforce-eager --device ~ -tp
 | vLLM, lm-eval | | the server has this setting: start it with it, then give --url
--attn-implementation | EvalScope | | the server has this setting: start it with it, then give --url
--async-engine --disable-detokenize --enable-chunked-prefill --num-scheduler-steps --speculative-config | vLLM | | the
 server has this setting: start it with it, then give --url
--http2 ~ --use-http2 | oha, curl | | requests are sent by HTTP/1.1
--user-agent | k6, curl | --header | 'User-Agent: NAME'
--proxy -x ~ --http-proxy | hey, curl | --transport aiohttp | it reads HTTP_PROXY
--ttft-sla-ms --tpot-sla-ms --itl-sla-ms --e2e-sla-ms | AIPerf | --goodput | such as ttft:200ms
"""

# For `run` and `sweep`.
WORKLOAD = """
--target | GuideLLM | --url |
--num-prompts --num-requests ~ --num-prompt --n-requests --total-requests --max-num-requests | vLLM, SGLang, AIPerf,
 genai-perf, TensorRT-LLM | -n |
--request-count --max-requests --max-requests-per-run --iterations --number ~ --num-request --num-samples --count |
 GuideLLM, AIPerf, genai-perf, perf_analyzer, EvalScope, genai-bench, k6 | -n |
--max-num-completed-requests | llmperf | -n |
--conversation-num --num-conversations --num-sessions ~ --session-num | AIPerf, genai-perf | -n | with --turns
--num-dataset-entries --data-samples --gsp-prompts-per-group | SGLang, GuideLLM, AIPerf, genai-perf | -n | each
 request takes the next prompt
--limit -i ~ --num-examples | lm-eval, EvalScope, k6 | -n |
--users --vus --max-vus --num-users ~ --virtual-users --simulated-users | AIPerf, inference-benchmarker, Locust, k6 |
 -c |
--prefill-concurrency | AIPerf | -c | there is no limit for prompts alone
--request-rate-range --concurrency-range | perf_analyzer | loadstone sweep --rate | a list: 1..64x2; or -c
--rates --num-rates | inference-benchmarker | loadstone sweep --rate | a list: 1,2,4
--user-centric-rate | AIPerf | --think-time | with --turns and -c
--spawn-rate --rampup -r ~ --ramp-up --ramp-up-time --rampup-duration | Locust, GuideLLM | --stages |
 30s@c1..c16 ramps concurrency, 30s@1..16 the rate
--ramp-up-strategy --ramp-up-start-rps --ramp-up-end-rps --request-rate-ramp-duration | vLLM, AIPerf | --stages |
 60s@2..16 ramps the rate, 60s@2..16exp exponentially
--concurrency-ramp-duration --prefill-concurrency-ramp-duration | AIPerf | --stages | 60s@c1..c64 ramps concurrency
--request-rate-series --stage ~ --load-profile --step-load --step-time | AIPerf, k6 | --stages | 30s@2,60s@8
--rate-type ~ --strategy-type | GuideLLM | --rate, -c or --arrivals |
 sweep is loadstone sweep --auto, synchronous is -c 1
--constraint | GuideLLM | -n, --duration or --stop-error-rate |
--profile | vLLM, SGLang, GuideLLM | |
 for GuideLLM's give -c or --rate; the server's profiler has an API of its own
--detect-saturation --over-saturation | GuideLLM | --stop-saturated |
--max-seconds --benchmark-duration --run-time --max-time-per-run -z ~ --test-duration --max-duration --max-time
 | GuideLLM, AIPerf, Locust, genai-bench, hey, oha | --duration |
-d | k6, wrk | --duration | for hey's body, --body-template
-t | Locust | --duration | for wrk's threads, --workers; for hey's time-out, --timeout
--measurement-interval --stability-percentage -p | genai-perf, perf_analyzer | --duration |
 stability is shown by intervals
--num-warmups --warmup-requests --warmup-request-count --num-warmup-requests --warmup-num --warmups ~ --num-warmup |
 vLLM, SGLang, AIPerf, genai-perf, perf_analyzer, EvalScope, TGI | --warmup |
--warmup-duration ~ --warmup-time | AIPerf | --warmup | a time such as 10s
--warmup-percent --warmup-ratio | GuideLLM, genai-bench | --warmup | a number of requests, or a time
--num-iters-warmup --num-warmup-sessions ~ --warmup-iters --warmup-prompts | vLLM, AIPerf | --warmup |
--warmup-concurrency --warmup-request-rate --warmup-arrival-pattern --warmup-grace-period | AIPerf | --warmup | it has
 the load of the run
--cooldown-percent --cooldown-ratio ~ --cool-down | GuideLLM, genai-bench | --cooldown |
--dataset-name --dataset-path --input-file --data --dataset-file ~ --data-path --prompts-file
 | vLLM, SGLang, GuideLLM, AIPerf, genai-perf, EvalScope, genai-bench, inference-benchmarker | --dataset |
 a file, hf:NAME or a name such as random
--public-dataset --custom-dataset-type --data-source ~ --dataset-type --hf-path | AIPerf, EvalScope | --dataset | or
 hf:NAME
--hf-name --hf-subset --hf-split --hf-weka-dataset --data-args ~ --split --subset | vLLM, GuideLLM, AIPerf | --dataset
 | hf:NAME:SPLIT:FIELD
--dataset-args --dataset-filter --speed-bench-category --spec-bench-category --speed-bench-dataset-subset | vLLM,
 SGLang, AIPerf, EvalScope | --dataset | a file with the rows to send
--dataset-offset | SGLang, EvalScope | --skip |
--data-column-mapper ~ --prompt-column --text-column --data-prompt-column | GuideLLM | --prompt-field |
--data-sampler --dataset-sampling-strategy | GuideLLM, AIPerf | --shuffle |
--disable-shuffle --gsp-ordered | vLLM, SGLang | | prompts are sent in the order of the file unless --shuffle is given
--no-oversample --allow-dataset-wrap --no-allow-dataset-wrap | vLLM, AIPerf | -n | as many as there are prompts: they
 repeat otherwise
--prompt --query-template | EvalScope | --dataset | a file with the prompt, or - for stdin
--prompt-suffix | SGLang | --dataset | add it to the prompts in the file
--skip-chat-template | vLLM | --api completions | it sends prompts without a template
--enable-multimodal-chat | vLLM | --api chat | with images in the rows of --dataset
--random-input-len ~ --random-input --random-input-tokens | vLLM, SGLang | --dataset random --input-len |
--random-output-len ~ --random-output | vLLM, SGLang | --output-len |
--random-range-ratio | vLLM, SGLang, AIPerf | --range-ratio | SGLang's R is --input-len "uniform(R*LEN,LEN)"
--random-prefix-len | vLLM | --prefix-len |
--random-batch-size | vLLM | | each request has one prompt
--isl --synthetic-input-tokens-mean --prompt-input-tokens-mean --mean-input-tokens --sequence-length ~ --prompt-tokens
 --input-tokens --prompt-length --input-length --prompt-len | AIPerf, genai-perf, llmperf, TGI |
 --dataset random --input-len |
--isl-stddev --synthetic-input-tokens-stddev --prompt-input-tokens-stddev --stddev-input-tokens | AIPerf, genai-perf,
 llmperf | --input-len | a distribution: "normal(550,150)"
--osl --output-tokens-mean --prompt-output-tokens-mean --mean-output-tokens --output-tokens
 --output-tokens-mean-deterministic ~ --output-length | AIPerf, genai-perf, llmperf | --output-len |
--osl-stddev --output-tokens-stddev --prompt-output-tokens-stddev --stddev-output-tokens | AIPerf, genai-perf, llmperf
 | --output-len | a distribution: "normal(128,20)"
--seq-dist --sequence-distribution --isl-osl-pairs --traffic-scenario | AIPerf, genai-bench | --input-len and
 --output-len | distributions such as "normal(512,64)"
--prompt-options --decode-options --benchmark-kind | inference-benchmarker | --input-len and --output-len |
--sharegpt-output-len --custom-output-len --hf-output-len --sonnet-output-len --gsp-output-len --spec-bench-output-len
 --speed-bench-output-len --prefix-repetition-output-len | vLLM, SGLang | --output-len |
--sonnet-input-len | vLLM | --dataset sonnet --input-len |
--sonnet-prefix-len | vLLM | --dataset sonnet --prefix-len |
--sharegpt-context-len --max-context-length ~ --context-length --max-seq-len | SGLang, AIPerf | --max-total-len |
--max-prompt-length --synthesis-max-isl | AIPerf, EvalScope | --max-input-len |
--min-prompt-length | EvalScope | --min-input-len |
--synthesis-max-osl | AIPerf | --output-len |
--synthesis-prompt-len-multiplier --synthesis-output-len-multiplier | AIPerf | --scale-lengths |
--prefix-repetition-prefix-len --prefix-length --prefix-prompt-length --prompt-prefix-length | vLLM, AIPerf,
 genai-perf, EvalScope | --prefix-len |
--prefix-repetition-suffix-len --gsp-question-len | vLLM, SGLang | --input-len |
--prefix-repetition-num-prefixes --gsp-num-groups --num-prefix-prompts --prefix-prompt-pool-size
 --prompt-prefix-pool-size | vLLM, SGLang, AIPerf, genai-perf | --prefix-count |
--gsp-system-prompt-len | SGLang | --prefix-len |
--gsp-range-ratio | SGLang | --range-ratio |
--gsp-num-turns --conversation-turn-mean --session-turns-mean --max-turns --min-turns --multi-turn ~ --num-turns |
 SGLang, AIPerf, genai-perf, EvalScope | --turns | a number, or "uniform(2,5)"
--conversation-turn-stddev --session-turns-stddev | AIPerf, genai-perf | --turns | a distribution: "normal(4,1)"
--conversation-turn-delay-mean --session-turn-delay-mean ~ --turn-delay --wait-time | AIPerf, genai-perf |
 --think-time |
--conversation-turn-delay-stddev --session-turn-delay-stddev | AIPerf, genai-perf | --think-time | a distribution:
 "normal(2,0.5)"
--shared-system-prompt-length ~ --system-prompt-len | AIPerf | --system-len |
--user-context-prompt-length | AIPerf | --prefix-len |
--system-prompt --system-prompt-file | AIPerf | --dataset | put system messages into its rows
--multi-turn-args | EvalScope | --turns and --think-time |
--disable-ignore-eos | SGLang | | the model may stop early unless --ignore-eos is given
--force-min-tokens | AIPerf | --match-output-length |
--self-timed --use-trace-timestamps --open-loop-replay --fixed-schedule --fixed-schedule-auto-offset
 | vLLM, SGLang, AIPerf, genai-perf, perf_analyzer | --arrivals replay | the default for a trace
--no-self-timed --no-fixed-schedule --ignore-trace-delays | vLLM, AIPerf | -c or --rate | in place of the recorded
 times
--fixed-schedule-start-offset | AIPerf | --from |
--fixed-schedule-end-offset | AIPerf | --to |
--mooncake-slowdown-factor ~ --time-scale | SGLang | --speed | its inverse: 2 times slower is 0.5
--replay-speedup --synthesis-speedup-ratio | AIPerf | --speed |
--mooncake-workload | SGLang | --dataset | a Mooncake trace: mooncake:FILE
--open-loop | EvalScope | --rate | without -c it sends whether or not responses arrive
--request-cancellation-rate | AIPerf | --cancel-share | percent / 100
--request-cancellation-delay | AIPerf | --cancel-after |
--probe-request-rate | vLLM | | start a second `loadstone run` with --output-len 1 beside this one
--image-num --image-count --image-width --image-height --image-format --image-resolution --image-batch-size
 --image-width-mean --random-image-count | SGLang, AIPerf, genai-perf, EvalScope | --dataset | a JSONL file of
 messages with images
--audio-length-mean --video-duration --asr-max-audio-len-sec | vLLM, AIPerf, genai-perf | | audio and video are not
 sent
--batch-size-text --prompt-batch-size -b | AIPerf, genai-perf | | each request has one prompt
--percentile-metrics | vLLM | | all metrics are reported with percentiles
--metric-percentiles --summary-trend-stats --percentile ~ --quantiles | vLLM, perf_analyzer, k6 | --percentiles | such
 as 50,90,99
--save-result --save-detailed --append-result --output-details --export-level --profile-export-level | vLLM, SGLang,
 AIPerf | -o | every run is saved with all records; `loadstone report --as vllm` writes vLLM's JSON
--sample-requests --print-requests --export-http-trace ~ --generated-texts --save-responses | SGLang, GuideLLM, AIPerf
 | --save-text |
--outputs --output-formats --export-outputs-json ~ --output-format --format | GuideLLM, AIPerf | --as |
--csv --html --json ~ --markdown --full-history | Locust | --as | such as csv, html or json
--plot-timeline --timeline-itl-thresholds --plot-dataset-stats --generate-plots --auto-plot --plot-throughput | vLLM,
 SGLang, AIPerf, genai-perf | | report.html has the charts
--num-profile-runs --num-runs --runs --n-repeats ~ --trials | vLLM, AIPerf, TGI, simple-evals | --repeat |
--profile-run-cooldown-seconds --parameter-sweep-cooldown-seconds --sleep-interval | AIPerf, EvalScope | --rest |
--confidence-level | AIPerf | | intervals are for 95%
--sla-auto-tune --search-sla --search-recipe --search-space | AIPerf, EvalScope | loadstone sweep --slo | such as
 "ttft.p99<500ms"
--sla-params ~ --sla | EvalScope | loadstone sweep --slo | such as "ttft.p99<500ms"
--sla-variable | EvalScope | loadstone sweep --search | rate or concurrency
--search-planner --search-style | AIPerf | loadstone sweep --slo | it has one way of searching
--sla-lower-bound --concurrency-min | AIPerf, EvalScope | loadstone sweep --at-least |
--sla-upper-bound --concurrency-max | AIPerf, EvalScope | loadstone sweep --at-most |
--search-max-iterations --concurrency-steps --workload-iters ~ --max-probes --sweep-size | vLLM, AIPerf | loadstone
 sweep --max-points |
--sla-num-runs | EvalScope | loadstone sweep --repeat |
--sla-number-multiplier | EvalScope | loadstone sweep --probe-max |
--sla-fixed-parallel | EvalScope | -c | the most in flight beside --rate
--bench-params --override --sweep-variant --variant ~ --parameters | vLLM, GuideLLM, AIPerf | loadstone sweep --vary |
 any number may be a list: -c 1,2,4
--workload-var | vLLM | loadstone sweep --auto | rate or concurrency
--link-vars | vLLM | | no server is started: vary the flags of the run only
--sweep-type | AIPerf, genai-perf | loadstone sweep --zip | or --grid, the default
--parameter-sweep-mode | AIPerf | loadstone sweep --grid |
--serve-cmd --serve-params --after-bench-cmd --server-ready-timeout | vLLM | | start the server yourself, then give
 --url
--bench-cmd --continue-on-error | vLLM | | give the flags of `loadstone run` to `loadstone sweep`; it goes on after
 errors
--resume | vLLM | loadstone sweep -o | the same command continues in the same folder
--dry-run --show-config | vLLM, lm-eval | -n 1 | it tries all settings with one request
--num-iters ~ --runs-per-batch | vLLM | -n |
--hf-max-batch-size | vLLM | -c |
~ --goodput-constraints | | --goodput |
~ --token-count --expected-output-tokens | | --output-len |
-X -D -T ~ --method --body | hey, oha | --body-template | with --api template
--latency -L | wrk | | percentiles are always reported
--locustfile -f ~ --script | Locust, AIPerf | --config | a TOML file; for Locust, loadstone swarm
--master --worker --expect-workers --master-host | Locust | loadstone swarm | see docs/many-machines.md
--queue-size-multiplier --in-flight-task-multiplier --db-commit-interval | EvalScope | | it needs no tuning: leave it
 out
--record-processors --zmq-host --api-port | AIPerf | | it needs no tuning: leave it out
--task | genai-bench | --api | text-to-text is chat, text-to-embeddings is embeddings
--accuracy-benchmark --accuracy-tasks --accuracy-n-shots --accuracy-grader | AIPerf | loadstone eval --tasks |
"""
