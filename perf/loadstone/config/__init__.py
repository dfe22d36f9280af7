"""The settings of a run: what a user may set, how it is parsed, and what of it is secret.

`schema.Config` has every setting of a run. `load.load_config` fills it from a file and the flags, `parse.py` parses
single values, `providers.py` adds what a provider's name implies, `secrets.py` and `redact.py` keep keys out of what
is shown. `foreign_flags.py` has what other tools call these settings.

May import the rooms for data and transport; nothing that runs.
"""
