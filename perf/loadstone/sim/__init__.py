"""A simulated LLM server that responds at given times, keeps the true ones, and fails on demand.

Load testers are checked against its truth. With `engine="vllm"` the times are those of a model of vLLM's engine.

`server.py` has the listener and the queue of due chunks, `response.py` a response on its way, `formats/` one file for
each family of protocols. This room may import from the rooms up to `tasks`.
"""
