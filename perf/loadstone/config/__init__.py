"""The settings of a run: what a user may set, how it is parsed, and what of it is secret.

`schema.Config` composes groups of settings (`server`, `workload`, `sampling`, `load`, `limits`, `output`): dataclasses
whose fields carry their flags (`flags.py`) and kinds of values (`kinds.py`). `loading.load_config` fills it from a file
and the flags. `slo.py` has the grammar of objectives, `foreign_flags.py` what other tools call these settings;
`secrets.py` and `redact.py` keep keys out of what is shown.

May import the nouns of the root that have no figures; needs no numpy to be imported.
"""
