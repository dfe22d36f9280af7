"""Generated prompts: prompts.py (presets and conversations), sonnet.py (vLLM's poem), text.py (texts of exact lengths).

measure.py counts and resizes texts, random_values.py draws lengths. lengths.py and traces/ use them too.
"""
