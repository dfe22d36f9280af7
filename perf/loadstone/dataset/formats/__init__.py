"""File formats of datasets, each with `read(source, options)`: text, JSON, CSV, ShareGPT, Parquet, the Hub.

They find the rows of a file; rows.py makes a prompt of a row.
"""
