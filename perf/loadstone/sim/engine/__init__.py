"""A model of vLLM's engine, for responses that are batched as there: `loadstone serve --engine vllm`.

`scheduler.py` decides what runs in each step and what it costs, `kv_cache.py` has its blocks, `presets.py` the limits
and costs of machines, `loop.py` runs the steps in real time, and `responses.py` sends the tokens.
"""
