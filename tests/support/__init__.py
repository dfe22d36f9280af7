"""Helpers of the tests: servers, virtual time, made-up runs, golden files. Assertions are the tests' business."""
